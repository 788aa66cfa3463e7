"""The whole API on one screen."""

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from aiohttp import web

from minikms.access.policy import OPEN
from minikms.web.handlers import (
    boxes,
    didcomm,
    encapsulation,
    jose,
    jwe,
    keys,
    material,
    operations,
    profiles,
    system,
    tokens,
)
from minikms.web.handlers.operation import OperationHandlers
from minikms.web.http.fast_path import FastHandler


class Route(NamedTuple):
    """One call: what it answers to, who answers, its operationId, and what it lets a caller do.

    `fast` answers where nothing has to be waited for, and else does nothing
    (web/http/fast_path.py).
    `secret` says that a success has a secret in it, which no cache may keep. `also` are further
    scopes that its callers need.
    """

    method: str
    path: str
    handler: Callable[..., Awaitable[web.StreamResponse]]
    name: str
    scope: str
    fast: FastHandler | None = None
    secret: bool = False
    also: tuple[str, ...] = ()


def _operation(
    path: str, handlers: OperationHandlers, name: str, scope: str, *, secret: bool = False
) -> Route:
    """The route of something that is done with a key."""
    return Route("POST", path, handlers.ordinary, name, scope, handlers.fast, secret)


# `[^/]+` since aiohttp's own `{kid}` stops at braces; and not the names of other calls, whose
# methods would otherwise mingle with those of a key.
KID: Final = "{kid:(?!(?:generate|import)$)[^/]+}"
NAME: Final = "{name:[^/]+}"
ID: Final = "{token:[^/]+}"

# In the order of the page: each finds what those above it have made, so of what one deletes nothing
# below it has a need.
ROUTES: Final = (
    Route("POST", "/key/generate", material.generate, "generateKey", "keys:write"),
    Route("POST", "/key/generate/batch", material.generate_batch, "generateKeys", "keys:write"),
    Route("POST", "/key/import", material.import_key, "importKey", "keys:write"),
    Route("GET", "/key", keys.find, "findKey", "keys:read"),
    Route("GET", "/keys", keys.list_keys, "listKeys", "keys:read"),
    Route("POST", f"/key/{KID}/rotate", material.rotate, "rotateKey", "keys:write"),
    Route("GET", f"/key/{KID}/export", material.export, "exportKey", "keys:export", secret=True),
    Route("POST", f"/key/{KID}/restore", keys.restore, "restoreKey", "keys:write"),
    Route("POST", f"/key/{KID}/associate", keys.associate, "associateAlias", "keys:write"),
    Route("DELETE", f"/key/{KID}/associate", keys.dissociate, "dissociateAlias", "keys:write"),
    Route("GET", f"/key/{KID}", keys.get, "getKey", "keys:read"),
    Route("PATCH", f"/key/{KID}", keys.update, "updateKey", "keys:write"),
    Route("DELETE", f"/key/{KID}", keys.delete, "deleteKey", "keys:write"),
    Route("DELETE", "/key", keys.delete_by_alias, "deleteKeyByAlias", "keys:write"),
    _operation("/sign", operations.sign, "sign", "sign"),
    _operation("/verify", operations.verify, "verify", "verify"),
    Route("POST", "/sign/batch", operations.sign_batch, "signBatch", "sign"),
    Route("POST", "/verify/batch", operations.verify_batch, "verifyBatch", "verify"),
    _operation("/encrypt", operations.encrypt, "encrypt", "encrypt"),
    _operation("/decrypt", operations.decrypt, "decrypt", "decrypt", secret=True),
    _operation("/wrap", operations.wrap, "wrap", "wrap"),
    _operation("/unwrap", operations.unwrap, "unwrap", "wrap", secret=True),
    _operation("/derive", operations.derive, "derive", "derive", secret=True),
    _operation("/mac", operations.mac, "mac", "mac"),
    _operation("/mac/verify", operations.verify_mac, "verifyMac", "mac"),
    Route("POST", "/random", operations.random, "random", "random"),
    _operation("/box", boxes.make_box, "makeBox", "encrypt"),
    _operation("/box/open", boxes.open_box, "openBox", "decrypt", secret=True),
    _operation("/box/seal", boxes.seal_box, "sealBox", "encrypt"),
    _operation("/box/seal/open", boxes.open_sealed_box, "openSealedBox", "decrypt", secret=True),
    _operation("/didcomm/pack", didcomm.pack, "packDidcomm", "encrypt"),
    _operation("/didcomm/unpack", didcomm.unpack, "unpackDidcomm", "decrypt", secret=True),
    _operation("/encapsulate", encapsulation.encapsulate, "encapsulate", "encrypt", secret=True),
    _operation("/decapsulate", encapsulation.decapsulate, "decapsulate", "derive", secret=True),
    _operation("/hpke/seal", encapsulation.seal_hpke, "sealHpke", "encrypt"),
    _operation("/hpke/open", encapsulation.open_hpke, "openHpke", "decrypt", secret=True),
    _operation("/jws/sign", jose.sign_jws, "signJws", "sign"),
    _operation("/jws/verify", jose.verify_jws, "verifyJws", "verify"),
    _operation("/jwe/encrypt", jwe.encrypt_jwe, "encryptJwe", "encrypt"),
    _operation("/jwe/decrypt", jwe.decrypt_jwe, "decryptJwe", "decrypt", secret=True),
    Route("GET", "/jwks.json", jose.jwks, "jwks", "keys:read"),
    Route("POST", "/profile", profiles.create, "createProfile", "profiles"),
    Route("GET", "/profiles", profiles.list_profiles, "listProfiles", "profiles"),
    Route("PATCH", f"/profile/{NAME}", profiles.change, "changeProfile", "profiles"),
    Route("DELETE", f"/profile/{NAME}", profiles.delete, "deleteProfile", "profiles"),
    Route("POST", "/tokens", tokens.create, "createToken", "admin", secret=True),
    Route("GET", "/tokens", tokens.list_tokens, "listTokens", "admin"),
    Route("DELETE", f"/tokens/{ID}", tokens.revoke, "revokeToken", "admin"),
    Route("GET", "/algorithms", system.algorithms, "listAlgorithms", "keys:read"),
    Route("GET", "/healthz", system.healthz, "healthz", OPEN),
    Route("GET", "/readyz", system.readyz, "readyz", OPEN),
    Route("GET", "/openapi.json", system.openapi, "openapi", OPEN),
)
