"""What the garbage collector looks through, and memory that was freed, given back to the system."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def growing() -> Iterator[None]:
    """Collect no garbage while modules are imported or an application is made.

    Hardly any of it ever is garbage, and to look through it again and again is a tenth of a start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def spare() -> None:
    """Exclude what is there now, and stays to the end, from garbage collection."""
    gc.collect()
    gc.freeze()


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
