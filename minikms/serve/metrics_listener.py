"""The metrics listener: `GET /metrics` on its own port, for Prometheus.

Imported only if metrics are enabled, since prometheus-client takes 50 ms to import. A single
process keeps its metrics in memory. Workers write their metrics to files in a folder of their
parent, which adds them up: a worker that has ended can no longer be asked.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from minikms.basics.addresses import url_host
from minikms.config import Config
from minikms.errors import TooBusy
from minikms.http.acceptor import Acceptor
from minikms.http.places import Places
from minikms.http.server import KmsRunner
from minikms.http.state import CONFIG, OBSERVERS, Shutdown
from minikms.serve.key_metrics import StoreKeyCollector
from minikms.serve.ports import cannot_listen
from minikms.serve.process_metrics import ProcessCollector, Processes, only_this_process
from minikms.startup_errors import MetricsError
from minikms.web.metrics import FOLDER, PRIVATE_NAMES, Metrics
from minikms.web.state import METRICS

LOGGER = logging.getLogger("minikms")

# The largest number of connections to this listener.
_CONNECTIONS: Final = 100
_SHUTDOWN_TIMEOUT: Final = 1.0  # seconds

# The timeout for the parent's answer to a worker.
_PATIENCE: Final = ClientTimeout(5)


def add_to(app: web.Application) -> None:
    """Count the requests of an application; also serve the metrics if there is no parent."""
    parent = multiprocessing.parent_process()
    if lost := PRIVATE_NAMES.missing():
        if not parent:
            LOGGER.warning("%s: %s", lost, PRIVATE_NAMES.without)
        return
    metrics = Metrics(multiprocessing.current_process().name if parent else None)
    app[OBSERVERS].append(metrics)
    of_this: Callable[[], Awaitable[bytes]] = partial(_text, metrics.registry)
    of_all: Callable[[], Awaitable[bytes]] = partial(_of_parent, app[CONFIG])
    app[METRICS] = of_all if parent else of_this
    app.cleanup_ctx.append(metrics.sampled)
    if not parent:
        metrics.registry.register(ProcessCollector())
        metrics.registry.register(StoreKeyCollector(app[CONFIG]))
        app.cleanup_ctx.append(lambda app: _listening(app[CONFIG], metrics.registry))


@contextlib.asynccontextmanager
async def for_workers(
    config: Config, processes: Callable[[], Processes] = only_this_process
) -> AsyncIterator[Callable[[str], None]]:
    """Serve the metrics of the workers that the block starts; `processes` has their state.

    Yields a function to call with the name of a worker that has ended. Raises ListenError and
    MetricsError.
    """
    if lost := PRIVATE_NAMES.missing():
        LOGGER.warning("%s: %s", lost, PRIVATE_NAMES.without)
        yield lambda name: None
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix="minikms-metrics-")
    except OSError as exc:
        raise MetricsError(f"No folder for metrics can be made: {exc.strerror}.") from None
    with folder as path:
        os.environ[FOLDER] = path  # inherited by workers
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path)  # type: ignore[no-untyped-call]
        registry.register(ProcessCollector(config.workers, processes))
        registry.register(StoreKeyCollector(config))
        async with _listening(config, registry):
            yield partial(multiprocess.mark_process_dead, path=path)


async def _text(registry: CollectorRegistry) -> bytes:
    return await asyncio.to_thread(generate_latest, registry)


async def _of_parent(config: Config) -> bytes:
    """Fetch the metrics of all workers from this worker's parent; raises TooBusy."""
    url = f"http://{url_host(config.metrics_host)}:{config.metrics_port}/metrics"
    try:
        async with ClientSession(timeout=_PATIENCE) as session, session.get(url) as answer:
            return await answer.read()
    except (ClientError, TimeoutError):
        raise TooBusy() from None


@contextlib.asynccontextmanager
async def _listening(config: Config, registry: CollectorRegistry) -> AsyncIterator[None]:
    async def metrics(request: web.Request) -> web.Response:
        text = await _text(registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = KmsRunner(app, config, Shutdown(), shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    acceptor = Acceptor(lambda: runner.server(), Places(_CONNECTIONS, option="the /metrics limit"))  # type: ignore[misc]
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
