"""One process of the service, from its options to its shutdown."""

import asyncio
import contextlib
import logging
import signal

import uvloop
from aiohttp import web

from minikms.config import Config
from minikms.doors.app import DOORS
from minikms.http import memory
from minikms.http.gate import GATE
from minikms.http.places import raise_descriptor_limit
from minikms.http.state import OBSERVERS
from minikms.serve import core_dumps, garbage, log_output
from minikms.serve.assembly import create_service
from minikms.serve.lifecycle import (
    LAST_CALLS,
    SHUTDOWN_TIMEOUT,
    announce,
    exit_on_startup_error,
    takes_sighup,
    warn_of_variables,
    with_store_key,
)
from minikms.serve.listener import Listener, places_of
from minikms.serve.worker_pipe import WorkerEnd, follow_parent
from minikms.web.app import create_runner
from minikms.web.state import AUDIT

LOGGER = logging.getLogger("minikms")


def run(config: Config, parent: "WorkerEnd | None" = None) -> None:
    """Serve until SIGTERM or SIGINT; exits with one sentence if it cannot start.

    A worker has a pipe to its `parent`, on which it reports that it listens. It shares its port
    with the other workers, and stops when its parent ends.
    """
    core_dumps.turn_off()  # repeated in a worker, which does not inherit it
    raise_descriptor_limit()
    log_output.configure(config.log_format, config.log_level, process=parent is not None)
    if parent is None:
        warn_of_variables(config)
    with exit_on_startup_error():
        config = with_store_key(config)
        with garbage.growing():
            app = create_service(config)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(app, config, parent))


async def _serve(app: web.Application, config: Config, parent: "WorkerEnd | None") -> None:
    asyncio.get_running_loop().set_exception_handler(memory.handle_loop_failure)
    runner = create_runner(app, shutdown_timeout=SHUTDOWN_TIMEOUT)
    places = places_of(config)
    listener = Listener(config, runner, places, config.host, config.port)
    doors = [(door.runner(shutdown_timeout=SHUTDOWN_TIMEOUT), door) for door in app[DOORS]]
    runners = [runner, *(of_door for of_door, _ in doors)]
    listeners = [listener]
    listeners += [Listener(config, r, places, d.where.host, d.where.port) for r, d in doors]
    for observer in app[OBSERVERS]:
        observer.watch(places, lambda: listener.expires)
    signals = _signals(config, parent)

    async def stop_signal() -> signal.Signals:
        while (number := await signals.get()) == signal.SIGHUP:
            if config.tls_cert:
                for each in listeners:
                    each.renew()
            if audit := app[AUDIT]:
                audit.reopen()
            if config.roles and (access := app[GATE].access) and access.identities:
                await access.identities.renew(config.roles)
        return number

    try:
        for each_runner in runners:  # the first runner opens the store
            await each_runner.setup()
        for each in listeners:
            await each.start(shared=parent is not None)
        garbage.spare()
        if parent is None:
            announce(config, [each.address for each in listeners])
        else:
            with contextlib.suppress(BrokenPipeError):  # the parent has ended, so it stops below
                parent.send(True)
        # After Ctrl-C there is no load balancer to wait for.
        if await stop_signal() == signal.SIGTERM and config.shutdown_grace:
            for each_runner in runners:
                each_runner.begin_shutdown()
            LOGGER.info("shutting down: calls are served for %d s more", config.shutdown_grace)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(config.shutdown_grace):
                    await stop_signal()
            await asyncio.gather(*(each.drain(LAST_CALLS) for each in listeners))
        LOGGER.info("stopping: finishing calls in progress")
    finally:
        for each in listeners:
            each.close()
        for each_runner in reversed(runners):  # the last runner closes the store
            await each_runner.cleanup()


def _signals(config: Config, parent: "WorkerEnd | None") -> "asyncio.Queue[signal.Signals]":
    """Return a queue of signals received from now on, including those that a parent forwards."""
    loop = asyncio.get_running_loop()
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, signals.put_nowait, number)
    if takes_sighup(config):
        loop.add_signal_handler(signal.SIGHUP, signals.put_nowait, signal.SIGHUP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGHUP])
    if parent:
        follow_parent(parent, signals.put_nowait)
    return signals
