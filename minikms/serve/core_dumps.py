"""Turns off core dumps, since the process has keys in memory."""

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # prctl(2)


def turn_off() -> None:
    """Prevent core dumps, and reads of this process's memory by other processes of its user.

    A limit of 0 alone does not prevent dumps to a program through a pipe (core(5)). On Linux, a
    process that is not dumpable writes no dumps, and root owns most of its /proc/PID.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
