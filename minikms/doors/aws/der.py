"""Public keys as SubjectPublicKeyInfo in DER (RFC 5280), which our own API has as JWKs."""

from collections.abc import Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, mlkem
from joserfc.jwk import ECKey, import_key

from minikms.doors.aws.errors import ValidationException
from minikms.encodings import b64url_decode

# joserfc does not know the JWKs of RFC 9964.
_BY_ALG: Final[Mapping[str, Any]] = {
    "ML-DSA-44": mldsa.MLDSA44PublicKey,
    "ML-DSA-65": mldsa.MLDSA65PublicKey,
    "ML-DSA-87": mldsa.MLDSA87PublicKey,
    "ML-KEM-768": mlkem.MLKEM768PublicKey,
    "ML-KEM-1024": mlkem.MLKEM1024PublicKey,
}


def spki_of(jwk: Mapping[str, str]) -> bytes:
    """The public key of a public JWK."""
    der: bytes
    if jwk["kty"] == "AKP":
        key = _BY_ALG[jwk["alg"]].from_public_bytes(b64url_decode(jwk["pub"]))
        der = key.public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    else:
        of_jose: Any = import_key({**jwk})
        der = of_jose.as_der(private=False)
    return der


def jwk_of(spki: bytes) -> dict[str, Any]:
    """The JWK of a public key on an elliptic curve; raises ValidationException."""
    try:
        key = ser.load_der_public_key(spki)
        if isinstance(key, ec.EllipticCurvePublicKey):
            return ECKey.import_key(spki).as_dict(private=False)
    # pyca/cryptography may not know the kind of key, and joserfc not the curve.
    except (ValueError, UnsupportedAlgorithm, KeyError):
        pass
    raise ValidationException("PublicKey is no public key on an elliptic curve in DER.")
