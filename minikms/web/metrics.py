"""The metrics of one process, for Prometheus: counters and times of calls, and its state.

serve/metrics_listener.py serves them.
"""

import logging
import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    multiprocess,
    values,
)
from prometheus_client.metrics import MetricWrapperBase

from minikms.basics.private_names import PrivateNames
from minikms.basics.system_calls import allocate
from minikms.http.logs import EVENT
from minikms.http.places import Places
from minikms.http.state import GONE, Observer
from minikms.rules import kind_of
from minikms.startup_errors import MetricsError
from minikms.web.state_metrics import StateMetrics

LOGGER = logging.getLogger("minikms")

# Undocumented names, though they do not begin with an underscore.
PRIVATE_NAMES: Final = PrivateNames(
    "prometheus-client",
    (
        (
            values,
            "ValueClass",
            "the class that keeps the values of metrics",
        ),
        (values, "MutexValue", "in memory, even where PROMETHEUS_MULTIPROC_DIR is set"),
        (values, "MultiProcessValue", "in files of a worker, which its successor continues"),
    ),
    without="there are no metrics; install a version that setup.cfg allows",
)

# The environment variable for the folder of the workers' metrics.
FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"

# The files of a worker, as prometheus-client names them: by type, and a gauge also by its mode.
_FILES: Final = ("counter", "histogram", "gauge_livesum", "gauge_livemax", "gauge_livemin")
_FILE_SIZE: Final = 1024 * 1024  # bytes

# The value of an empty label: a path without a route, a call without a key, a caller that
# disconnected before the answer.
NONE: Final = GONE

# In seconds.
_BUCKETS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)

FamilyT = TypeVar("FamilyT", bound=MetricWrapperBase)


class _ByLabels(dict[tuple[int | str, ...], FamilyT], Generic[FamilyT]):
    """A cache of a family's metrics by labels; the library takes several times as long."""

    def __init__(self, family: FamilyT) -> None:
        super().__init__()
        self._family = family

    def __missing__(self, labels: tuple[int | str, ...]) -> FamilyT:
        member = self[labels] = self._family.labels(*labels)
        return member


class Metrics(Observer):
    """The metric families of one process.

    No label has a value that callers choose: their number would be unbounded. `worker` is the name
    of one of several processes; its successor has the same name, and continues to count in the same
    files. Raises MetricsError if these cannot be created.
    """

    def __init__(self, worker: str | None = None) -> None:
        values.ValueClass = values.MutexValue
        if worker:
            _reserve_files(worker)
            values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
        # Times of creation do not exist in the metrics of several processes.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        family: dict[str, Any] = {"namespace": "minikms", "registry": self.registry}
        times: dict[str, Any] = {**family, "buckets": _BUCKETS}
        self._requests = _ByLabels(
            Counter("requests", "Requests, by route and status.", ("route", "status"), **family)
        )
        request_times = Histogram(
            "request_duration_seconds", "Time to an answer.", ("route",), **times
        )
        # The first value of a metric type opens the type's file. By the first answer, descriptors
        # may be exhausted. Every other type gets a value here without labels.
        request_times.labels(NONE)
        self._request_times = _ByLabels(request_times)
        self._operations = _ByLabels(
            Counter(
                "operations",
                "Calls of the API, by operation, algorithm and outcome.",
                ("operation", "alg", "outcome"),
                **family,
            )
        )
        self._refusals = _ByLabels(
            Counter(
                "rule_refusals", "Calls refused by a rule of a key, by rule.", ("rule",), **family
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
        Gauge(
            "build_info",
            "The running version.",
            ("version", "python"),
            multiprocess_mode="livemax",
            **family,
        ).labels(version("minikms-server"), platform.python_version()).set(1)
        self._state = StateMetrics(self.registry, counts_keys=worker in (None, "worker 1"))
        self.sampled = self._state.sampled
        if worker:
            _check_files(worker)

    def add(self, server: web.Server) -> None:
        self._state.add(server)

    def watch(self, places: Places, expiry: Callable[[], float]) -> None:
        self._state.watch(places, expiry)

    def unreadable(self, status: int) -> None:
        """Count a request that did not parse."""
        self._requests[NONE, status].inc()

    def answered(self, request: web.Request, status: int | str, seconds: float) -> None:
        """Count and time a request."""
        event = request.get(EVENT)
        route = event.operation if event is not None else request.match_info.route.name or NONE
        self._requests[route, status].inc()
        self._request_times[route,].observe(seconds)
        if event is not None:
            alg = event.alg or NONE
            self._operations[event.operation, alg, event.outcome].inc()
            self._operation_times[event.operation, alg].observe(seconds)
            if event.rule is not None:
                self._refusals[kind_of(event.rule),].inc()


def _file(kind: str, worker: str) -> Path:
    return Path(os.environ[FOLDER], f"{kind}_{worker}.db")


def _reserve_files(worker: str) -> None:
    """Allocate the files of a worker on the disk; raises MetricsError.

    prometheus-client maps sparse files into memory. A write to one on a full disk is SIGBUS, which
    ends the process.
    """
    try:
        for kind in _FILES:
            with _file(kind, worker).open("ab") as file:
                allocate(file.fileno(), _FILE_SIZE)
    except OSError as exc:
        raise MetricsError(f"The folder for metrics cannot be used: {exc.strerror}.") from None


def _check_files(worker: str) -> None:
    """Warn if prometheus-client does not write to the allocated files."""
    allocated = [str(_file("counter", worker))]
    if not multiprocess.MultiProcessCollector.merge(allocated):  # type: ignore[no-untyped-call]
        LOGGER.warning(
            "prometheus-client %s uses other file names: a full disk may end %s",
            version("prometheus-client"),
            worker,
        )
