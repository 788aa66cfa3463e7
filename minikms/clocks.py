"""The clock for the age of what a process keeps in memory."""

import time
from typing import Final

# It also counts the time for which the machine is suspended, which `time.monotonic` counts neither
# on Linux nor on macOS. On macOS it is CLOCK_MONOTONIC, which goes on while the machine sleeps.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Seconds by a clock that nobody sets, that all processes of a machine share."""
    return time.clock_gettime(_CLOCK)


def now_ns() -> int:
    """The same in nanoseconds."""
    return time.clock_gettime_ns(_CLOCK)
