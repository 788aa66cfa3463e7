"""Curves by their `crv` in a JWK: their keys and signatures in COSE and X.509."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, x448, x25519


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve, with its number in COSE.

    `signatures` maps the JOSE names of its signatures to their COSE numbers; signing uses the first
    number. `hash` is their hash in X.509, None for EdDSA. `elliptic` is the EC curve in
    pyca/cryptography, `okp` the public and the private class of OKP keys; a curve with neither is
    not in X.509.
    """

    cose: int
    signatures: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    hash: hashes.HashAlgorithm | None = None
    elliptic: ec.EllipticCurve | None = None
    okp: tuple[Any, type] | None = None


_ED25519: Final = (ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey)
_ED448: Final = (ed448.Ed448PublicKey, ed448.Ed448PrivateKey)
_X25519: Final = (x25519.X25519PublicKey, x25519.X25519PrivateKey)
_X448: Final = (x448.X448PublicKey, x448.X448PrivateKey)

# RFC 9053 sections 2 and 7.1, RFC 8812, RFC 9864; RFC 5480, RFC 5758, RFC 8410. The numbers of RFC
# 9864 come second if most verifiers know only the older numbers, which do not determine the curve.
CURVES: Final[Mapping[str, Curve]] = {
    "P-256": Curve(1, {"ES256": (-7, -9)}, hashes.SHA256(), ec.SECP256R1()),
    "P-384": Curve(2, {"ES384": (-35, -51)}, hashes.SHA384(), ec.SECP384R1()),
    "P-521": Curve(3, {"ES512": (-36, -52)}, hashes.SHA512(), ec.SECP521R1()),
    "secp256k1": Curve(8, {"ES256K": (-47,)}, hashes.SHA256(), ec.SECP256K1()),
    "Ed25519": Curve(6, {"EdDSA": (-8,), "Ed25519": (-19,)}, okp=_ED25519),
    "Ed448": Curve(7, {"EdDSA": (-8,), "Ed448": (-53,)}, okp=_ED448),
    "X25519": Curve(4, okp=_X25519),
    "X448": Curve(5, okp=_X448),
}
