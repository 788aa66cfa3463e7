"""The routes of an application whose paths have no variables."""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeAlias

from aiohttp import web
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from minikms.http.answers import Answer

# What answers a request.
Handler: TypeAlias = Callable[[web.Request], Coroutine[Any, Any, Answer]]


class PlainRoute(NamedTuple):
    """The handler of a path without variables, and what the router would find for its calls."""

    handler: Handler
    match: UrlMappingMatchInfo


class PlainRoutes:
    """The routes of an application whose paths have no variables: the router takes longer."""

    def __init__(self, app: web.Application) -> None:
        self._handle: Handler = app._handle
        self._routes: dict[tuple[str, str], PlainRoute] = {}
        for route in app.router.routes():
            path = route.resource.get_info().get("path") if route.resource is not None else None
            if path is not None:
                match = UrlMappingMatchInfo({}, route)
                match.add_app(app)
                match.freeze()
                handler: Any = route.handler
                self._routes[route.method, path] = PlainRoute(handler, match)

    def start(self, request: web.Request, method: str, target: str) -> Coroutine[Any, Any, Answer]:
        """The coroutine that answers a request; it has no `Expect`."""
        path = target.partition("?")[0]
        route = self._routes.get((method, path)) or self._routes.get(("*", path))
        if route is None:
            return self._handle(request)
        request._match_info = route.match
        return route.handler(request)
