"""What is counted and timed, for Prometheus: `GET /metrics` on a listener of its own.

Imported only where it is asked for. One process counts in memory. Workers count in files of a
folder that their parent has made, and it adds them up: a worker may not be there to be asked.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import platform
import tempfile
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.metadata import version
from time import perf_counter
from typing import Any, Final, Generic, TypeVar

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    multiprocess,
    values,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics import MetricWrapperBase

from minikms.addresses import in_url
from minikms.background import in_background
from minikms.config import Config
from minikms.startup_errors import ListenError, MetricsError
from minikms.web.http.acceptor import Acceptor, Places
from minikms.web.http.limits import IN_FLIGHT
from minikms.web.http.logs import EVENT
from minikms.web.http.observer import OBSERVER, Answer
from minikms.web.http.server import KmsRunner
from minikms.web.state import CONFIG, STORE

LOGGER = logging.getLogger("minikms")

# Where prometheus-client looks for the folder of several processes, once a metric is made.
_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

_KINDS: Final = ("counter", "histogram", "gauge_livesum", "gauge_livemax")
_ROOM: Final = 1024 * 1024  # bytes

# The value of a label where there is nothing to name: a path of no route, a call that concerns no
# key, a caller who was gone before the answer.
NONE: Final = "none"

# Connections at once to the listener that Prometheus asks.
_CONNECTIONS: Final = 100

# In seconds.
_SAMPLED_EVERY: Final = 1.0
_SHUTDOWN_TIMEOUT: Final = 1.0
_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

FamilyT = TypeVar("FamilyT", bound=MetricWrapperBase)


class _ByLabels(dict[tuple[int | str, ...], FamilyT], Generic[FamilyT]):
    """The members of a family by their labels: the library takes several times as long."""

    def __init__(self, family: FamilyT) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, labels: tuple[int | str, ...]) -> FamilyT:
        member = self[labels] = self._family.labels(*labels)
        return member


class Metrics:
    """The families of one process.

    No label has a value that callers choose: there would be no end to them.
    """

    def __init__(self, worker: str | None) -> None:
        # By the name that a worker's successor has too, so that it goes on counting there.
        values.ValueClass = values.MutexValue
        if worker:
            _take_room(worker)
            values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
        # Several processes have none.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        family: dict[str, Any] = {"namespace": "minikms", "registry": self.registry}
        times: dict[str, Any] = {**family, "buckets": _BUCKETS}
        number: dict[str, Any] = {**family, "multiprocess_mode": "livesum"}
        self._requests = _ByLabels(
            Counter("requests", "Requests, by route and status.", ("route", "status"), **family)
        )
        self._request_times = _ByLabels(
            Histogram("request_duration_seconds", "Time to an answer.", ("route",), **times)
        )
        self._operations = _ByLabels(
            Counter(
                "operations",
                "Calls of the API, by algorithm and what became of them.",
                ("operation", "alg", "outcome"),
                **family,
            )
        )
        self._operation_times = _ByLabels(
            Histogram(
                "operation_duration_seconds",
                "Time of a call of the API.",
                ("operation", "alg"),
                **times,
            )
        )
        self._keys_opened = Counter("keys_opened", "Keys read from the store, to use.", **family)
        self._reopened = Counter(
            "store_reopened", "Times that the store was opened anew after a fault.", **family
        )
        self._in_flight = Gauge("requests_in_flight", "Requests under way.", **number)
        self._connections = Gauge("connections", "Connections of callers.", **number)
        self._store_connections = Gauge(
            "store_connections", "Connections to the store that there may be.", **number
        )
        self._store_in_use = Gauge(
            "store_connections_in_use", "Connections to the store in use.", **number
        )
        self._store_waiting = Gauge(
            "store_calls_waiting", "Calls that wait for a connection to the store.", **number
        )
        Gauge(
            "build_info",
            "The version that runs.",
            ("version", "python"),
            multiprocess_mode="livemax",
            **family,
        ).labels(version("minikms"), platform.python_version()).set(1)
        self._opened_before = self._reopened_before = 0
        self._server: web.Server | None = None

    def watch(self, server: web.Server, answer: Answer) -> Answer:
        """`answer`, with each request counted and timed."""
        self._server = server

        async def watched(request: Any) -> web.StreamResponse:
            begun = perf_counter()
            status: int | str = 500
            try:
                response = await answer(request)
                status = response.status
            except web.HTTPException as exc:  # a redirect
                status = exc.status
                raise
            except (ConnectionError, asyncio.CancelledError):
                status = NONE
                raise
            finally:
                self.answered(request, status, perf_counter() - begun)
            return response

        return watched

    def unreadable(self, status: int) -> None:
        """Count what could not be read as a request."""
        self._requests[NONE, status].inc()

    def answered(self, request: web.Request, status: int | str, seconds: float) -> None:
        """Count and time a request."""
        route = request.match_info.route.name or NONE
        self._requests[route, status].inc()
        self._request_times[route,].observe(seconds)
        event = request.get(EVENT)
        if event is not None:
            alg = event.alg or NONE
            self._operations[event.operation, alg, event.outcome].inc()
            self._operation_times[event.operation, alg].observe(seconds)

    @contextlib.asynccontextmanager
    async def sampled(self, app: web.Application) -> AsyncIterator[None]:
        """Take down, time and again, what is not worth it with every call."""

        async def keep_on() -> None:
            while True:
                self._sample(app)
                await asyncio.sleep(_SAMPLED_EVERY)

        try:
            async with in_background(keep_on()):
                yield
        finally:
            self._sample(app)

    def _sample(self, app: web.Application) -> None:
        store = app[STORE]
        pool = store.database.pool
        self._in_flight.set(app[IN_FLIGHT].number)
        self._connections.set(len(self._server.connections) if self._server else 0)
        self._store_connections.set(pool.connections)
        self._store_in_use.set(pool.in_use)
        self._store_waiting.set(pool.waiting)
        self._reopened.inc(pool.reopened - self._reopened_before)
        self._keys_opened.inc(store.keys_opened - self._opened_before)
        self._reopened_before, self._opened_before = pool.reopened, store.keys_opened


def _take_room(worker: str) -> None:
    """Have a worker's files take their room now; raises MetricsError.

    prometheus-client maps files of holes into memory: to fill one where the disk is full by then
    is SIGBUS, the end of the process.
    """
    try:
        for kind in _KINDS:
            with open(os.path.join(os.environ[_FOLDER], f"{kind}_{worker}.db"), "ab") as file:
                os.posix_fallocate(file.fileno(), 0, _ROOM)
    except OSError as exc:
        raise MetricsError(f"The folder for metrics cannot be used: {exc.strerror}.") from None


def add_to(app: web.Application) -> None:
    """Have an application counted, and what is counted served where no parent does that."""
    parent = multiprocessing.parent_process()
    metrics = Metrics(multiprocessing.current_process().name if parent else None)
    app[OBSERVER] = metrics
    app.cleanup_ctx.append(metrics.sampled)
    if not parent:
        app.cleanup_ctx.append(lambda app: _served(app[CONFIG], metrics.registry))


@contextlib.asynccontextmanager
async def of_workers(config: Config) -> AsyncIterator[Callable[[str], None]]:
    """Serve what workers count who are started meanwhile; gives what to call when one has ended.

    Raises ListenError and MetricsError.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="minikms-metrics-")
    except OSError as exc:
        raise MetricsError(f"There is no folder for metrics: {exc.strerror}.") from None
    with folder as path:
        os.environ[_FOLDER] = path  # which workers inherit
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path)  # type: ignore[no-untyped-call]
        async with _served(config, registry):
            yield partial(multiprocess.mark_process_dead, path=path)


@contextlib.asynccontextmanager
async def _served(config: Config, registry: CollectorRegistry) -> AsyncIterator[None]:
    async def metrics(request: web.Request) -> web.Response:
        text = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    app = web.Application()
    app[CONFIG] = config
    app.router.add_get("/metrics", metrics)
    runner = KmsRunner(app, shutdown_timeout=_SHUTDOWN_TIMEOUT)
    await runner.setup()
    acceptor = Acceptor(lambda: runner.server(), Places(_CONNECTIONS, option="what /metrics takes"))  # type: ignore[misc]
    try:
        where = f"{in_url(config.metrics_host)}:{config.metrics_port}"
        try:
            await acceptor.listen(config.metrics_host, config.metrics_port)
        except OSError as exc:
            raise ListenError(f"Cannot listen on {where}: {exc.strerror}.") from None
        LOGGER.info("metrics on http://%s/metrics", where)
        yield
    finally:
        acceptor.close()
        await runner.cleanup()
