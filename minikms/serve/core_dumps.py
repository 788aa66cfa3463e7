"""No core dump of a process that has keys in its memory."""

import ctypes
import resource
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4  # prctl(2)


def turn_off() -> None:
    """Have the system write none of this process, nor let others of its user read its memory.

    A limit of 0 alone does not keep the memory from a program that takes dumps by a pipe (core(5)).
    From the second on, on Linux, most of /proc/PID is root's.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
