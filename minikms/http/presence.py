"""Checks during long work whether its caller is still connected."""

from collections.abc import Callable

from aiohttp import web


def presence(request: web.Request) -> Callable[[], None]:
    """Make a check that raises ConnectionResetError once the caller of a request has left.

    A half-closed client counts as gone, since both look the same.
    """

    def require_present() -> None:
        transport = request.transport
        half_closed = getattr(request.protocol, "half_closed", False)
        if transport is None or transport.is_closing() or half_closed:
            raise ConnectionResetError

    return require_present
