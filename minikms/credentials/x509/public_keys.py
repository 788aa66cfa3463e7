"""Converts public JWKs to keys for X.509 (RFC 5280 section 4.1.2.7)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, mldsa, mlkem, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from minikms.encodings import b64url_decode
from minikms.errors import UnsupportedOption
from minikms.plugin.curves import CURVES

# Classes of keys by the `alg` of a JWK (RFC 9881, RFC 9935).
_AKP: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "ML-DSA-44": mldsa.MLDSA44PublicKey.from_public_bytes,
    "ML-DSA-65": mldsa.MLDSA65PublicKey.from_public_bytes,
    "ML-DSA-87": mldsa.MLDSA87PublicKey.from_public_bytes,
    "ML-KEM-768": mlkem.MLKEM768PublicKey.from_public_bytes,
    "ML-KEM-1024": mlkem.MLKEM1024PublicKey.from_public_bytes,
}
_ML_DSA: Final = (mldsa.MLDSA44PublicKey, mldsa.MLDSA65PublicKey, mldsa.MLDSA87PublicKey)


def public_key_of(jwk: Mapping[str, str] | None) -> Any | None:
    """Convert a public JWK to a key of pyca/cryptography; None if that is not supported.

    An algorithm made the JWK, so its values are not checked.
    """
    jwk = jwk or {}
    curve, alg = CURVES.get(jwk.get("crv", "")), jwk.get("alg", "")
    if curve is not None and curve.elliptic is not None:
        numbers = ec.EllipticCurvePublicNumbers(
            _number(jwk, "x"), _number(jwk, "y"), curve.elliptic
        )
        return numbers.public_key()
    if curve is not None and curve.okp is not None:
        return curve.okp[0].from_public_bytes(b64url_decode(jwk["x"]))
    if jwk.get("kty") == "AKP" and alg in _AKP:
        return _AKP[alg](b64url_decode(jwk["pub"]))
    if jwk.get("kty") == "RSA":
        return rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n")).public_key()
    return None


def is_of_strong_signer(public: Any) -> bool:
    """Tell whether a public key has a type and a size that signing keys of the service have."""
    if isinstance(public, rsa.RSAPublicKey):
        return 2048 <= public.key_size <= 4096 and public.public_numbers().e == 65537
    if isinstance(public, ec.EllipticCurvePublicKey):
        return any(
            curve.elliptic and public.curve.name == curve.elliptic.name for curve in CURVES.values()
        )
    edwards = (curve.okp[0] for curve in CURVES.values() if curve.okp and curve.signatures)
    return isinstance(public, (*edwards, *_ML_DSA))


def spki(public: Any) -> bytes:
    """Encode a public key of pyca/cryptography as SubjectPublicKeyInfo."""
    encoded: bytes = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def public_pem_of(jwk: Mapping[str, str] | None) -> bytes:
    """Encode a public JWK as SubjectPublicKeyInfo in PEM (RFC 7468 section 13).

    An algorithm made the JWK. Raises UnsupportedOption if its kind of key has no such encoding.
    """
    public = public_key_of(jwk)
    if public is None:
        raise UnsupportedOption("X.509 has no form for the public key of this key.")
    encoded: bytes = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _number(jwk: Mapping[str, str], member: str) -> int:
    return int.from_bytes(b64url_decode(jwk[member]), "big")
