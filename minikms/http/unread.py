"""Bounds the bytes of answers that callers have not read yet, for the whole process."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

LOGGER = logging.getLogger("minikms")

# In bytes. Smaller answers are not counted: an idle connection takes about as much memory.
_MOST: Final = 64 * 1024 * 1024
SMALL: Final = 16 * 1024

# Bytes written to a connection at a time. aiohttp waits for the caller after 64 KiB.
_PIECE: Final = 128 * 1024


@dataclass(slots=True, eq=False)
class _Answer:
    """An answer that is being sent; `left` bytes remain, and none has been read since `since`."""

    transport: asyncio.Transport
    body: bytes
    left: int
    since: float


class UnreadAnswers:
    """Sends large answers, whose callers may read slowly or not at all.

    If these answers together have more than `most` bytes, connections are closed: first the
    connection with the largest product of remaining bytes and time without progress, so that a
    slow reader outlasts callers who read nothing. A body that several answers share, such as a JWK
    Set, counts once.
    """

    def __init__(self, most: int = _MOST) -> None:
        self.size = 0
        self._most = most
        self._answers: set[_Answer] = set()
        # The number of answers that share a body, by its identity.
        self._sharers: Counter[int] = Counter()

    async def send(
        self, request: web.BaseRequest, write: Callable[[bytes], Awaitable[None]], body: bytes
    ) -> None:
        """Write a body or a part of it, piece by piece as the caller reads.

        Raises ConnectionError if the connection is closed meanwhile.
        """
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("The caller is gone.")
        answer = _Answer(transport, body, len(body), time.monotonic())
        self._add(answer)
        try:
            for start in range(0, len(body), _PIECE):
                await write(body[start : start + _PIECE])
                answer.left, answer.since = len(body) - start - _PIECE, time.monotonic()
        finally:
            self._remove(answer)

    def _add(self, answer: _Answer) -> None:
        self._answers.add(answer)
        self._sharers[id(answer.body)] += 1
        if self._sharers[id(answer.body)] == 1:
            self.size += len(answer.body)
        while self.size > self._most:
            others = [other for other in self._answers if other.body is not answer.body]
            if not others:
                break
            idlest = max(others, key=lambda other: other.left * (answer.since - other.since))
            LOGGER.info("a connection is closed whose caller does not read its answers")
            self._remove(idlest)
            idlest.transport.abort()

    def _remove(self, answer: _Answer) -> None:
        if answer not in self._answers:
            return
        self._answers.remove(answer)
        self._sharers[id(answer.body)] -= 1
        if not self._sharers[id(answer.body)]:
            del self._sharers[id(answer.body)]
            self.size -= len(answer.body)
