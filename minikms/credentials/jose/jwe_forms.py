"""Parses the serializations of a JWE, without a key (RFC 7516 sections 3 and 7).

Nobody has authenticated the JWE yet. So its headers are bounded, and may name only algorithms that
the service has.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from minikms.credentials.jose import jws_forms
from minikms.credentials.jose.jwe_models import (
    ALGS,
    ENCS,
)
from minikms.credentials.jose.jws_forms import Serialized, mistyped, too_deep
from minikms.encodings import decode_canonical
from minikms.errors import ValidationFailed

MAX_RECIPIENTS: Final = 64


# The most characters of a part of the header. DIDs in it have up to some thousand characters.
MAX_HEADER: Final = 32_768


MAX_HEADERS: Final = 65_536
"""The most bytes of all parts of the header together, with those of each recipient."""


RESERVED: Final = frozenset({"alg", "enc", "epk", "iv", "tag", "p2s", "p2c", "zip", "crit"})
"""Header members that a caller cannot set: the service sets or refuses them."""


MEMBERS: Final[Mapping[str, type]] = {
    **jws_forms.MEMBERS,
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


class ParsedRecipient(NamedTuple):
    """A recipient's encrypted key, and its JOSE header, joined from its parts."""

    header: dict[str, Any]
    encrypted_key: str

    @property
    def alg(self) -> str:
        """The `alg` of the recipient; the service may not have it."""
        alg: str = self.header["alg"]
        return alg


class ParsedJwe(NamedTuple):
    """The parts of a JWE in base64url, checked as far as possible without a key.

    `aad` is authenticated with the content (RFC 7516 section 5.1, step 14). All headers have the
    same `enc`, and the service has it.
    """

    aad: str
    recipients: tuple[ParsedRecipient, ...]
    iv: str
    ciphertext: str
    tag: str


def parse(value: Serialized) -> ParsedJwe:
    """Parse a JWE in any serialization; raises ValidationFailed."""
    return _parse_compact(value) if isinstance(value, str) else _parse_json(value)


def _parse_compact(text: str) -> ParsedJwe:
    parts = text.split(".", 5)
    if len(parts) != 5:
        raise _wrong("It does not have five parts.")
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
        raise _wrong("It has the members of both JSON forms.")
    if not isinstance(each, list) or not 1 <= len(each) <= MAX_RECIPIENTS:
        raise _wrong(f"It must have 1 to {MAX_RECIPIENTS} recipients.")
    found = []
    for one in each:
        if not isinstance(one, Mapping):
            raise _wrong("A recipient is not an object.")
        own, length = _object(one, "header")
        size += length
        if size > MAX_HEADERS:
            raise _wrong("Its headers together are too long.")
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


def _recipients(found: list[tuple[dict[str, Any], str]]) -> tuple[ParsedRecipient, ...]:
    """Parse the recipients of a JWE, and check their headers."""
    for header, _ in found:
        if name := mistyped(header, MEMBERS):
            raise _wrong(f"The header member {name} has a value of the wrong type.")
        for name in ("alg", "enc"):
            if name not in header:
                raise _wrong(f"A header has no {name}.")
        if "zip" in header:
            raise _wrong("Compressed content (zip) is refused.")
        if "crit" in header:  # the service has no extension (RFC 7516 section 4.1.13)
            raise _wrong("It calls an extension critical (crit) that is not known.")
        if header["enc"] not in ENCS:
            raise _wrong(f"The enc must be one of: {', '.join(ENCS)}.")
    if all(header["alg"] not in ALGS for header, _ in found):
        raise _wrong(f"The alg must be one of: {', '.join(ALGS)}.")
    if len({header["enc"] for header, _ in found}) > 1:  # RFC 7516 section 7.2.1
        raise _wrong("Its recipients have different enc.")
    return tuple(ParsedRecipient(*one) for one in found)


def _decode_header(text: str) -> dict[str, Any]:
    """Decode the protected header from canonical base64url (RFC 7515 section 2)."""
    if len(text) > MAX_HEADER:
        raise _wrong("Its header is too long.")
    try:
        header = orjson.loads(decode_canonical(text))
    except ValueError:
        raise _wrong("Its protected header is not JSON in base64url without padding.") from None
    if not isinstance(header, dict) or too_deep(header):
        raise _wrong("Its protected header is not an object, or nested too deep.")
    return header


def _join(header: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add a part to a header; refuses a member that it has already (RFC 7516 section 7.2.1)."""
    if not header.keys().isdisjoint(more):
        raise _wrong("Two parts of a header have a member of the same name.")
    header.update(more)


def _object(value: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], int]:
    """Check an unprotected part of the header; returns it and its length as JSON."""
    found = value.get(name, {})
    if not isinstance(found, Mapping):
        raise _wrong(f"Its {name} is not an object.")
    try:
        size = len(orjson.dumps([found]))  # in a list, as deep as in an answer
    except TypeError:
        raise _wrong(f"Its {name} is nested too deep.") from None
    if size > MAX_HEADER:
        raise _wrong(f"Its {name} is too long.")
    return found, size


def _text(value: Mapping[str, Any], name: str, default: str | None = None) -> str:
    found = value.get(name, default)
    if not isinstance(found, str):
        raise _wrong(f"Its {name} is missing, or not text.")
    return found


def _wrong(fault: str) -> ValidationFailed:
    """Make the error for a JWE that is malformed or refused."""
    return ValidationFailed(errors=[("#/jwe", fault)])
