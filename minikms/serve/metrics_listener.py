"""The listener of metrics: `GET /metrics`, on a port of its own, for Prometheus.

Imported only where it is asked for, since prometheus-client takes 50 ms to import. The metrics of
one process are in its memory. Workers write theirs to files of a folder that their parent makes,
and the parent adds them up: a worker that has ended cannot be asked.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from minikms.addresses import url_host
from minikms.config import Config
from minikms.http.acceptor import Acceptor, Places
from minikms.http.server import KmsRunner
from minikms.http.state import CONFIG, OBSERVER, Shutdown
from minikms.serve.ports import cannot_listen
from minikms.startup_errors import MetricsError
from minikms.web.metrics import FOLDER, PRIVATE_NAMES, Metrics

LOGGER = logging.getLogger("minikms")

# Connections to this listener, at most.
_CONNECTIONS: Final = 100
_SHUTDOWN_TIMEOUT: Final = 1.0  # seconds


def add_to(app: web.Application) -> None:
    """Count the requests of an application; serve the metrics too, where no parent does."""
    parent = multiprocessing.parent_process()
    if lost := PRIVATE_NAMES.missing():
        if not parent:
            LOGGER.warning("%s: %s", lost, PRIVATE_NAMES.without)
        return
    metrics = Metrics(multiprocessing.current_process().name if parent else None)
    app[OBSERVER] = metrics
    app.cleanup_ctx.append(metrics.sampled)
    if not parent:
        app.cleanup_ctx.append(lambda app: _listening(app[CONFIG], metrics.registry))


@contextlib.asynccontextmanager
async def for_workers(config: Config) -> AsyncIterator[Callable[[str], None]]:
    """Serve the metrics of workers that are started meanwhile.

    Gives the function to call with the name of a worker that has ended. Raises ListenError and
    MetricsError.
    """
    if lost := PRIVATE_NAMES.missing():
        LOGGER.warning("%s: %s", lost, PRIVATE_NAMES.without)
        yield lambda name: None
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="minikms-metrics-")
    except OSError as exc:
        raise MetricsError(f"There is no folder for metrics: {exc.strerror}.") from None
    with folder as path:
        os.environ[FOLDER] = path  # which workers inherit
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path)  # type: ignore[no-untyped-call]
        async with _listening(config, registry):
            yield partial(multiprocess.mark_process_dead, path=path)


@contextlib.asynccontextmanager
async def _listening(config: Config, registry: CollectorRegistry) -> AsyncIterator[None]:
    async def metrics(request: web.Request) -> web.Response:
        text = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = KmsRunner(app, config, Shutdown(), shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    acceptor = Acceptor(lambda: runner.server(), Places(_CONNECTIONS, option="what /metrics takes"))  # type: ignore[misc]
    try:
        host, port = config.metrics_host, config.metrics_port
        try:
            await acceptor.listen(host, port)
        except OSError as exc:
            raise cannot_listen(host, port, exc) from None
        LOGGER.info("metrics on http://%s:%d/metrics", url_host(host), port)
        yield
    finally:
        acceptor.close()
        await runner.cleanup()
