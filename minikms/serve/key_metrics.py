"""Metrics of the store key, which only the process that opened it knows."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from minikms.config import Config


class StoreKeyCollector(Collector):
    """How the store key is kept, and the kinds and states of its seals; never a path or a URI."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def collect(self) -> Iterator[Metric]:
        """Return the families, which do not change until the next start."""
        kept = GaugeMetricFamily(
            "minikms_store_key_info", "How the store key is kept.", labels=["kept"]
        )
        kept.add_metric([self._config.key_kept or "none"], 1)
        yield kept
        seals = GaugeMetricFamily(
            "minikms_seal_info",
            "The seals of the store key, and whether they opened it at the start.",
            labels=["place", "kind", "state"],
        )
        for place, (kind, state) in enumerate(self._config.seals, 1):
            seals.add_metric([str(place), kind, state], 1)
        yield seals
