"""Keeps the garbage collector from objects that stay, at startup and afterwards."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def growing() -> Iterator[None]:
    """Turn garbage collection off while modules are imported or an application is made.

    Hardly any of the new objects become garbage, and to search them costs a tenth of a start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def spare() -> None:
    """Exclude the present objects, which stay to the end, from garbage collection."""
    gc.collect()
    gc.freeze()
