"""The memory of the process: gives free memory back, and ends the process if none is left."""

import asyncio
import ctypes
import errno
import gc
import logging
import os
from typing import Any, Final, NoReturn

LOGGER = logging.getLogger("minikms")

# Python's message if the stack of a thread cannot be allocated (Modules/_threadmodule.c). It raises
# a plain RuntimeError without the errno, so only the message identifies it.
_NO_THREAD: Final = "can't start new thread"


# Seconds until free memory is given back to the system.
_GIVE_BACK_AFTER: Final = 3.0


class GiveBackTimer:
    """Gives free memory back to the system soon; one timer serves many connections."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_GIVE_BACK_AFTER, self._give_back)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _give_back(self) -> None:
        self._timer = None
        self._loop.run_in_executor(None, give_back)


def give_back() -> None:
    """Make glibc return free memory that it keeps between pieces in use (malloc_trim(3)).

    The garbage collector runs first: it frees the calls of callers that left, and would run late,
    since it counts objects and not their size. This takes some milliseconds for hundreds of
    megabytes. With another C library, only the garbage collector runs.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def end_if_exhausted(exc: BaseException | None) -> None:
    """End the process, without answers to its calls, if memory was exhausted.

    It could only answer 500 without knowing whether the call had an effect.
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
