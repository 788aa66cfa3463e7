"""The calls of operations: path and body of each, and an algorithm whose keys can do it."""

from typing import Any, NamedTuple

DATA = "aGVsbG8="
SIXTEEN = "AAECAwQFBgcICQoLDA0ODw=="
PEER = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
XPEER = {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}
COSE = "hEOhASagQEA="  # with an empty payload and signature
VERKEY = "586Z7H2vpX9qNhN2T4e9Utugie3ogjbxzGaMtM3E6HR5"


class Use(NamedTuple):
    """A call of an operation, whose body names a key by `kid` or `alias` besides `body`."""

    path: str
    body: dict[str, Any]
    alg: str
    """An algorithm whose keys can do it."""
    operation: str
    other: str
    """Another operation of the same keys."""


USES = [
    Use("/sign", {"data": DATA}, "p256", "sign", "verify"),
    Use("/verify", {"data": DATA, "sig": DATA}, "p256", "verify", "sign"),
    Use("/sign/batch", {"items": [{"data": DATA}]}, "p256", "sign", "derive"),
    Use("/verify/batch", {"items": [{"data": DATA, "sig": DATA}]}, "p256", "verify", "derive"),
    Use("/encrypt", {"plaintext": DATA}, "a256gcm", "encrypt", "decrypt"),
    Use(
        "/decrypt",
        {"ciphertext": DATA, "nonce": SIXTEEN, "tag": SIXTEEN},
        "a256gcm",
        "decrypt",
        "encrypt",
    ),
    Use("/wrap", {"key": SIXTEEN}, "a128kw", "wrap", "unwrap"),
    Use("/unwrap", {"wrapped": "A" * 32}, "a128kw", "unwrap", "wrap"),
    Use("/derive", {"peer": PEER}, "p256", "derive", "sign"),
    Use("/box", {"to": XPEER, "plaintext": DATA}, "x25519", "box", "box-open"),
    Use(
        "/box/open",
        {"from": XPEER, "ciphertext": SIXTEEN, "nonce": SIXTEEN},
        "x25519",
        "box-open",
        "box",
    ),
    Use("/box/seal/open", {"ciphertext": SIXTEEN}, "x25519", "box-open", "derive"),
    Use("/decapsulate", {"ciphertext": "A" * 1451}, "mlkem768", "decapsulate", "hpke-open"),
    Use("/hpke/open", {"enc": SIXTEEN, "ciphertext": SIXTEEN}, "p256", "hpke-open", "derive"),
    Use("/hpke/open", {"enc": SIXTEEN, "ciphertext": ""}, "mlkem1024", "hpke-open", "decapsulate"),
    Use("/mac", {"data": DATA}, "hs256", "mac", "mac-verify"),
    Use("/mac/verify", {"data": DATA, "mac": DATA}, "hs256", "mac-verify", "mac"),
    Use("/jws/sign", {"payload": DATA}, "p256", "sign", "verify"),
    Use("/jws/sign", {"payload": DATA}, "hs256", "mac", "mac-verify"),
    Use("/jws/verify", {"jws": "a.b.c"}, "p256", "verify", "sign"),
    Use("/jws/verify", {"jws": "a.b.c"}, "hs256", "mac-verify", "mac"),
    Use("/csr", {"subject": "CN=a"}, "p256", "sign", "verify"),
    Use(
        "/certificate",
        {"profile": "self-signed", "subject": "CN=a", "days": 1},
        "p256",
        "sign",
        "verify",
    ),
    Use("/crl", {"number": 1, "days": 1, "revoked": []}, "p256", "sign", "verify"),
    Use("/key-attestation", {"keys": ["did:example:1#k"]}, "p256", "sign", "verify"),
    Use("/cose/sign", {"payload": DATA}, "p256", "sign", "verify"),
    Use("/cose/sign", {"payload": DATA}, "hs256", "mac", "mac-verify"),
    Use("/cose/verify", {"cose": COSE}, "p256", "verify", "sign"),
    Use("/cose/verify", {"cose": COSE}, "hs256", "mac-verify", "mac"),
    Use("/jwe/decrypt", {"jwe": "a.b.c.d.e"}, "p256", "jwe-decrypt", "derive"),
    Use("/jwe/decrypt", {"jwe": "a.b.c.d.e"}, "a128kw", "jwe-decrypt", "unwrap"),
]

# The bodies of operations that name no key, or several.
OTHER_BODIES = {
    "/random": {"length": 1},
    "/box/seal": {"to": XPEER, "plaintext": DATA},
    "/didcomm/pack": {"to": [VERKEY], "message": DATA},
    "/didcomm/unpack": {"packed": "{}"},
    "/encapsulate": {"to": XPEER},
    "/hpke/seal": {"to": XPEER, "plaintext": DATA},
    "/jwe/encrypt": {
        "plaintext": DATA,
        "enc": "A256GCM",
        "recipients": [{"jwk": XPEER, "alg": "ECDH-ES"}],
    },
}
