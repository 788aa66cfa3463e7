"""Public keys in the formats of other protocols."""

from collections.abc import Mapping

from minikms.credentials.x509.public_keys import public_key_of, spki


def spki_of(jwk: Mapping[str, str]) -> bytes:
    """Return the public key of a JWK as SubjectPublicKeyInfo in DER (RFC 5280)."""
    return spki(public_key_of(jwk))
