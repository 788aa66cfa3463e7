"""Public keys as attributes of PKCS#11, as JWKs, and as kids of the service."""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from minikms_p11 import constants as c
from minikms_p11 import der
from minikms_p11.algorithms import CURVES_BY_OID, OIDS_BY_CURVE
from minikms_p11.keys import base64url
from minikms_p11.refusal import Refusal
from minikms_p11.wire import Template

_EXPONENT: Final = 65537  # of each RSA key of the service


def public_key_of_template(template: Template) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """The public key of a template with CKA_KEY_TYPE; raises Refusal."""
    try:
        if template.get(c.CKA_KEY_TYPE) == c.CKK_RSA:
            modulus = _number(template, c.CKA_MODULUS)
            exponent = _number(template, c.CKA_PUBLIC_EXPONENT)
            return rsa.RSAPublicNumbers(exponent, modulus).public_key()
        if template.get(c.CKA_KEY_TYPE) == c.CKK_EC:
            return point(_bytes(template, c.CKA_EC_PARAMS), _bytes(template, c.CKA_EC_POINT))
    except ValueError:
        raise Refusal(c.CKR_ATTRIBUTE_VALUE_INVALID) from None
    raise Refusal(c.CKR_TEMPLATE_INCONSISTENT)


def point(oid: bytes, value: bytes) -> ec.EllipticCurvePublicKey:
    """A point on a curve, with or without its OCTET STRING; raises ValueError."""
    if oid not in CURVES_BY_OID:
        raise Refusal(c.CKR_CURVE_NOT_SUPPORTED)
    _, curve = CURVES_BY_OID[oid]
    inner = der.content(value, 1 + 2 * curve.size)
    if inner is None:
        inner = der.content(value, 1 + curve.size)  # compressed
    if inner is None:
        raise ValueError("not a point")
    return ec.EllipticCurvePublicKey.from_encoded_point(curve.implementation, inner)


def public_jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """The JWK of a point on a curve (RFC 7518 section 6.2.1)."""
    curve = CURVES_BY_OID[OIDS_BY_CURVE[key.curve.name]][1]
    numbers = key.public_numbers()
    return {
        "crv": curve.name,
        "kty": "EC",
        "x": _base64url(numbers.x.to_bytes(curve.size)),
        "y": _base64url(numbers.y.to_bytes(curve.size)),
    }


def thumbprint(key: object) -> str | None:
    """The kid of a public key (RFC 7638); None for a key that the service cannot have."""
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return _rsa_thumbprint(_bytes_of(numbers.n), _bytes_of(numbers.e))
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in OIDS_BY_CURVE:
        return _hash(public_jwk(key))
    if isinstance(key, ed25519.Ed25519PublicKey):
        return _hash({"crv": "Ed25519", "kty": "OKP", "x": _base64url(key.public_bytes_raw())})
    return None


def thumbprint_of_template(template: Template) -> str | None:
    """The kid of the public key that a search names; None if it names none."""
    modulus, params = template.get(c.CKA_MODULUS), template.get(c.CKA_EC_PARAMS)
    if isinstance(modulus, bytes) and modulus.strip(b"\0"):
        return _rsa_thumbprint(modulus.lstrip(b"\0"), _bytes_of(_EXPONENT))
    value = template.get(c.CKA_EC_POINT)
    if isinstance(params, bytes) and isinstance(value, bytes):
        try:
            return thumbprint(point(params, value))
        except (ValueError, Refusal):
            return None
    return None


def _rsa_thumbprint(modulus: bytes, exponent: bytes) -> str:
    return _hash({"e": _base64url(exponent), "kty": "RSA", "n": _base64url(modulus)})


def _hash(jwk: Mapping[str, str]) -> str:
    text = json.dumps(jwk, sort_keys=True, separators=(",", ":"))
    return _base64url(hashlib.sha256(text.encode()).digest())


def _bytes_of(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)


def _bytes(template: Template, kind: int) -> bytes:
    value = template.get(kind)
    if not isinstance(value, bytes):
        raise Refusal(c.CKR_TEMPLATE_INCOMPLETE)
    return value


def _number(template: Template, kind: int) -> int:
    return int.from_bytes(_bytes(template, kind))


def _base64url(data: bytes) -> str:
    return base64url(data).rstrip("=")
