"""The end of a process that has no memory left: it would answer calls 500 that were not done."""

import asyncio
import errno
import logging
import os
from typing import Any, Final, NoReturn

LOGGER = logging.getLogger("minikms")

# Python's text for a thread whose stack cannot be allocated.
_NO_THREAD: Final = "can't start new thread"


def end_if_caused(exc: BaseException | None) -> None:
    """End the process, and its calls without an answer, if memory was exhausted."""
    while exc is not None:
        if (
            isinstance(exc, MemoryError)
            or (isinstance(exc, OSError) and exc.errno == errno.ENOMEM)
            or (isinstance(exc, RuntimeError) and str(exc) == _NO_THREAD)
        ):
            _end()
        exc = exc.__context__


def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle what fails on the event loop outside of a call."""
    end_if_caused(context.get("exception"))
    loop.default_exception_handler(context)


def _end() -> NoReturn:
    try:
        LOGGER.critical("out of memory: this process ends")
        logging.shutdown()
    finally:
        os._exit(1)
