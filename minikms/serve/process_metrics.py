"""Metrics of the processes of a service, read when they are asked for.

A worker that has ended can no longer count, and a process does not know what it uses.
"""

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from minikms.clocks import now

# Ends that have a series from the beginning: an increase from no series to one is not seen.
_ENDS: Final = ("none", "SIGABRT", "SIGBUS", "SIGKILL", "SIGSEGV", "SIGTERM")

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

# The fields of /proc/PID/stat after the name of the command (proc(5)).
_UTIME, _STIME, _CUTIME, _CSTIME, _STARTTIME, _RSS = 11, 12, 13, 14, 19, 21


class Processes(NamedTuple):
    """The workers of a service: process ids, the number that serves, and past ends by signal."""

    pids: Collection[int]
    alive: int
    ends: Mapping[str, int]


def only_this_process() -> Processes:
    """The workers of a service of one process: this one."""
    return Processes((), 1, {})


class ProcessCollector(Collector):
    """The resources of this process and its workers, and the state of the workers."""

    def __init__(
        self, configured: int = 1, processes: Callable[[], Processes] = only_this_process
    ) -> None:
        self._configured = configured
        self._processes = processes
        self._processor = 0.0

    def collect(self) -> Iterator[Metric]:
        """The families; the ones from /proc only if it exists."""
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
        # Workers first: one that ends in between is counted twice, by its parent as well, not lost.
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
    """The numbers in /proc/PID/stat; None for a process that is gone, or without /proc."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    _, *numbers = text.rpartition(")")[2].split()
    return [0, *map(int, numbers)]
