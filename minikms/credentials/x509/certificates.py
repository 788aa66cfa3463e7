"""Reads and checks the certificates of a key, and encodes them for JOSE and COSE (RFC 5280)."""

import base64
import contextlib
import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from minikms.credentials.x509.public_keys import public_key_of, spki
from minikms.encodings import jose_b64url
from minikms.errors import InvalidCertificate, TooLargeRecord, UnsupportedOperation
from minikms.key_bounds import MAX_CERTIFICATE_BYTES, MAX_CERTIFICATES
from minikms.records import KeyRecord

# Errors of pyca/cryptography when it parses a certificate, or later a part of one.
UNREADABLE: Final = (
    *(ValueError, TypeError, KeyError, InvalidSignature, UnsupportedAlgorithm),
    *(x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)

_USAGES: Final = {"key_cert_sign": "certificates", "crl_sign": "revocation lists"}

# The most characters of a chain in PEM, which is a third longer than DER and may have comments.
_MAX_TEXTS: Final = 2 * MAX_CERTIFICATE_BYTES


def chain_of(record: KeyRecord) -> tuple[bytes, ...]:
    """Decode the chain of a key to DER, the key's own certificate first; empty without a chain."""
    return tuple(base64.b64decode(text) for text in record.certificates)


def sent_chain(record: KeyRecord) -> tuple[str, ...]:
    """Return the chain of a key for `x5c` and `x5chain`, as base64 of DER.

    It leaves out a self-signed root, since verifiers have it already (RFC 5280 section 6.1), but
    never the key's own certificate.
    """
    chain = record.certificates
    return chain[:-1] if len(chain) > 1 and _is_self_signed(chain[-1]) else chain


def thumbprint_of(record: KeyRecord) -> str | None:
    """Compute the `x5t#S256` of a key's certificate (RFC 7515 section 4.1.8).

    Returns None if the key has no certificate, or a damaged one, which `store verify` reports.
    """
    if not record.certificates:
        return None
    try:
        certificate = base64.b64decode(record.certificates[0])
    except UNREADABLE:
        return None
    return jose_b64url(hashlib.sha256(certificate).digest())


def has_own_certificate(record: KeyRecord) -> bool:
    """Tell whether the first certificate of a key can be parsed and has the key's public key."""
    try:
        return _is_of(record, x509.load_der_x509_certificate(chain_of(record)[0]))
    except UNREADABLE:
        return False


def first_end(record: KeyRecord) -> float:
    """Return the time in seconds at which the first certificate of a chain ends.

    Infinity without a certificate that can be read.
    """
    ends = [math.inf]
    for certificate in record.certificates:
        with contextlib.suppress(*UNREADABLE):
            read = x509.load_der_x509_certificate(base64.b64decode(certificate))
            ends.append(read.not_valid_after_utc.timestamp())
    return min(ends)


def read_chain(texts: Sequence[str]) -> tuple[x509.Certificate, ...]:
    """Parse a chain in PEM, and check that each certificate is signed by the next.

    Raises InvalidCertificate, and TooLargeRecord before it parses more than a key may have.
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
    """Parse a single certificate in PEM; raises InvalidCertificate, which names `place`."""
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
    """Return the record with this chain.

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


def ca_certificates(record: KeyRecord | None, usage: str) -> tuple[x509.Certificate, ...]:
    """Parse the chain of an issuer's key, its CA certificate first; raises InvalidCertificate.

    `usage` is a member of KeyUsage. The certificate must have it, unless it has no key usage at all
    (RFC 5280 sections 4.2.1.3 and 6.3.3).
    """
    chain = chain_of(record) if record else ()
    if not chain:
        raise InvalidCertificate(
            "The issuer's key has no certificate: give it one by PUT /key/{kid}/certificates."
        )
    certificates = tuple(map(x509.load_der_x509_certificate, chain))
    constraints = extension_of(certificates[0], x509.BasicConstraints)
    usages = extension_of(certificates[0], x509.KeyUsage)
    if not (constraints and constraints.ca and (usages is None or getattr(usages, usage))):
        raise InvalidCertificate(
            f"The certificate of the issuer's key is not a CA certificate for {_USAGES[usage]}."
        )
    return certificates


def authority_identifier(issuer: x509.Certificate | None, own: Any) -> x509.AuthorityKeyIdentifier:
    """Make the identifier of the issuer's key, `own`, as the issuer's certificate has it.

    RFC 5280 section 4.2.1.1.
    """
    above = issuer and extension_of(issuer, x509.SubjectKeyIdentifier)
    if above:
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(own)


def _is_of(record: KeyRecord, certificate: x509.Certificate) -> bool:
    own = public_key_of(record.jwk)
    return own is not None and spki(own) == spki(certificate.public_key())


# Cached, since this verifies a signature. A certificate has at most 44 KB, so the cache has 6 MB.
@lru_cache(maxsize=128)
def _is_self_signed(text: str) -> bool:
    try:
        certificate = x509.load_der_x509_certificate(base64.b64decode(text))
        # After a change of keys, a self-issued certificate is signed by another key (RFC 5280
        # section 3.2).
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
    """Return the value of an extension; None if the certificate does not have it."""
    try:
        return signed.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
