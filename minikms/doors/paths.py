"""Routes of a door by method and path, with variables such as `keys/{name}/rotate`."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from re import Pattern
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from minikms.doors.protocol import DoorRoute
from minikms.errors import MethodNotAllowed, RouteNotFound
from minikms.http.state import PARAMETERS

_REST: Final = "..."

# Paths that are found without following them again, and characters of the longest one.
_PATHS_KEPT: Final = 1024
_LONGEST_KEPT: Final = 256


class _Step:
    """A place within paths; `routes` end here, and `rest` take all that follows.

    Both have the routes by method, each with the names of its variables.
    """

    __slots__ = ("named", "rest", "routes", "variable")

    def __init__(self) -> None:
        self.named: dict[str, _Step] = {}
        self.variable: _Step | None = None
        self.routes: dict[str, tuple[DoorRoute, Sequence[str]]] = {}
        self.rest: dict[str, tuple[DoorRoute, Sequence[str]]] = {}


class PathRoutes:
    """Finds the route of a path in as many steps as the path has segments.

    A variable `{name}` is one segment of the form `variable`; `{name...}`, at the end, is one or
    more segments of any form. A segment that is spelled out has precedence.
    """

    def __init__(
        self, routes: Iterable[tuple[str, str, DoorRoute]], variable: Pattern[str]
    ) -> None:
        """Take methods and paths, without a slash at either end, and their routes."""
        self._first = _Step()
        self._variable = variable
        self._found = lru_cache(_PATHS_KEPT)(self._find)
        for method, path, route in routes:
            self._add(method, path.split("/"), route)

    def find(self, request: web.Request, method: str, path: str) -> DoorRoute:
        """Find a route, and leave its variables to `DoorCall.parameters`.

        `path` is the encoded path without the slash before it. Raises RouteNotFound, and
        MethodNotAllowed for a path with other methods.
        """
        found = self._found if len(path) <= _LONGEST_KEPT else self._find
        route, parameters = found(method, path)
        if parameters:
            request[PARAMETERS] = parameters
        return route

    def _find(self, method: str, path: str) -> tuple[DoorRoute, Mapping[str, str]]:
        known, values = self._follow(path)
        if not known:
            raise RouteNotFound()
        if method not in known:
            allowed = ", ".join(sorted(known))
            raise MethodNotAllowed(f"Allowed here: {allowed}.", headers={"Allow": allowed})
        route, names = known[method]
        return route, dict(zip(names, values, strict=True))

    def at(self, path: str) -> Mapping[str, DoorRoute]:
        """Return the routes of a path by method, empty if it has none."""
        return {method: route for method, (route, _) in self._follow(path)[0].items()}

    def _follow(self, path: str) -> tuple[Mapping[str, tuple[DoorRoute, Sequence[str]]], list[str]]:
        """Return the routes of a path by method, each with its names, and the values for them."""
        segments = path.split("/")
        if "%" in path:
            segments = list(map(unquote, segments))
        step = self._first
        values: list[str] = []
        kept: list[str] = []
        known: dict[str, tuple[DoorRoute, Sequence[str]]] = {}
        for place, segment in enumerate(segments):
            if step.rest and segment:
                known, kept = step.rest, [*values, "/".join(segments[place:])]
            following = step.named.get(segment)
            if following is None:
                following = step.variable
                if following is None or not self._variable.fullmatch(segment):
                    return known, kept
                values.append(segment)
            step = following
        return (step.routes, values) if step.routes else (known, kept)

    def _add(self, method: str, segments: list[str], route: DoorRoute) -> None:
        step, names = self._first, []
        for segment in segments:
            if not segment.startswith("{"):
                step = step.named.setdefault(segment, _Step())
                continue
            names.append(segment.strip("{}").removesuffix(_REST))
            if segment.endswith(_REST + "}"):
                step.rest[method] = route, names
                return
            step.variable = step.variable or _Step()
            step = step.variable
        step.routes[method] = route, names
