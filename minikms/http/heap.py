"""Memory that was freed, given back to the system."""

import ctypes
import gc


def give_back() -> None:
    """Have glibc give back what is free between pieces in use, which it keeps (malloc_trim(3)).

    A call whose caller left waits for the garbage collector, which counts objects and not their
    size: it comes first. Some milliseconds for hundreds of megabytes. Other libraries than glibc
    do without.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
