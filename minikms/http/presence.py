"""The presence of a caller, checked while long work is done for it."""

import time
from typing import Final

from aiohttp import HttpVersion11, web

# RFC 2518 section 10.1; how long after one the next is sent, in seconds, twice as long each time.
_PROCESSING: Final = b"HTTP/1.1 102 Processing\r\n\r\n"
_FIRST_PAUSE: Final = 0.05


class Presence:
    """A check, to be called now and then, that the caller of a request still waits for its answer.

    A half-closed client looks like a vanished one. An interim answer tells them apart, and a client
    accepts any number of them (RFC 9110 section 15).
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._pause = _FIRST_PAUSE
        self._next = 0.0

    def __call__(self) -> None:
        """Raise ConnectionResetError if the caller is gone."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        half_closed = getattr(self._request.protocol, "half_closed", False)
        now = time.monotonic()
        if half_closed and now >= self._next and self._request.version == HttpVersion11:
            transport.write(_PROCESSING)
            self._next, self._pause = now + self._pause, 2 * self._pause
