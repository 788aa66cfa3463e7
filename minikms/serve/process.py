"""One process of the service, from its options to its shutdown."""

import asyncio
import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator
from typing import Any, Final

import uvloop
from aiohttp import web

from minikms.addresses import is_loopback, local_address, url_host
from minikms.config import Config
from minikms.exits import fail
from minikms.serve import core_dumps, log_output
from minikms.serve.assembly import create_service
from minikms.serve.listener import Listener
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
    listener = Listener(config, runner)
    signals = _signals(config, parent)

    async def stop_signal() -> signal.Signals:
        while (number := await signals.get()) == signal.SIGHUP:
            if config.tls_cert:
                listener.renew()
            if audit := app[AUDIT]:
                audit.reopen()
        return number

    try:
        await runner.setup()
        await listener.start(shared=parent is not None)
        heap.spare()
        if parent is None:
            announce(config, listener.address)
        else:
            with contextlib.suppress(BrokenPipeError):  # the parent has ended, so it stops below
                parent.send(True)
        # Whoever presses Ctrl-C has no load balancer that is to turn away.
        if await stop_signal() == signal.SIGTERM and config.shutdown_grace:
            runner.begin_shutdown()
            LOGGER.info("shutting down: calls are taken for %d s yet", config.shutdown_grace)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(config.shutdown_grace):
                    await stop_signal()
            await listener.drain(LAST_CALLS)
        LOGGER.info("stopping: finishing calls under way")
    finally:
        listener.close()
        await runner.cleanup()


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


def announce(config: Config, address: Any) -> None:
    """Log the address of the service, the store, and warnings about authentication."""
    host, port = address[:2]
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
    if not needs_token(config) and not is_loopback(host):
        LOGGER.warning("whoever reaches %s may use every key: --auth token asks for a token", url)
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


@contextlib.contextmanager
def exit_on_startup_error(config: Config) -> Iterator[None]:
    """Exit if the service cannot start: 2 for invalid configuration, 1 for its address."""
    try:
        yield
    except SetupError as exc:
        fail(str(exc), exc.code)
    except OSError as exc:
        fail(f"Cannot listen on {config.host}:{config.port}: {exc.strerror}.", 1)
