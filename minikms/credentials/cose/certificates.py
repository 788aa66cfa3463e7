"""Header parameters with the certificate of a key (RFC 9360 section 2)."""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import cbor2

from minikms.credentials.cbor import ARRAY, BYTES, CborError, Map, Reader
from minikms.credentials.cose.messages import X5CHAIN, X5T
from minikms.credentials.jose.jws import SignerOrMac, certified
from minikms.credentials.x509.certificates import chain_of, sent_chain
from minikms.errors import ValidationFailed
from minikms.keys.operation import UsableKey
from minikms.records import KeyRecord


class Parameter(NamedTuple):
    """A header parameter, and whether it is in the protected header."""

    label: int
    is_protected: bool


PARAMETERS: Final[Mapping[str, Parameter]] = {
    "x5chain": Parameter(X5CHAIN, False),
    "x5t": Parameter(X5T, False),
    "x5chain-protected": Parameter(X5CHAIN, True),
    "x5t-protected": Parameter(X5T, True),
}
"""The parameters that the service sets, by their names in a call."""

# RFC 9054 section 3.1. The service writes the first.
_SHA_256: Final = -16
_HASHES: Final[Mapping[int | str, str]] = {_SHA_256: "sha256", -43: "sha384", -44: "sha512"}


def add_certificates(
    key: UsableKey[SignerOrMac], names: Iterable[str], protected: Map, unprotected: Map
) -> None:
    """Add the named parameters to the maps; raises UnsupportedOption without a certificate."""
    for name in names:
        label, is_protected = PARAMETERS[name]
        value = _chain(certified(key)) if label == X5CHAIN else _thumbprint(certified(key))
        (protected if is_protected else unprotected)[label] = value


def require_own_certificate(key: UsableKey[SignerOrMac], header: Map, pointer: str) -> None:
    """Raise ValidationFailed for a caller's header with a certificate other than the key's.

    The alias of the key may have moved since the caller read the certificate. A key without
    certificates signs any header.
    """
    record = key.record
    if record is None or not record.certificates or header.keys().isdisjoint((X5CHAIN, X5T)):
        return
    try:
        own = chain_of(record)[0]
        if X5CHAIN in header and _first(header[X5CHAIN]) != own:
            raise CborError("another certificate")
        if X5T in header:
            alg, digest = _alg_and_digest(header[X5T])
            if alg not in _HASHES or hashlib.new(_HASHES[alg], own).digest() != digest:
                raise CborError("the thumbprint of another certificate")
    except CborError:
        fault = "The certificate in the header is not the one of this key."
        raise ValidationFailed(errors=[(pointer, fault)]) from None


def _chain(record: KeyRecord) -> bytes:
    # A single certificate is not in an array.
    first, *others = map(base64.b64decode, sent_chain(record))
    return cbor2.dumps([first, *others] if others else first)


def _thumbprint(record: KeyRecord) -> bytes:
    return cbor2.dumps([_SHA_256, hashlib.sha256(chain_of(record)[0]).digest()])


def _first(chain: bytes) -> bytes:
    """Return the first certificate of an x5chain; raises CborError."""
    reader = Reader(chain)
    major, size = reader.head()
    if major == BYTES:
        return reader.take(size)
    if major == ARRAY and size:
        return reader.byte_string()
    raise CborError("not a certificate")


def _alg_and_digest(thumbprint: bytes) -> tuple[int | str, bytes]:
    """Return the parts of an x5t; raises CborError."""
    reader = Reader(thumbprint)
    if reader.head() != (ARRAY, 2):
        raise CborError("not a thumbprint")
    return reader.label(), reader.byte_string()
