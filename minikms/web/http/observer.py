"""Who sees every request of a server, and what becomes of it: metrics, where they are asked for."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Observer(Protocol):
    """Sees every request of a server, and what becomes of it."""

    def watch(self, server: web.Server, answer: Answer) -> Answer:
        """What `server` answers by, instead of `answer`."""

    def answered(self, request: web.Request, status: int | str, seconds: float) -> None:
        """Learn of a request that was answered on the fast path."""

    def unreadable(self, status: int) -> None:
        """Learn of what did not parse, and was answered with this status."""
