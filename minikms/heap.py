"""Memory that was freed, given back to the system."""

import ctypes


def give_back() -> None:
    """Have glibc give back what is free between pieces in use, which it keeps (malloc_trim(3)).

    Some milliseconds for hundreds of megabytes. Other libraries do without.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
