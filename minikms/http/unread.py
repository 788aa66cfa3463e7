"""Answers that callers have not read yet: bounded in bytes, for the whole process."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

LOGGER = logging.getLogger("minikms")

# In bytes. What is smaller is not counted: a connection has about as much anyway.
_MOST: Final = 64 * 1024 * 1024
SMALL: Final = 16 * 1024

# How much is handed to a connection at a time. aiohttp waits for the caller after 64 KiB.
_PIECE: Final = 128 * 1024


class UnreadAnswers:
    """The large answers that are being sent, whose callers may read slowly or not at all.

    Where they have more than `most` bytes together, connections are closed, the one first whose
    caller has read nothing for the longest time. A body that several answers share, as that of a
    JWK Set, counts once.
    """

    def __init__(self, most: int = _MOST) -> None:
        self.size = 0
        self._most = most
        # The longest without progress first.
        self._bodies: dict[asyncio.Transport, bytes] = {}

    async def send(
        self, request: web.BaseRequest, write: Callable[[bytes], Awaitable[None]], body: bytes
    ) -> None:
        """Write a body, or a part of one, piece by piece as the caller reads.

        Raises ConnectionError where the connection is closed meanwhile.
        """
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("The caller is gone.")
        self._add(transport, body)
        try:
            for start in range(0, len(body), _PIECE):
                await write(body[start : start + _PIECE])
                if transport in self._bodies:
                    self._bodies[transport] = self._bodies.pop(transport)
        finally:
            self._remove(transport)

    def _add(self, transport: asyncio.Transport, body: bytes) -> None:
        if not self._shared(body):
            self.size += len(body)
        self._bodies[transport] = body
        others = iter([each for each, unread in self._bodies.items() if unread is not body])
        while self.size > self._most and (other := next(others, None)):
            LOGGER.info("a connection is closed whose caller does not read its answers")
            self._remove(other)
            other.abort()

    def _remove(self, transport: asyncio.Transport) -> None:
        body = self._bodies.pop(transport, None)
        if body is not None and not self._shared(body):
            self.size -= len(body)

    def _shared(self, body: bytes) -> bool:
        return any(other is body for other in self._bodies.values())
