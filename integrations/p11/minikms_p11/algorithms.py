"""The algorithms of keys that PKCS#11 has: their types, curves, hashes and names in JOSE."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from minikms_p11 import constants as c


@dataclass(frozen=True)
class Curve:
    """A curve of ECDSA: its OBJECT IDENTIFIER in DER, and the digest that its signature has."""

    name: str  # in a JWK
    oid: bytes
    jose: str
    digest: int  # bytes
    implementation: ec.EllipticCurve

    @property
    def size(self) -> int:
        """The bytes of a coordinate, and of r and s."""
        return (self.implementation.key_size + 7) // 8


@dataclass(frozen=True)
class Algorithm:
    """An algorithm of the service."""

    name: str
    key_type: int
    bits: int
    curve: Curve | None = None
    hash: str = ""  # of HMAC, as in hashlib

    @property
    def is_secret(self) -> bool:
        return self.key_type == c.CKK_GENERIC_SECRET


_CURVES: Final = {
    "p256": Curve("P-256", bytes.fromhex("06082a8648ce3d030107"), "ES256", 32, ec.SECP256R1()),
    "p384": Curve("P-384", bytes.fromhex("06052b81040022"), "ES384", 48, ec.SECP384R1()),
    "p521": Curve("P-521", bytes.fromhex("06052b81040023"), "ES512", 64, ec.SECP521R1()),
    "k256": Curve("secp256k1", bytes.fromhex("06052b8104000a"), "ES256K", 32, ec.SECP256K1()),
}
ED25519_OID: Final = bytes.fromhex("06032b6570")
CURVES_BY_OID: Final = {curve.oid: (name, curve) for name, curve in _CURVES.items()}
CURVES_BY_NAME: Final = {curve.name: curve for curve in _CURVES.values()}
# By the name of the curve in `cryptography`.
OIDS_BY_CURVE: Final = {curve.implementation.name: curve.oid for curve in _CURVES.values()}

_ALL: Final = (
    *(
        Algorithm(name, c.CKK_EC, curve.implementation.key_size, curve)
        for name, curve in _CURVES.items()
    ),
    *(Algorithm(f"rsa{bits}", c.CKK_RSA, bits) for bits in (2048, 3072, 4096)),
    Algorithm("ed25519", c.CKK_EC_EDWARDS, 255),
    *(
        Algorithm(f"hs{bits}", c.CKK_GENERIC_SECRET, bits, hash=f"sha{bits}")
        for bits in (256, 384, 512)
    ),
)
ALGORITHMS: Final = {algorithm.name: algorithm for algorithm in _ALL}
# Programs can use these by p11-kit, and none is known to fail at the sight of one.
SHOWN_BY_DEFAULT: Final = frozenset({"p256", "p384", "p521", "rsa2048", "rsa3072", "rsa4096"})

HASHES: Final[dict[str, Callable[[], hashes.HashAlgorithm]]] = {
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


def digest_size(name: str) -> int:
    """The bytes of a digest."""
    return hashlib.new(name, usedforsecurity=False).digest_size
