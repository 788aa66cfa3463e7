"""Parses and encodes the serializations of a JWS, without a key (RFC 7515, RFC 7797)."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, Self, TypeAlias

import orjson

from minikms.credentials.strict_json import read_strictly
from minikms.encodings import decode_canonical, jose_b64url
from minikms.errors import ValidationFailed

Serialization: TypeAlias = Literal["compact", "flattened", "general"]


Serialized: TypeAlias = str | dict[str, Any]
"""A JWS or a JWE: compact, or the object of a JSON serialization."""


MEMBERS: Final[Mapping[str, type]] = {
    "alg": str,
    "jku": str,
    "jwk": dict,
    "kid": str,
    "x5u": str,
    "x5c": list,
    "x5t": str,
    "x5t#S256": str,
    "typ": str,
    "cty": str,
    "crit": list,
    "b64": bool,
}
"""Types of registered header members (RFC 7515 section 4.1, RFC 7797); lists are of strings."""


# The most characters of a header. A chain of certificates (x5c) takes some thousands.
_MAX_HEADER: Final = 65_536


# The most signatures of a JWS in the general serialization.
_MAX_SIGNATURES: Final = 64


class Jws(NamedTuple):
    """One signature of a JWS, with its protected header and the payload."""

    header: dict[str, Any]
    payload: bytes
    protected: str
    signature: bytes

    @property
    def understood(self) -> bool:
        """True if its critical extensions are understood, which is only `b64` (RFC 7797)."""
        if "crit" not in self.header:
            return "b64" not in self.header
        return self.header["crit"] == ["b64"] and "b64" in self.header

    @property
    def signing_input(self) -> bytes:
        plain = self.header.get("b64") is False
        return signing_input(self.protected, self.payload, plain=plain)

    @classmethod
    def parse(cls, value: Serialized, detached: bytes | None) -> list[Self]:
        """Parse the signatures of a JWS in any serialization; returns none if it is not a JWS.

        `detached` is the payload of a detached JWS. If the JWS has a payload, it must be the same.
        """
        try:
            middle, signatures = _parts(value)
            headers = [_header_of(each) for each in signatures]
            (plain,) = {header.get("b64") is False for header in headers}  # RFC 7797 section 3
            own = middle.encode("utf-8") if plain else decode_canonical(middle)
            if detached is not None and own not in (b"", detached):
                return []
            payload = own if detached is None else detached
            return [
                cls(header, payload, each.protected, decode_canonical(each.signature))
                for header, each in zip(headers, signatures, strict=True)
            ]
        except ValueError:
            return []


class _Signature(NamedTuple):
    """The parts of a signature; the unprotected header is not signed."""

    protected: str
    signature: str
    unprotected: Mapping[str, Any]


def _parts(value: Serialized) -> tuple[str, list[_Signature]]:
    """Split a JWS in any serialization into payload and signatures; raises ValueError."""
    if isinstance(value, str):
        protected, payload, signature = value.split(".", 3)
        return payload, [_Signature(protected, signature, {})]
    payload, found = value.get("payload", ""), value.get("signatures", [value])
    if "signatures" in value and not value.keys().isdisjoint(("protected", "signature", "header")):
        raise ValueError("members of both JSON forms")  # RFC 7515 section 7.2.2
    if not isinstance(payload, str) or not isinstance(found, list):
        raise ValueError("a member of another type")
    if not 1 <= len(found) <= _MAX_SIGNATURES:
        raise ValueError("too many signatures, or none")
    return payload, [_signature(each) for each in found]


def _signature(value: object) -> _Signature:
    """Check a signature of a JSON serialization; raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("not an object")
    parts = value.get("protected", ""), value.get("signature", ""), value.get("header", {})
    if [type(part) for part in parts] != [str, str, dict]:
        raise ValueError("a member of another type")
    return _Signature(*parts)


def read_signing_input(text: str) -> tuple[dict[str, Any], bytes]:
    """Read header and payload of a JWS Signing Input that a caller made; raises ValueError.

    Every verifier reads the same header and payload: the base64url is canonical, all parsers read
    the JSON alike, and neither an extension nor `b64` changes the payload.
    """
    protected, payload = text.split(".")
    header = _header(protected, read_strictly)
    if not header.keys().isdisjoint(("b64", "crit")):
        raise ValueError("an extension")
    return header, decode_canonical(payload)


def _header_of(signature: _Signature) -> dict[str, Any]:
    """Decode the protected header of a signature; raises ValueError."""
    header = _header(signature.protected, orjson.loads)
    if not signature.unprotected.keys().isdisjoint((*header, "alg", "b64", "crit")):
        raise ValueError("a member that must be protected, or stands twice")
    return header


def _header(protected: str, read: Callable[[bytes], Any]) -> dict[str, Any]:
    """Decode a protected header, and `read` its JSON; raises ValueError."""
    if len(protected) > _MAX_HEADER:
        raise ValueError("too long")
    header = read(decode_canonical(protected))
    if not isinstance(header, dict) or too_deep(header) or mistyped(header, MEMBERS):
        raise ValueError("not a header")
    return header


def protected_header(alg: str, kid: str | None, extra: Mapping[str, Any], *, detached: bool) -> str:
    """Encode the header of a new JWS; raises ValidationFailed if it is too long to be verified.

    As in linked-data suites, a detached JWS has a critical `b64`, which is false.
    """
    header = {"alg": alg, **extra} if kid is None else {"alg": alg, "kid": kid, **extra}
    if detached:
        header |= {"b64": False, "crit": ["b64"]}
    encoded = jose_b64url(orjson.dumps(header))
    if len(encoded) > _MAX_HEADER:
        fault = f"The header has more than {_MAX_HEADER:,} characters."
        raise ValidationFailed(errors=[("#/header", fault)])
    return encoded


def signing_input(protected: str, payload: bytes, *, plain: bool) -> bytes:
    """Join the bytes to sign (RFC 7515 section 5.1, RFC 7797 section 3)."""
    body = payload if plain else jose_b64url(payload).encode("ascii")
    return protected.encode("ascii") + b"." + body


def compact(protected: str, message: bytes, signature: bytes, *, detached: bool) -> str:
    """Encode a JWS in the compact serialization; leaves a detached payload out."""
    signed = f"{protected}." if detached else message.decode("ascii")
    return f"{signed}.{jose_b64url(signature)}"


def too_deep(header: Mapping[str, Any]) -> bool:
    """Tell whether a header that was parsed is nested too deep to be encoded."""
    try:
        orjson.dumps([header])
    except TypeError:
        return True
    return False


def mistyped(header: Mapping[str, Any], types: Mapping[str, type]) -> str | None:
    """Find a header member whose value has the wrong type; None if all types are right."""
    for name in header.keys() & types.keys():
        value = header[name]
        if type(value) is not types[name] or (
            type(value) is list and not all(isinstance(one, str) for one in value)
        ):
            return name
    return None
