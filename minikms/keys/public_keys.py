"""The public keys of JWKs as X.509 has them (RFC 5280 section 4.1.2.7)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, mlkem, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from minikms.encodings import b64url_decode

# RFC 5480, RFC 8812.
_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
    "secp256k1": ec.SECP256K1(),
}
# By `crv` and `alg`: RFC 8410, RFC 9881, RFC 9935.
_RAW: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "Ed25519": ed25519.Ed25519PublicKey.from_public_bytes,
    "Ed448": ed448.Ed448PublicKey.from_public_bytes,
    "ML-DSA-44": mldsa.MLDSA44PublicKey.from_public_bytes,
    "ML-DSA-65": mldsa.MLDSA65PublicKey.from_public_bytes,
    "ML-DSA-87": mldsa.MLDSA87PublicKey.from_public_bytes,
    "ML-KEM-768": mlkem.MLKEM768PublicKey.from_public_bytes,
    "ML-KEM-1024": mlkem.MLKEM1024PublicKey.from_public_bytes,
}
_EDWARDS_OR_ML_DSA: Final = (
    *(ed25519.Ed25519PublicKey, ed448.Ed448PublicKey),
    *(mldsa.MLDSA44PublicKey, mldsa.MLDSA65PublicKey, mldsa.MLDSA87PublicKey),
)


def public_key_of(jwk: Mapping[str, str] | None) -> Any | None:
    """The key of pyca/cryptography of a public JWK; None if there is no form for it here.

    The JWK is one that an algorithm made, so its values are right.
    """
    jwk = jwk or {}
    kind = jwk.get("crv") or jwk.get("alg", "")
    if kind in _CURVES:
        numbers = ec.EllipticCurvePublicNumbers(_number(jwk, "x"), _number(jwk, "y"), _CURVES[kind])
        return numbers.public_key()
    if kind in _RAW:
        return _RAW[kind](b64url_decode(jwk.get("x") or jwk["pub"]))
    if jwk.get("kty") == "RSA":
        return rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key()
    return None


def is_of_strong_signer(public: Any) -> bool:
    """Tell whether a public key has a type and a size by which keys of the service sign."""
    if isinstance(public, rsa.RSAPublicKey):
        return 2048 <= public.key_size <= 4096 and public.public_numbers().e == 65537
    if isinstance(public, ec.EllipticCurvePublicKey):
        return isinstance(public.curve, tuple(map(type, _CURVES.values())))
    return isinstance(public, _EDWARDS_OR_ML_DSA)


def spki(public: Any) -> bytes:
    """The SubjectPublicKeyInfo of a public key of pyca/cryptography."""
    encoded: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _number(jwk: Mapping[str, str], member: str) -> int:
    return int.from_bytes(b64url_decode(jwk[member]), "big")
