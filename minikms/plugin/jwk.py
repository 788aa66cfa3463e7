"""Checks of the members of a JWK (RFC 7517, RFC 7518)."""

from collections.abc import Mapping
from typing import Any

from minikms.encodings import b64url_decode
from minikms.errors import InvalidKey


def jwk_bytes(
    jwk: Mapping[str, Any], member: str, size: int | None = None, *, most: int | None = None
) -> bytes:
    """Decode a base64url member of a JWK.

    Raises InvalidKey if it is missing, does not have `size` bytes, or has more than `most`. A much
    too long member is refused before decoding.
    """
    limit = size if most is None else most
    try:
        text = jwk[member]
        if limit is not None and len(text) > 4 * (limit // 3 + 1):
            raise InvalidKey(f"The JWK member {member!r} is too long.")
        data = b64url_decode(text)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise InvalidKey(f"The JWK needs a member {member!r} in base64url.") from None
    if size is not None and len(data) != size:
        raise InvalidKey(f"The JWK member {member!r} must have {size} bytes.")
    if limit is not None and len(data) > limit:
        raise InvalidKey(f"The JWK member {member!r} is too long.")
    return data


def require_jwk_type(jwk: Mapping[str, Any], kty: str, crv: str) -> None:
    """Raise InvalidKey unless the JWK has this `kty` and `crv`."""
    if jwk.get("kty") != kty or jwk.get("crv") != crv:
        raise InvalidKey(f"The JWK must have kty {kty!r} and crv {crv!r}.")
