"""Who sees every request of a server, and what becomes of it: metrics, where they are asked for."""

from typing import Final, Protocol

from aiohttp import web

# The status of a request whose caller was gone before its answer.
GONE: Final = "none"


class Observer(Protocol):
    """Sees every request of a server, and what becomes of it."""

    def add(self, server: web.Server) -> None:
        """Learn of a server, which has connections."""

    def answered(self, request: web.Request, status: int | str, seconds: float) -> None:
        """Learn of a request that was answered, and after how many seconds."""

    def unreadable(self, status: int) -> None:
        """Learn of what did not parse, and was answered with this status."""
