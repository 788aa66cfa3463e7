"""The clock that measures the age of data in memory."""

import time
from typing import Final

# This clock also advances while the machine is suspended; `time.monotonic` does not, on Linux or
# macOS. On macOS, CLOCK_MONOTONIC is such a clock.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now() -> float:
    """Return the seconds of a clock that is never set and that all processes of a machine share."""
    return time.clock_gettime(_CLOCK)


def now_ns() -> int:
    """Return the time of the same clock in nanoseconds."""
    return time.clock_gettime_ns(_CLOCK)
