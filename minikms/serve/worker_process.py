"""A worker process: its start, and its heartbeats and its end as the parent sees them."""

import asyncio
import contextlib
import dataclasses
import logging
import multiprocessing
import signal
from multiprocessing import resource_tracker
from multiprocessing.context import SpawnProcess
from typing import Final, NamedTuple

from minikms.config import Config
from minikms.serve import garbage
from minikms.serve.worker_pipe import Heartbeats, ParentEnd, WorkerEnd, receive_files, send_files

LOGGER = logging.getLogger("minikms")

# Spawned, not forked: Askar has threads.
_SPAWN: Final = multiprocessing.get_context("spawn")

# In seconds.
_HEARTBEAT_EVERY: Final = 1.0


class Worker(NamedTuple):
    """A worker process, and the pipe to it."""

    process: SpawnProcess
    pipe: ParentEnd

    async def listens(self) -> bool:
        """Wait until it listens; return False if it ends first."""
        await _wait_readable(self.pipe.fileno())
        try:
            self.pipe.recv()
        except (EOFError, ConnectionResetError):  # reset by an unread message
            return False
        return True

    async def wait(self, longest_silence: float) -> None:
        """Wait until it ends; kill it if its event loop hangs longer, but never if that is 0.

        Time is counted in requested heartbeats, so time during which this process itself was
        suspended does not count.
        """
        process, heartbeats, silent = self.process, Heartbeats(self.pipe), 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HEARTBEAT_EVERY if longest_silence else None):
                    return await _wait_readable(process.sentinel)
            silent = 0.0 if heartbeats.ask() else silent + _HEARTBEAT_EVERY
            if silent > longest_silence:
                LOGGER.error("%s (process %d) hangs: killed", process.name, process.pid)
                process.kill()
                silent = 0.0


def spawn(name: str, config: Config, files: tuple[int, int]) -> Worker:
    """Start a worker with the shared files, and a pipe by which it reports that it listens."""
    pipe, child_end = _SPAWN.Pipe()
    with child_end:
        send_files(pipe, files)
        process = _SPAWN.Process(target=_work, args=(config, child_end), name=name)
        # A terminal sends SIGINT to all processes, and the parent handles it for the workers:
        # workers inherit the block set here. They unblock SIGHUP once they can handle it. In Python
        # 3.11, starting the resource tracker unblocks SIGINT, so it is started first.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGHUP])
    return Worker(process, pipe)


def _work(config: Config, parent: WorkerEnd) -> None:
    """Run a worker. Only workers import the web applications, which takes most of a start."""
    with garbage.growing():
        from minikms.serve import process

    rates, faults = receive_files(parent, 2)
    process.run(dataclasses.replace(config, rate_table=rates, provider_faults=faults), parent)


def signal_name(code: int) -> str:
    """Name the signal that ended a process with this exit code; `none` for no signal."""
    try:
        return signal.Signals(-code).name
    except ValueError:  # the process ended by itself, or by a real-time signal
        return "none" if code >= 0 else str(-code)


async def _wait_readable(descriptor: int) -> None:
    """Wait until a descriptor has data, or its other end is closed."""
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
