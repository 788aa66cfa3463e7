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

# The number of paths in the cache of lookups.
_PATHS_KEPT: Final = 1024
# The length of the longest cached path.
_LONGEST_KEPT: Final = 256


class _Step:
    """A node in the tree of paths; `routes` end here, and `rest` match all remaining segments.

    Both map methods to routes, each with the names of its variables.
    """

    __slots__ = ("named", "rest", "routes", "variable")

    def __init__(self) -> None:
        self.named: dict[str, _Step] = {}
        self.variable: _Step | None = None
        self.routes: dict[str, tuple[DoorRoute, Sequence[str]]] = {}
        self.rest: dict[str, tuple[DoorRoute, Sequence[str]]] = {}


class PathRoutes:
    """Finds the route of a path in one step per segment.

    A variable `{name}` is one segment that matches `variable`; `{name...}`, at the end, is one or
    more segments of any form. A literal segment has precedence.
    """

    def __init__(
        self, routes: Iterable[tuple[str, str, DoorRoute]], variable: Pattern[str]
    ) -> None:
        """Build the tree from routes by method and path; paths have no slash at either end."""
        self._first = _Step()
        self._variable = variable
        self._found = lru_cache(_PATHS_KEPT)(self._find)
        for method, path, route in routes:
            self._add(method, path.split("/"), route)

    def find(self, request: web.Request, method: str, path: str) -> DoorRoute:
        """Find a route; `DoorCall.parameters` gets its variables.

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
        """Return the routes of a path by method, with the names and values of variables."""
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
