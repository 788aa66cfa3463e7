"""Metrics of the processes of a service, read at each scrape.

The parent reads them, some from /proc: a worker that has ended cannot report its end, and a process
does not know its own resource use.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from minikms.basics.clocks import now

# Signals whose series exist from the beginning: Prometheus sees no increase when a series appears.
_ENDS: Final = ("none", "SIGABRT", "SIGBUS", "SIGKILL", "SIGSEGV", "SIGTERM")

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

# The fields of /proc/PID/stat after the name of the command (proc(5)).
_UTIME, _STIME, _CUTIME, _CSTIME, _STARTTIME, _RSS = 11, 12, 13, 14, 19, 21


class Processes(NamedTuple):
    """The workers of a service: process ids, the number that serve, and past ends by signal."""

    pids: Collection[int]
    alive: int
    ends: Mapping[str, int]


def only_this_process() -> Processes:
    """The workers of a service of one process: this one."""
    return Processes((), 1, {})


class ProcessCollector(Collector):
    """Collects the resources of this process and its workers, and the state of the workers."""

    def __init__(
        self, configured: int = 1, processes: Callable[[], Processes] = only_this_process
    ) -> None:
        self._configured = configured
        self._processes = processes
        self._processor = 0.0

    def collect(self) -> Iterator[Metric]:
        """Return the families; families read from /proc only if it exists."""
        processes = self._processes()
        yield GaugeMetricFamily("minikms_workers", "Configured processes.", self._configured)
        yield GaugeMetricFamily(
            "minikms_workers_alive", "Processes that serve.", float(processes.alive)
        )
        ended = CounterMetricFamily(
            "minikms_worker_ends", "Workers that ended, by signal.", labels=["signal"]
        )
        for name, number in {**dict.fromkeys(_ENDS, 0), **processes.ends}.items():
            ended.add_metric([name], number)
        yield ended
        # Workers first: a worker that ends in between is counted twice (its parent counts it, too),
        # never lost.
        workers = [stat for stat in map(_stat, processes.pids) if stat]
        own = _stat(os.getpid())
        if own is None:
            return
        ticks = sum(own[_UTIME : _CSTIME + 1])
        ticks += sum(stat[_UTIME] + stat[_STIME] for stat in workers)
        self._processor = max(self._processor, ticks / _TICKS)
        yield CounterMetricFamily(
            "process_cpu_seconds", "Processor time of all processes.", self._processor
        )
        yield GaugeMetricFamily(
            "process_resident_memory_bytes",
            "Resident memory of all processes.",
            sum(stat[_RSS] for stat in (own, *workers)) * _PAGE,
        )
        since = now() - own[_STARTTIME] / _TICKS
        yield GaugeMetricFamily(
            "process_start_time_seconds", "Start of the service.", round(time.time() - since, 2)
        )


def _stat(pid: int) -> list[int] | None:
    """Read the numbers in /proc/PID/stat; None if the process has ended, or without /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    _, *numbers = text.rpartition(")")[2].split()
    return [0, *map(int, numbers)]
