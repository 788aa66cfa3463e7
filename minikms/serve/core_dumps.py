"""Turns core dumps off, since the memory of the process contains keys."""

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # prctl(2)


def turn_off() -> None:
    """Prevent core dumps, and reads of this process's memory by others of its user.

    A limit of 0 alone does not prevent dumps to a program by a pipe (core(5)). On Linux, a process
    that is not dumpable has none, and most of its /proc/PID belongs to root.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
