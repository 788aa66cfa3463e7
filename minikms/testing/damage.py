"""Damaged bytes and JWKs, which an algorithm must refuse."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from minikms.encodings import b64url_decode, jose_b64url

# The members that identify the type of a JWK; other members are bytes in base64url.
_TYPE_MEMBERS: Final = ("kty", "crv", "alg")


def flip_bit(data: bytes, at: int) -> bytes:
    """Return `data` with one bit changed."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def near_misses(data: bytes) -> Iterator[bytes]:
    """Yield damaged copies of `data`: with a changed bit, or with another length."""
    size = len(data)
    for at in sorted({*range(0, size, max(1, size // 64)), *range(size)[-1:]}):
        yield flip_bit(data, at)
    yield data + b"\0"
    if data:
        yield from (data[:-1], data[1:], b"")


def material_members(jwk: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the members of a JWK that are bytes of the key."""
    return tuple(name for name in jwk if name not in _TYPE_MEMBERS)


def _without(jwk: Mapping[str, Any], member: str) -> dict[str, Any]:
    return {name: value for name, value in jwk.items() if name != member}


def jwks_of_another_type(jwk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield copies of `jwk` in which a member for the type is missing or has another value."""
    for member in (name for name in _TYPE_MEMBERS if name in jwk):
        yield _without(jwk, member)
        for value in ("other", None, 1, [jwk[member]]):
            yield {**jwk, member: value}


def damaged_jwks(
    jwk: Mapping[str, Any], members: Iterable[str], *, longer: bool = True
) -> Iterator[dict[str, Any]]:
    """Yield copies of `jwk` in which one of `members` is missing or malformed.

    A malformed member is not a string, not base64url, too short or too long.
    """
    for member in members:
        data = b64url_decode(jwk[member])
        yield _without(jwk, member)
        for value in (None, 1, "", "!" + jwk[member], jose_b64url(data[:-1])):
            yield {**jwk, member: value}
        for value in (data + b"\0", b"\0" + data) if longer else ():
            yield {**jwk, member: jose_b64url(value)}
