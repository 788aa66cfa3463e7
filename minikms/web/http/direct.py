"""Calls that are answered as soon as they have come: no queue, no task, no router.

Between a request that is parsed and its handler, and from there to the socket, aiohttp has a queue,
two tasks and a router: more work than all that is around a signature here. A handler that never
waits needs none of it. It either succeeds, or has done nothing; then the call goes the ordinary way
from its beginning, which meets the same again, and says what is wrong.
"""

from collections.abc import Callable
from typing import Final, NamedTuple, TypeAlias

from aiohttp import web
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

# Gives the body of a success in JSON.
Direct: TypeAlias = Callable[[web.Request], bytes | None]


class DirectWay(NamedTuple):
    """What answers a call at once, and what the router would find for it.

    With `no_store`, no cache may keep the answer.
    """

    handler: Direct
    match: UrlMappingMatchInfo
    no_store: bool

    @classmethod
    def to(
        cls, handler: Direct, route: web.AbstractRoute, app: web.Application, *, no_store: bool
    ) -> "DirectWay":
        """The way to a handler that stands in for that of a route without variables."""
        match = UrlMappingMatchInfo({}, route)
        match.add_app(app)
        match.freeze()
        return cls(handler, match, no_store)


# By method and path.
DIRECT: Final[web.AppKey[dict[tuple[str, str], DirectWay]]] = web.AppKey("direct")
