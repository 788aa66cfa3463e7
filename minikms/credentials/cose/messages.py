"""Parses COSE_Sign1 and COSE_Mac0 and encodes their parts, without a key (RFC 9052)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple, Self

import cbor2

from minikms.credentials.cbor import (
    ARRAY,
    BYTES,
    MAP,
    NEGATIVE,
    TAG,
    TEXT,
    UINT,
    CborError,
    Map,
    Reader,
    byte_string,
    head,
)
from minikms.errors import InvalidCose

# Labels of header parameters: RFC 9052 section 3.1, RFC 9596, RFC 9360 section 2.
ALG, CRIT, _CONTENT_TYPE, _KID, _TYP, X5CHAIN, X5T = 1, 2, 3, 4, 16, 33, 34

# Major types of the values of these parameters.
_TYPES: Final[Mapping[int | str, tuple[int, ...]]] = {
    ALG: (UINT, NEGATIVE, TEXT),
    CRIT: (ARRAY,),
    _CONTENT_TYPE: (UINT, TEXT),
    _KID: (BYTES,),
    _TYP: (UINT, TEXT),
}

# Labels that `crit` may name.
_UNDERSTOOD: Final = frozenset({ALG, CRIT, _CONTENT_TYPE, _KID})

# The most bytes of a header map. A chain of certificates takes some thousands.
_MAX_HEADER: Final = 65_536
_TOO_LONG: Final = f"A header map has more than {_MAX_HEADER:,} bytes."


class Kind(NamedTuple):
    """A kind of message, with the first bytes of a tagged message and of the bytes to sign."""

    name: str
    tag: int
    tagged: bytes
    to_sign: bytes


def _kind(name: str, context: str, tag: int) -> Kind:
    """Make the kind of message with this name, context and tag."""
    to_sign = ARRAY_OF_FOUR + head(TEXT, len(context)) + context.encode()
    return Kind(name, tag, head(TAG, tag) + ARRAY_OF_FOUR, to_sign)


ARRAY_OF_FOUR: Final = head(ARRAY, 4)
EMPTY_MAP: Final = head(MAP, 0)
_WITH_KID: Final = head(MAP, 1) + head(UINT, _KID)

# RFC 9052 sections 4.4 and 6.3.
SIGN1: Final = _kind("COSE_Sign1", "Signature1", 18)
MAC0: Final = _kind("COSE_Mac0", "MAC0", 17)


@dataclass(frozen=True, slots=True, repr=False)
class Cose:
    """A parsed message; `protected` has the encoded header, and `alg` is the algorithm in it."""

    protected: bytes
    unprotected: bytes
    payload: bytes | None
    signature: bytes
    alg: int | str | None

    @classmethod
    def parse(cls, data: bytes, kind: Kind) -> Self:
        """Parse a message of this kind, tagged or not; raises InvalidCose."""
        try:
            return cls._parse(data, kind)
        except CborError as exc:
            raise InvalidCose(f"This is not a {kind.name}. {exc}") from None

    @classmethod
    def _parse(cls, data: bytes, kind: Kind) -> Self:
        reader = Reader(data)
        major, argument = reader.head()
        if major == TAG:
            if argument != kind.tag:
                raise CborError(f"Its tag is not {kind.tag}.")
            major, argument = reader.head()
        if (major, argument) != (ARRAY, 4):
            raise CborError("It is not an array of four items.")
        protected = reader.byte_string()
        header = _protected(protected)
        start = reader.at
        bounded = Reader(data[start : start + _MAX_HEADER])
        unprotected = bounded.map(2)
        reader.at += bounded.at
        bare = bounded.data[: bounded.at]
        payload, signature = reader.byte_string_or_null(), reader.byte_string()
        reader.end()
        if not header.keys().isdisjoint(unprotected):
            raise CborError("A label is in both header maps.")
        _check_types(unprotected)
        if CRIT in unprotected:
            raise CborError("The label 2 (crit) is not protected.")
        return cls(protected, bare, payload, signature, _alg_of(header))


class SigStructure(NamedTuple):
    """The parsed bytes to sign (RFC 9052 sections 4.4 and 6.3); `header` is the protected map."""

    protected: bytes
    payload: bytes
    header: Map
    alg: int | str | None

    @classmethod
    def parse(cls, data: bytes, kind: Kind) -> Self:
        """Parse a structure for this kind of message; raises InvalidCose.

        It must be encoded as verifiers make it again from a message.
        """
        try:
            return cls._parse(data, kind)
        except CborError as exc:
            raise InvalidCose(errors=[("#/sig_structure", str(exc))]) from None

    @classmethod
    def _parse(cls, data: bytes, kind: Kind) -> Self:
        if not data.startswith(kind.to_sign):
            raise CborError(f"It is not the array of four items for a {kind.name}.")
        reader = Reader(data)
        reader.at = len(kind.to_sign)
        protected, external_aad, payload = (reader.byte_string() for _ in range(3))
        reader.end()
        if to_sign(kind, protected, external_aad, payload) != data:
            raise CborError("A length is not encoded in the shortest form.")
        header = _protected(protected)
        return cls(protected, payload, header, _alg_of(header))


def _header_map(data: bytes) -> Map:
    """Parse a header map, whose values must have the types of their labels; raises CborError."""
    if len(data) > _MAX_HEADER:
        raise CborError(_TOO_LONG)
    header = Map.parse(data, depth=2)
    _check_types(header)
    return header


def _protected(data: bytes) -> Map:
    """Parse a protected header, whose critical labels must be understood; raises CborError.

    An empty map may also be encoded as no bytes (RFC 9052 section 3).
    """
    header = _header_map(data) if data else Map()
    _check_critical(header)
    return header


def _alg_of(header: Map) -> int | str | None:
    return Reader(header[ALG]).label() if ALG in header else None


def _check_types(header: Map) -> None:
    """Raise CborError if a value does not have the type of its label."""
    for label in header.keys() & _TYPES.keys():
        if header[label][0] >> 5 not in _TYPES[label]:
            raise CborError(f"The value of the label {label!r} has the wrong type.")


def _check_critical(header: Map) -> None:
    """Raise CborError unless every critical label is present and understood."""
    if CRIT not in header:
        return
    labels = Reader(header[CRIT]).labels()
    if not labels:
        raise CborError("The label 2 (crit) is empty.")
    for label in labels:
        if label not in header or label not in _UNDERSTOOD:
            raise CborError("The label 2 (crit) names a label that is missing or not understood.")


def own_map(name: str, data: bytes) -> Map:
    """Parse a caller's parameters for the header map of this name; raises InvalidCose."""
    try:
        return _header_map(data)
    except CborError as exc:
        raise InvalidCose(errors=[(f"#/{name}", str(exc))]) from None


def to_sign(kind: Kind, protected: bytes, external_aad: bytes, payload: bytes) -> bytes:
    """Encode the bytes to sign (RFC 9052 sections 4.4 and 6.3)."""
    return kind.to_sign + b"".join(map(byte_string, (protected, external_aad, payload)))


@lru_cache(maxsize=1024)
def protected_map(alg: int, content_type: str | int | None, typ: str | int | None) -> bytes:
    """Encode the protected map of a new message, with sorted labels (RFC 8949 section 4.2.1)."""
    values = {ALG: alg, _CONTENT_TYPE: content_type, _TYP: typ}
    return cbor2.dumps({label: value for label, value in values.items() if value is not None})


def unprotected_map(kid: str | None) -> bytes:
    """Encode the unprotected map of a new message.

    The kid is a hint and need not be protected (RFC 9052 section 3.1). The protected header of an
    mdoc has only the alg (ISO/IEC 18013-5 section 9.1.2.4).
    """
    return EMPTY_MAP if kid is None else _WITH_KID + byte_string(kid.encode())
