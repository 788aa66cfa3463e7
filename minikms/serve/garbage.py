"""What the garbage collector does not look through, at the start of a process and afterwards."""

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
