"""Calls of one turn of the loop that are answered together, on the fast path.

What answers such a call is in web/http/direct.py, what a connection does with one in
web/http/connection.py.
"""

import asyncio
import logging
from time import perf_counter
from typing import Protocol

from aiohttp import web

from minikms.events import record_together
from minikms.web.http import logs
from minikms.web.http.direct import DirectWay

LOGGER = logging.getLogger(__name__)


class Answering(Protocol):
    """A connection, to its calls on the fast path."""

    def compute(self, call: "Call") -> bool:
        """Do all but record a call and answer it; False where it is to go the ordinary way."""

    def send(self, call: "Call") -> None:
        """Answer a call that was recorded."""

    def abandon(self) -> None:
        """End, since it is not known how far an answer came."""


class Call:
    """A call on the fast path; its connection does not rest meanwhile.

    `rests` is what the connection's task waits for at rest, `begun` by `perf_counter`.
    """

    __slots__ = ("answer", "begun", "connection", "request", "rests", "way")

    request: web.Request
    answer: bytes

    def __init__(
        self, connection: Answering, rests: "asyncio.Future[None]", way: DirectWay
    ) -> None:
        self.connection = connection
        self.rests = rests
        self.way = way
        self.begun = perf_counter()

    def go_the_ordinary_way(self) -> None:
        """Wake up the connection's task, which begins with the call anew."""
        if not self.rests.done():
            self.rests.set_result(None)


class RequestBatch:
    """The calls of one turn of the loop on the fast path: each step is taken for all.

    Sockets are read, then keys sign, then the audit log is written, then answers leave. A step of
    one call leaves the processor much of what the same step of the next call needs; taken in turn,
    each would have to fetch its own again. What fails of one call is no matter of the others.
    """

    def __init__(self) -> None:
        self._calls: list[Call] = []

    def add(self, loop: asyncio.AbstractEventLoop, call: Call) -> None:
        """Have a call answered before the loop waits for others."""
        if not self._calls:
            loop.call_soon(self._end)
        self._calls.append(call)

    def _end(self) -> None:
        calls, self._calls = self._calls, []
        done = [call for call in calls if _computed(call)]
        try:
            record_together([call.request[logs.EVENT] for call in done])
        except Exception:  # the ordinary way fails likewise, and says why
            for call in done:
                call.go_the_ordinary_way()
            return
        for call in done:
            _send(call)


def _computed(call: Call) -> bool:
    try:
        return call.connection.compute(call)
    except Exception:
        LOGGER.exception("a call goes the ordinary way, since the fast path failed")
        call.go_the_ordinary_way()
        return False


def _send(call: Call) -> None:
    try:
        call.connection.send(call)
    except Exception:
        LOGGER.exception("a connection ends, since the fast path failed")
        call.connection.abandon()
        call.rests.cancel()
