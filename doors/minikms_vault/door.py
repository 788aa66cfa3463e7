"""The Vault door: the head of a request in Vault's protocol, and the table of operations."""

import re
from collections.abc import Mapping, Sequence
from posixpath import normpath
from typing import TYPE_CHECKING, Final

from minikms.doors import (
    AlgorithmRegistry,
    Door,
    DoorRoute,
    ErrorAnswer,
    KmsError,
    RouteNotFound,
)
from minikms_vault.errors import VaultError, as_vault, body_of, invalid
from minikms_vault.head import method_of, profile_of, token_of

if TYPE_CHECKING:
    from aiohttp import web

    from minikms_vault.operation import VaultOperation

_VERSION: Final = "/v1/"
_CONTROL: Final = re.compile("%(?:[01][0-9A-Fa-f]|7[Ff])")  # a control character of a path

# The door needs no header, so a browser sends any page's POST without a preflight request.
_NO_PAGES: Final = "a request with an Origin is refused: no web page may call this port"


class VaultDoor(Door):
    """Vault's Transit engine, and the calls that clients of Vault make before they use it."""

    name = "vault"
    title = "Vault Transit"
    content_type = "application/json"
    alias_prefixes = ("vault:",)  # the wrapping key of imports
    list_method = True

    def __init__(self, options: Mapping[str, str], registry: AlgorithmRegistry) -> None:
        super().__init__(options, registry)
        # Imported here: `minikms serve --help` loads this module without operations.
        from minikms.doors.paths import PathRoutes
        from minikms_vault.names import NAME
        from minikms_vault.sys import capabilities_of

        known = [*_operations()]
        either = {each.name: each.either for each in known if each.either}
        known.append(capabilities_of(self.routes_at, either))
        self._routes = {each.name: each.route(registry) for each in known}
        self._paths = PathRoutes(
            (
                (method, path, self._routes[each.name])
                for each in known
                for method, path in each.paths()
            ),
            NAME,
        )
        self._engines = {path.split("/")[0] for each in known for _, path in each.paths()}

    @property
    def routes(self) -> Sequence[DoorRoute]:
        return tuple(self._routes.values())

    def routes_at(self, path: str) -> Mapping[str, DoorRoute]:
        """Return the routes of a path below `/v1/` by method."""
        return self._paths.at(path.strip("/"))

    def route_of(self, request: "web.Request") -> DoorRoute:
        if "Origin" in request.headers:
            raise VaultError(403, _NO_PAGES)
        method, path = request.method, request.raw_path
        if method != "POST":
            method = method_of(request)
        if "?" in path or "#" in path or not path.startswith(_VERSION):
            path = request.rel_url.raw_path
        if not path.startswith(_VERSION):
            raise VaultError(404)
        if "%" in path and _CONTROL.search(path):
            raise RouteNotFound()
        if "//" in path or "/." in path:
            _redirect(request, path)
        path = path[len(_VERSION) :]
        if path.endswith("/"):
            if method == "POST":
                raise invalid("cannot write to a path ending in '/'")
            if "LIST" in self._paths.at(path[:-1]):
                path = path[:-1]
        try:
            return self._paths.find(request, method, path)
        except RouteNotFound:
            if path.split("/")[0] in self._engines:
                raise
            raise VaultError(
                404, f'no handler for route "{path}". route entry not found.'
            ) from None

    def token(self, request: "web.Request") -> str:
        return token_of(request)

    def profile(self, request: "web.Request") -> str:
        return profile_of(request)

    def answer(self, error: KmsError) -> ErrorAnswer:
        status, sentences = as_vault(error)
        headers = {**error.headers, "Content-Type": self.content_type}
        return ErrorAnswer(status, body_of(error, sentences), headers)


def _redirect(request: "web.Request", path: str) -> None:
    """Redirect, as Go does, from a path with empty or dot segments to the path without them.

    The redirect is a VaultError; it never leads outside the API.
    """
    clean = normpath(path) + "/" * path.endswith("/")
    if clean == path:
        return
    if not (clean.startswith(_VERSION) and clean.isascii()):
        raise VaultError(404)
    _, mark, query = request.raw_path.partition("?")
    raise VaultError(307, headers={"Location": clean + mark + query})


def _operations() -> "Sequence[VaultOperation]":
    """Return all operations that the modules declare."""
    from minikms_vault import (
        auth,
        backups,
        certificates,
        encryption,
        exports,
        hashing,
        imports,
        keys,
        macs,
        settings,
        signing,
        sys,
    )
    from minikms_vault.operation import VaultOperation

    modules = (
        keys,
        settings,
        signing,
        encryption,
        macs,
        hashing,
        exports,
        imports,
        backups,
        certificates,
        sys,
        auth,
    )
    declared = [each for module in modules for each in vars(module).values()]
    return [each for each in declared if isinstance(each, VaultOperation)]
