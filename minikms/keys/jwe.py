"""JSON Web Encryption taken apart and checked, before anything is computed: no keys here.

RFC 7516 sections 3 and 7. What a JWE says of itself is not trusted: it is bounded, and names what
the service has, or nothing is done with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from minikms.errors import ValidationFailed
from minikms.keys import jws
from minikms.keys.jwe_models import ALGS, ENCS
from minikms.keys.jws import decode_canonical, too_deep

MAX_RECIPIENTS: Final = 64
FEW: Final = 4
"""As many recipients are served on the event loop, and no more."""
# Characters of a part of the header. The longest needed has DIDs of a few thousand in it.
MAX_HEADER: Final = 32_768
MAX_HEADERS: Final = 65_536
"""Bytes of all parts of the header together, those of each recipient among them."""

RESERVED: Final = frozenset({"alg", "enc", "epk", "iv", "tag", "p2s", "p2c", "zip", "crit"})
"""Header members that the service sets, or refuses, so that no caller sets them."""

MEMBERS: Final[Mapping[str, type]] = {
    **jws.MEMBERS,
    "enc": str,
    "zip": str,
    "epk": dict,
    "apu": str,
    "apv": str,
    "iv": str,
    "tag": str,
    "p2s": str,
    "p2c": int,
    "skid": str,
}
"""The types of header members (RFC 7516 section 4.1, RFC 7518 section 4, DIDComm v2)."""

Serialized: TypeAlias = str | Mapping[str, Any]
"""A JWE: the compact text, or the JSON object of either form."""


class Recipient(NamedTuple):
    """What a JWE has for one recipient: the JOSE header, all its parts together, and a key."""

    header: dict[str, Any]
    encrypted_key: str

    @property
    def alg(self) -> str:
        """The `alg`, which may be one that the service does not have."""
        alg: str = self.header["alg"]
        return alg


@dataclass(frozen=True, slots=True, repr=False)
class ParsedJwe:
    """A JWE taken apart, its values still in base64url, and checked as far as goes without a key.

    `aad` is what the content's tag covers besides the content (RFC 7516 section 5.1, step 14). Each
    header names an `enc` that the service has.
    """

    aad: str
    recipients: tuple[Recipient, ...]
    iv: str
    ciphertext: str
    tag: str


def parse(value: Serialized) -> ParsedJwe:
    """The parts of a JWE in any of its forms; raises ValidationFailed, which says what is wrong."""
    if isinstance(value, str):
        return _parse_compact(value)
    return _parse_json(value)


def count_recipients(value: Serialized) -> int:
    """How many recipients a JWE seems to have."""
    recipients = () if isinstance(value, str) else value.get("recipients", ())
    return len(recipients) if isinstance(recipients, list) else 1


def _parse_compact(text: str) -> ParsedJwe:
    parts = text.split(".", 5)
    if len(parts) != 5:
        raise wrong("It has not five parts.")
    protected, encrypted_key, iv, ciphertext, tag = parts
    header = _decode_header(protected)
    recipients = _recipients([(header, encrypted_key)])
    return ParsedJwe(protected, recipients, iv, ciphertext, tag)


def _parse_json(value: Mapping[str, Any]) -> ParsedJwe:
    protected = _text(value, "protected", "")
    shared = _decode_header(protected) if protected else {}
    aad = _text(value, "aad", "")
    unprotected, size = _object(value, "unprotected")
    size += len(protected)
    _join(shared, unprotected)
    each: Any = value.get("recipients", [value])
    if "recipients" in value and not {"header", "encrypted_key"}.isdisjoint(value):
        raise wrong("It has the members of both JSON forms.")
    if not isinstance(each, list) or not 1 <= len(each) <= MAX_RECIPIENTS:
        raise wrong(f"It must have 1 to {MAX_RECIPIENTS} recipients.")
    found = []
    for one in each:
        if not isinstance(one, Mapping):
            raise wrong("A recipient is no object.")
        own, length = _object(one, "header")
        size += length
        if size > MAX_HEADERS:
            raise wrong("Its headers together are too long.")
        header = dict(shared)
        _join(header, own)
        found.append((header, _text(one, "encrypted_key", "")))
    return ParsedJwe(
        aad=f"{protected}.{aad}" if aad else protected,
        recipients=_recipients(found),
        iv=_text(value, "iv"),
        ciphertext=_text(value, "ciphertext"),
        tag=_text(value, "tag"),
    )


def _recipients(found: list[tuple[dict[str, Any], str]]) -> tuple[Recipient, ...]:
    """The recipients of a JWE, whose headers are checked."""
    for header, _ in found:
        if name := jws.mistyped(header, MEMBERS):
            raise wrong(f"The header member {name} has a value of the wrong type.")
        for name in ("alg", "enc"):
            if name not in header:
                raise wrong(f"A header has no {name}.")
        if "zip" in header:
            raise wrong("Compressed content (zip) is not taken.")
        if "crit" in header:  # RFC 7516 section 4.1.13: no extension is known here
            raise wrong("It calls an extension critical (crit) that is not known.")
        if header["enc"] not in ENCS:
            raise wrong(f"The enc must be one of: {', '.join(ENCS)}.")
    if all(header["alg"] not in ALGS for header, _ in found):
        raise wrong(f"The alg must be one of: {', '.join(ALGS)}.")
    if len({header["enc"] for header, _ in found}) > 1:  # RFC 7516 section 7.2.1
        raise wrong("Its recipients have different enc.")
    return tuple(Recipient(*one) for one in found)


def _decode_header(text: str) -> dict[str, Any]:
    """The protected header, in its one canonical form (RFC 7515 section 2)."""
    if len(text) > MAX_HEADER:
        raise wrong("Its header is too long.")
    try:
        header = orjson.loads(decode_canonical(text))
    except ValueError:
        raise wrong("Its protected header is not JSON in base64url without padding.") from None
    if not isinstance(header, dict) or too_deep(header):
        raise wrong("Its protected header is no object, or nested too deep.")
    return header


def _join(header: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add members; RFC 7516 section 7.2.1: no two parts of a header have one of the same name."""
    if not header.keys().isdisjoint(more):
        raise wrong("Two parts of a header have a member of the same name.")
    header.update(more)


def _object(value: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], int]:
    """A part of the header that is not protected, and its length as JSON."""
    found = value.get(name, {})
    if not isinstance(found, Mapping):
        raise wrong(f"Its {name} is no object.")
    try:
        size = len(orjson.dumps([found]))  # in a list, as deep as in an answer
    except TypeError:
        raise wrong(f"Its {name} is nested too deep.") from None
    if size > MAX_HEADER:
        raise wrong(f"Its {name} is too long.")
    return found, size


def _text(value: Mapping[str, Any], name: str, default: str | None = None) -> str:
    found = value.get(name, default)
    if not isinstance(found, str):
        raise wrong(f"It has no text as {name}.")
    return found


def wrong(what: str) -> ValidationFailed:
    """The error of a JWE that is none, or none that the service takes."""
    return ValidationFailed(errors=[("#/jwe", what)])
