"""The presence of a caller, checked while long work is done for it."""

from collections.abc import Callable

from aiohttp import web


def presence(request: web.Request) -> Callable[[], None]:
    """Make a check that raises ConnectionResetError once the caller of a request is gone.

    A half-closed client looks like a vanished one, and counts as one here.
    """

    def require_present() -> None:
        transport = request.transport
        half_closed = getattr(request.protocol, "half_closed", False)
        if transport is None or transport.is_closing() or half_closed:
            raise ConnectionResetError

    return require_present
