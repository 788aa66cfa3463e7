"""The whole API on one screen."""

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

from minikms.access.policy import OPEN
from minikms.http.answers import Answer
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


class Route(NamedTuple):
    """One call: what it answers to, who answers, its operationId, and what it lets a caller do.

    `secret` says that a success has a secret in it, which no cache may keep.
    """

    method: str
    path: str
    handler: Callable[..., Coroutine[Any, Any, Answer]]
    name: str
    scope: str
    secret: bool = False


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
    Route("POST", "/sign", operations.sign, "sign", "sign"),
    Route("POST", "/verify", operations.verify, "verify", "verify"),
    Route("POST", "/sign/batch", operations.sign_batch, "signBatch", "sign"),
    Route("POST", "/verify/batch", operations.verify_batch, "verifyBatch", "verify"),
    Route("POST", "/encrypt", operations.encrypt, "encrypt", "encrypt"),
    Route("POST", "/decrypt", operations.decrypt, "decrypt", "decrypt", secret=True),
    Route("POST", "/wrap", operations.wrap, "wrap", "wrap"),
    Route("POST", "/unwrap", operations.unwrap, "unwrap", "wrap", secret=True),
    Route("POST", "/derive", operations.derive, "derive", "derive", secret=True),
    Route("POST", "/mac", operations.mac, "mac", "mac"),
    Route("POST", "/mac/verify", operations.verify_mac, "verifyMac", "mac"),
    Route("POST", "/random", operations.random, "random", "random"),
    Route("POST", "/box", boxes.make_box, "makeBox", "encrypt"),
    Route("POST", "/box/open", boxes.open_box, "openBox", "decrypt", secret=True),
    Route("POST", "/box/seal", boxes.seal_box, "sealBox", "encrypt"),
    Route("POST", "/box/seal/open", boxes.open_sealed_box, "openSealedBox", "decrypt", secret=True),
    Route("POST", "/didcomm/pack", didcomm.pack, "packDidcomm", "encrypt"),
    Route("POST", "/didcomm/unpack", didcomm.unpack, "unpackDidcomm", "decrypt", secret=True),
    Route("POST", "/encapsulate", encapsulation.encapsulate, "encapsulate", "encrypt", secret=True),
    Route("POST", "/decapsulate", encapsulation.decapsulate, "decapsulate", "derive", secret=True),
    Route("POST", "/hpke/seal", encapsulation.seal_hpke, "sealHpke", "encrypt"),
    Route("POST", "/hpke/open", encapsulation.open_hpke, "openHpke", "decrypt", secret=True),
    Route("POST", "/jws/sign", jose.sign_jws, "signJws", "sign"),
    Route("POST", "/jws/verify", jose.verify_jws, "verifyJws", "verify"),
    Route("POST", "/jwe/encrypt", jwe.encrypt_jwe, "encryptJwe", "encrypt"),
    Route("POST", "/jwe/decrypt", jwe.decrypt_jwe, "decryptJwe", "decrypt", secret=True),
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
