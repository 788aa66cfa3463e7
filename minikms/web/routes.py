"""The whole API on one screen."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from aiohttp import web

from minikms.web import keys, operations, profiles, system


class Route(NamedTuple):
    """One call: what it answers to, who answers, its operationId, and what it lets a caller do."""

    method: str
    path: str
    handler: Callable[..., Awaitable[web.Response]]
    name: str
    scope: str


# `[^/]+` since aiohttp's own `{kid}` stops at braces, and not "generate", whose methods would
# otherwise mingle with those of a key.
KID: Final = "{kid:(?!generate$)[^/]+}"
NAME: Final = "{name:[^/]+}"

ROUTES: Final = (
    Route("POST", "/key/generate", keys.generate, "generateKey", "keys:write"),
    Route("GET", f"/key/{KID}", keys.get, "getKey", "keys:read"),
    Route("GET", "/key", keys.find, "findKey", "keys:read"),
    Route("GET", "/keys", keys.list_keys, "listKeys", "keys:read"),
    Route("POST", f"/key/{KID}/associate", keys.associate, "associateAlias", "keys:write"),
    Route("DELETE", f"/key/{KID}", keys.delete, "deleteKey", "keys:write"),
    Route("POST", "/sign", operations.sign, "sign", "sign"),
    Route("POST", "/verify", operations.verify, "verify", "verify"),
    Route("POST", "/profile", profiles.create, "createProfile", "profiles"),
    Route("GET", "/profiles", profiles.list_profiles, "listProfiles", "profiles"),
    Route("DELETE", f"/profile/{NAME}", profiles.delete, "deleteProfile", "profiles"),
    Route("GET", "/algorithms", system.algorithms, "listAlgorithms", "open"),
    Route("GET", "/healthz", system.healthz, "healthz", "open"),
    Route("GET", "/readyz", system.readyz, "readyz", "open"),
    Route("GET", "/openapi.json", system.openapi, "openapi", "open"),
)
