"""The parent of several worker processes on one port: it starts, replaces and stops them."""

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, NoReturn

from minikms.basics.rates import new_table
from minikms.basics.system_calls import memory_file
from minikms.config import Config
from minikms.http.places import raise_descriptor_limit
from minikms.serve import lifecycle, log_output, shared_memory
from minikms.serve.ports import hold_port
from minikms.serve.worker_process import Worker, signal_name, spawn
from minikms.store import StoreLocation

LOGGER = logging.getLogger("minikms")

# In seconds. If a worker ends sooner than `_STABLE`, it is replaced after a growing pause.
_STABLE: Final = 10.0
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 8.0
# Workers stop by themselves; one that still runs this long after the grace period is killed.
_KILL_AFTER: Final = lifecycle.LAST_CALLS + lifecycle.SHUTDOWN_TIMEOUT + 5.0
# Additional time per door, since doors finish their calls one after the other.
_OF_A_DOOR: Final = 2 * lifecycle.SHUTDOWN_TIMEOUT


def run(config: Config) -> NoReturn:
    """Serve from `config.workers` processes until SIGTERM or SIGINT, and exit.

    If the service cannot start, a worker writes the reason, and the parent exits with its code.
    """
    raise_descriptor_limit()
    log_output.configure(config.log_format, config.log_level, process=True)
    lifecycle.warn_of_variables(config)
    with lifecycle.exit_on_startup_error():
        sys.exit(asyncio.run(_Workers(lifecycle.with_store_key(config)).run()))


class _Workers:
    """The worker processes by name; a replacement has the name of its predecessor."""

    def __init__(self, config: Config) -> None:
        self._given = self._config = config
        self._workers: dict[str, Worker] = {}
        self._alive: set[str] = set()
        self._ends: Counter[str] = Counter()
        self._in_haste = False

    async def run(self) -> int:
        """Serve until a signal, then stop; return the exit code."""
        self._cancel_on_signals()
        if lifecycle.takes_sighup(self._config):
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._pass_on_sighup)
        with (
            contextlib.suppress(asyncio.CancelledError),
            new_table() as rates,
            memory_file("minikms-faults") as faults,
        ):
            self._files = rates, faults.fileno()
            async with (
                _shared_store(self._given) as self._config,
                self._metrics() as self._forget,
            ):
                try:
                    return await self._serve()
                finally:
                    await self._stop()
        return 0

    def _metrics(self) -> AbstractAsyncContextManager[Callable[[str], None]]:
        """Serve the workers' metrics; yields a function that drops an ended worker's gauges."""
        if not self._config.metrics_port:
            return contextlib.nullcontext(lambda name: None)
        from minikms.serve import metrics_listener, process_metrics

        def processes() -> process_metrics.Processes:  # in a thread
            pids = [worker.process.pid for worker in list(self._workers.values())]
            ends = dict(self._ends)
            return process_metrics.Processes(list(filter(None, pids)), len(self._alive), ends)

        return metrics_listener.for_workers(self._config, processes)

    async def _serve(self) -> int:
        """Serve until cancelled; return the exit code of a worker that fails to start."""
        names = [f"worker {number}" for number in range(1, self._config.workers + 1)]
        async with contextlib.AsyncExitStack() as stack:
            addresses = []
            for host, number in (
                (self._config.host, self._config.port),
                *((door.host, door.port) for door in self._config.doors),
            ):
                port = stack.enter_context(contextlib.closing(await hold_port(host, number)))
                addresses.append(port.sockets[0].getsockname())
            doors = zip(self._config.doors, addresses[1:], strict=True)
            self._config = dataclasses.replace(
                self._config,
                port=addresses[0][1],
                doors=tuple(dataclasses.replace(door, port=a[1]) for door, a in doors),
            )
            # The first one starts alone, so that an error that stops all of them is reported once.
            for several in (names[:1], names[1:]):
                if code := max(await asyncio.gather(*map(self._start, several))):
                    return code
                # A replacement must not load the seeds again: a caller may have deleted a seeded
                # key.
                self._config = dataclasses.replace(self._config, seed_keys="")
            lifecycle.announce(self._given, addresses)
            async with asyncio.TaskGroup() as group:
                for name in names:
                    group.create_task(self._keep_running(name))
        return 0

    async def _start(self, name: str) -> int:
        """Start a worker and wait until it listens; return 0, or its code if it ends first."""
        try:
            worker = spawn(name, self._config, self._files)
        except OSError as exc:  # out of memory or descriptors, perhaps for a while
            LOGGER.error("%s cannot be started: %s", name, exc.strerror)
            return 1
        self._workers[name] = worker
        if not await worker.listens():
            return max(1, await self._end(name))
        self._alive.add(name)
        LOGGER.info("%s is process %d", name, worker.process.pid)
        return 0

    async def _keep_running(self, name: str) -> None:
        """Replace a worker whenever it ends, after a pause if it ran only briefly."""
        pause, time = 0.0, asyncio.get_running_loop().time
        while True:
            started = time()
            if name in self._workers:
                await self._end(name)
            stable = time() - started > _STABLE
            pause = 0.0 if stable else min(max(_FIRST_PAUSE, 2 * pause), _LONGEST_PAUSE)
            await asyncio.sleep(pause)
            await self._start(name)

    async def _end(self, name: str) -> int:
        """Wait until a worker ends; return its exit code, negative for a signal."""
        process, pipe = worker = self._workers[name]
        await worker.wait(self._config.worker_timeout)
        process.join()
        code = process.exitcode or 0
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        LOGGER.warning("%s (process %d) ended with %s", name, process.pid, how)
        self._ends[signal_name(code)] += 1
        self._alive.discard(name)
        del self._workers[name]
        pipe.close()
        self._forget(name)
        return code

    def _pass_on_sighup(self) -> None:
        """Let every worker reload its certificates and reopen its audit log."""
        LOGGER.info("SIGHUP is forwarded to the workers")
        for process, _ in self._workers.values():
            if process.pid is not None and process.exitcode is None:
                os.kill(process.pid, signal.SIGHUP)

    async def _stop(self) -> None:
        """Let every worker finish its calls, and kill a worker that does not stop."""
        for process, _ in self._workers.values():
            process.terminate()
        if self._in_haste:
            self._end_grace()
        await asyncio.gather(*map(self._stopped, self._workers))

    async def _stopped(self, name: str) -> None:
        process, pipe = worker = self._workers[name]
        longest = self._config.shutdown_grace + _KILL_AFTER
        try:
            async with asyncio.timeout(longest + len(self._config.doors) * _OF_A_DOOR):
                await worker.wait(self._config.worker_timeout)
        except TimeoutError:
            LOGGER.error("%s (process %d) does not stop: killed", name, process.pid)
            process.kill()
        process.join()
        pipe.close()

    def _end_grace(self) -> None:
        """Let every worker stop without a grace period, or end its running grace period."""
        for _, pipe in self._workers.values():
            with contextlib.suppress(OSError):  # the worker has ended
                pipe.send(signal.SIGINT)

    def _cancel_on_signals(self) -> None:
        """Cancel the current task on SIGTERM, SIGINT, or SIGHUP unless it is ignored.

        Only the first signal cancels it; another one ends the grace period.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def stop(number: signal.Signals) -> None:
            if task is None or task.cancelling():
                self._end_grace()
            else:
                LOGGER.info("stopping: %s is forwarded to the workers", number.name)
                self._in_haste = number != signal.SIGTERM
                task.cancel()

        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
            numbers.append(signal.SIGHUP)  # the terminal was closed
        for number in numbers:
            loop.add_signal_handler(number, stop, number)


@contextlib.asynccontextmanager
async def _shared_store(config: Config) -> AsyncIterator[Config]:
    """Yield the configuration of workers; they share a store in memory."""
    if StoreLocation.parse(config.store).persistent:
        yield config
        return
    async with shared_memory.temporary_store() as (url, key):
        yield dataclasses.replace(
            config,
            store=url,
            store_key=key.secret,
            store_key_file="",
            store_key_method=key.method,
            auth="token" if config.needs_token else "none",  # as "auto" means for a store in memory
        )
