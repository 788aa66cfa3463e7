"""The certificates of a key: reading, checking, and the forms for JOSE and COSE (RFC 5280)."""

import base64
import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from minikms.encodings import jose_b64url
from minikms.errors import InvalidCertificate, TooLargeRecord, UnsupportedOperation
from minikms.keys.x509.public_keys import public_key_of, spki
from minikms.records import MAX_CERTIFICATE_BYTES, MAX_CERTIFICATES, KeyRecord

# The errors of reading a caller's certificate, or later a part of it.
UNREADABLE: Final = (
    *(ValueError, TypeError, KeyError, InvalidSignature, UnsupportedAlgorithm),
    *(x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)

# The most characters of all PEM texts: PEM is a third longer than DER, and may have remarks.
_MAX_TEXTS: Final = 2 * MAX_CERTIFICATE_BYTES


def chain_of(record: KeyRecord) -> tuple[bytes, ...]:
    """The chain of a key in DER, its own certificate first; empty if it has none."""
    return tuple(base64.b64decode(text) for text in record.certificates)


def sent_chain(record: KeyRecord) -> tuple[str, ...]:
    """The chain of a key as base64 of DER, for `x5c` and `x5chain`: without a self-signed root.

    Verifiers have the root already (RFC 5280 section 6.1). The key's own certificate stays.
    """
    chain = record.certificates
    return chain[:-1] if len(chain) > 1 and _is_self_signed(chain[-1]) else chain


def thumbprint_of(record: KeyRecord) -> str | None:
    """The `x5t#S256` of a key's certificate (RFC 7515 section 4.1.8); None if it has none.

    Also None for one that is damaged, which `store verify` reports.
    """
    if not record.certificates:
        return None
    try:
        certificate = base64.b64decode(record.certificates[0])
    except UNREADABLE:
        return None
    return jose_b64url(hashlib.sha256(certificate).digest())


def has_own_certificate(record: KeyRecord) -> bool:
    """Tell whether the first certificate of a key can be read, and has its public key."""
    try:
        return _is_of(record, x509.load_der_x509_certificate(chain_of(record)[0]))
    except UNREADABLE:
        return False


def read_chain(texts: Sequence[str]) -> tuple[x509.Certificate, ...]:
    """The chain in these PEM texts, each signed by the next.

    Raises InvalidCertificate, and TooLargeRecord before it reads more than a key may have.
    """
    if len(texts) > MAX_CERTIFICATES:
        raise TooLargeRecord(f"A key has at most {MAX_CERTIFICATES} certificates.")
    if sum(map(len, texts)) > _MAX_TEXTS:
        raise TooLargeRecord(f"All certificates have at most {_MAX_TEXTS:,} characters in PEM.")
    chain = tuple(read_certificate(text, place) for place, text in enumerate(texts))
    for place, (subject, issuer) in enumerate(pairwise(chain)):
        try:
            subject.verify_directly_issued_by(issuer)
        except UNREADABLE:
            raise _fault(place, "is not signed by the next one") from None
    return chain


def read_certificate(text: str, place: int = 0) -> x509.Certificate:
    """The one certificate of a PEM text; raises InvalidCertificate, which names its place."""
    try:
        [certificate] = x509.load_pem_x509_certificates(text.encode())
        # pyca/cryptography parses each part only when it is read.
        certificate.public_key()
        _ = certificate.extensions, certificate.subject, certificate.issuer
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except UNREADABLE:
        raise _fault(place, "is not one certificate in PEM that can be read") from None
    return certificate


def with_chain(record: KeyRecord, chain: Sequence[x509.Certificate]) -> KeyRecord:
    """The record with this chain.

    Raises InvalidCertificate for a chain of another key, UnsupportedOperation for a key that does
    not sign, and TooLargeRecord.
    """
    if "sign" not in record.operations:
        may = ", ".join(record.operations) or "nothing"
        raise UnsupportedOperation(f"Only a key that may sign has certificates; it may: {may}.")
    if not _is_of(record, chain[0]):
        raise InvalidCertificate("The first certificate is not one of this key.")
    return record.with_certificates(
        tuple(base64.b64encode(each.public_bytes(Encoding.DER)).decode() for each in chain)
    )


def _is_of(record: KeyRecord, certificate: x509.Certificate) -> bool:
    own = public_key_of(record.jwk)
    return own is not None and spki(own) == spki(certificate.public_key())


# It verifies a signature. A certificate has at most 44 KB, so all take 6 MB.
@lru_cache(maxsize=128)
def _is_self_signed(text: str) -> bool:
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(text))
        # A self-issued one may be by another key (RFC 5280 section 3.2), as after a change of keys.
        certificate.verify_directly_issued_by(certificate)
    except UNREADABLE:
        return False
    return True


def _fault(place: int, predicate: str) -> InvalidCertificate:
    pointer = f"#/certificates/{place}"
    return InvalidCertificate(errors=[(pointer, f"The certificate {predicate}.")])


def extension_of(
    signed: x509.Certificate | x509.CertificateSigningRequest, kind: type[x509.ExtensionType]
) -> Any:
    """The value of an extension; None if there is none."""
    try:
        return signed.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
