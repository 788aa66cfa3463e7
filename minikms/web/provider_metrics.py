"""Metrics of the providers of one process: their sampled state, and the times of calls."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from minikms.keys.providers.providers import RunningProvider

_LABELS: Final = ("provider",)

# In seconds.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ProviderMetrics:
    """The metric families with the label `provider`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        family: dict[str, Any] = {
            "namespace": "minikms",
            "registry": registry,
            "labelnames": _LABELS,
        }
        self._up = Gauge(
            "provider_up",
            "1 if the provider answers all processes.",
            multiprocess_mode="livemin",
            **family,
        )
        self._sessions = Gauge(
            "provider_sessions",
            "Open sessions of the provider.",
            multiprocess_mode="livesum",
            **family,
        )
        self._reconnects = Counter(
            "provider_reconnects", "Times the provider connected again after a loss.", **family
        )
        self._call_times = Histogram(
            "provider_call_seconds", "Time of a call of the provider.", buckets=_BUCKETS, **family
        )
        self._waiting = Gauge(
            "provider_objects_waiting",
            "Key pairs of deleted keys, which are to be destroyed.",
            multiprocess_mode="livemax",
            **family,
        )
        self._left = Counter(
            "provider_objects_left",
            "Key pairs that failed calls have made, and may have left over.",
            **family,
        )
        self._counted: dict[str, int] = {}
        self._counted_left: dict[str, int] = {}

    def sample(
        self,
        providers: Iterable[RunningProvider],
        waiting: Mapping[str, int],
        left: Mapping[str, int],
    ) -> None:
        """Sample the state of each provider, and time its calls from the first sample on.

        `waiting` has the number of objects to destroy, also of providers that the service lacks,
        and `left` the number of objects that may be left over since the start.
        """
        for name, number in waiting.items():
            self._waiting.labels(name).set(number)
        for provider in providers:
            name, status = provider.name, provider.status
            if name not in self._counted:
                provider.observe = self._call_times.labels(name).observe
            self._up.labels(name).set(status.available)
            self._sessions.labels(name).set(status.sessions)
            self._reconnects.labels(name).inc(status.reconnects - self._counted.get(name, 0))
            self._counted[name] = status.reconnects
            number = left.get(name, 0)
            self._left.labels(name).inc(number - self._counted_left.get(name, 0))
            self._counted_left[name] = number
