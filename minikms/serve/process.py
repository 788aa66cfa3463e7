"""One process of the service, from its options to its shutdown."""

import asyncio
import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

import uvloop
from aiohttp import web

from minikms.addresses import is_loopback, local_address, url_host
from minikms.config import Config
from minikms.doors.app import DOORS
from minikms.doors.registry import installed_doors
from minikms.exits import fail
from minikms.serve import core_dumps, log_output
from minikms.serve.assembly import create_service
from minikms.serve.listener import Listener, places_of
from minikms.serve.worker_pipe import WorkerEnd, follow_parent
from minikms.startup_errors import SetupError
from minikms.store.location import StoreLocation
from minikms.web.app import create_runner, needs_token
from minikms.web.http import heap
from minikms.web.http.acceptor import raise_descriptor_limit
from minikms.web.state import AUDIT

LOGGER = logging.getLogger("minikms")

# In seconds: how long connections whose first call is on its way are waited for once the grace
# period has ended and nothing listens, and how long running calls may take to finish after that.
LAST_CALLS: Final = 1.0
SHUTDOWN_TIMEOUT: Final = 30.0


def run(config: Config, parent: "WorkerEnd | None" = None) -> None:
    """Serve until SIGTERM or SIGINT; exits with one sentence if it cannot start.

    A worker has a pipe to its `parent`, on which it reports that it listens. It shares its port
    with the other workers, and stops when its parent has ended.
    """
    core_dumps.turn_off()  # again in a worker, which inherits nothing
    raise_descriptor_limit()
    log_output.configure(config.log_format, config.log_level, process=parent is not None)
    # aiohttp-swagger3 stores data in each request under a plain string.
    warnings.simplefilter("ignore", web.NotAppKeyWarning)
    with exit_on_startup_error(config):
        app = create_service(config)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(app, config, parent))


async def _serve(app: web.Application, config: Config, parent: "WorkerEnd | None") -> None:
    runner = create_runner(app, shutdown_timeout=SHUTDOWN_TIMEOUT)
    places = places_of(config)
    listener = Listener(config, runner, places, config.host, config.port)
    doors = [(door.runner(shutdown_timeout=SHUTDOWN_TIMEOUT), door) for door in app[DOORS]]
    runners = [runner, *(of_door for of_door, _ in doors)]
    listeners = [listener]
    listeners += [Listener(config, r, places, d.where.host, d.where.port) for r, d in doors]
    signals = _signals(config, parent)

    async def stop_signal() -> signal.Signals:
        while (number := await signals.get()) == signal.SIGHUP:
            if config.tls_cert:
                for each in listeners:
                    each.renew()
            if audit := app[AUDIT]:
                audit.reopen()
        return number

    try:
        for each_runner in runners:  # the first opens the store
            await each_runner.setup()
        for each in listeners:
            await each.start(shared=parent is not None)
        heap.spare()
        if parent is None:
            announce(config, [each.address for each in listeners])
        else:
            with contextlib.suppress(BrokenPipeError):  # the parent has ended, so it stops below
                parent.send(True)
        # Whoever presses Ctrl-C has no load balancer that is to turn away.
        if await stop_signal() == signal.SIGTERM and config.shutdown_grace:
            for each_runner in runners:
                each_runner.begin_shutdown()
            LOGGER.info("shutting down: calls are taken for %d s yet", config.shutdown_grace)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(config.shutdown_grace):
                    await stop_signal()
            await asyncio.gather(*(each.drain(LAST_CALLS) for each in listeners))
        LOGGER.info("stopping: finishing calls under way")
    finally:
        for each in listeners:
            each.close()
        for each_runner in reversed(runners):  # the last closes the store
            await each_runner.cleanup()


def _signals(config: Config, parent: "WorkerEnd | None") -> "asyncio.Queue[signal.Signals]":
    """A queue of the signals from now on, those included that a parent passes on."""
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


def takes_sighup(config: Config) -> bool:
    """Whether SIGHUP has a use: certificates to read again, or an audit log to open again."""
    return bool(config.tls_cert or config.audit_log)


def announce(config: Config, addresses: Sequence[Any]) -> None:
    """Log the addresses of the service, its store, and warnings about authentication.

    The first address is its own, the others are those of its doors, in their order.
    """
    host, port = addresses[0][:2]
    scheme = "https" if config.tls_cert else "http"
    url, local = (
        f"{scheme}://{shown}:{port}" for shown in (url_host(host), url_host(local_address(host)))
    )
    LOGGER.info("listening on %s, documentation on %s/docs", url, local)
    if local != url:
        LOGGER.info(
            "that is every address of this machine; of a container, callers use the address "
            "that its port is published at"
        )
    _warn_if_open(config, host, url)
    for door, (door_host, door_port, *_) in zip(config.doors, addresses[1:], strict=True):
        url = f"{scheme}://{url_host(door_host)}:{door_port}"
        LOGGER.info("%s on %s", installed_doors()[door.name].title, url)
        _warn_if_open(config, door_host, url)
    location = StoreLocation.parse(config.store)
    if location.persistent:
        LOGGER.info("keys are kept in %s", location)
    else:
        LOGGER.info("keys live in memory only: they are gone when this process ends")
    if needs_token(config) and not (
        location.persistent or config.admin_token_file or config.jwt_issuer
    ):
        LOGGER.warning(
            "nobody has a token, and a store in memory has none: --admin-token-file names the file "
            "of one (`minikms token generate`)"
        )


def _warn_if_open(config: Config, host: str, url: str) -> None:
    if not needs_token(config) and not is_loopback(host):
        LOGGER.warning("whoever reaches %s may use every key: --auth token asks for a token", url)


@contextlib.contextmanager
def exit_on_startup_error(config: Config) -> Iterator[None]:
    """Exit if the service cannot start: 2 for invalid configuration, 1 for an address."""
    try:
        yield
    except SetupError as exc:
        fail(str(exc), exc.code)
