"""The memory of the process: gives free memory back, and ends the process if none is left."""

import asyncio
import ctypes
import errno
import gc
import logging
import os
from typing import Any, Final, NoReturn

LOGGER = logging.getLogger("minikms")

# Python's text for a thread whose stack cannot be allocated (Modules/_threadmodule.c). It raises a
# plain RuntimeError without the errno, so only the text distinguishes it.
_NO_THREAD: Final = "can't start new thread"


def give_back() -> None:
    """Make glibc return free memory between pieces in use, which it keeps (malloc_trim(3)).

    The garbage collector runs first: calls whose caller left wait for it, and it counts objects and
    not their size. This takes some milliseconds for hundreds of megabytes. With another library
    than glibc, only the garbage collector runs.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def end_if_exhausted(exc: BaseException | None) -> None:
    """End the process, and its calls without an answer, if memory was exhausted.

    Otherwise it would answer 500 without knowing what the call has done.
    """
    while exc is not None:
        if (
            isinstance(exc, MemoryError)
            or (isinstance(exc, OSError) and exc.errno == errno.ENOMEM)
            or (isinstance(exc, RuntimeError) and str(exc) == _NO_THREAD)
        ):
            _end()
        exc = exc.__context__


def handle_loop_failure(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle a failure on the event loop outside of a call."""
    end_if_exhausted(context.get("exception"))
    loop.default_exception_handler(context)


def _end() -> NoReturn:
    try:
        LOGGER.critical("out of memory: this process ends")
        logging.shutdown()
    finally:
        os._exit(1)
