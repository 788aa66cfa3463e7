"""Certificates that programs give a key of the service, and take away."""

import base64
from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from minikms_p11 import constants as c
from minikms_p11.application import Application, Session
from minikms_p11.functions.labels import add_labels, name_of
from minikms_p11.jwk import thumbprint
from minikms_p11.keys import Key
from minikms_p11.objects import CertificateObject
from minikms_p11.refusal import Refusal
from minikms_p11.wire import Template

_LARGEST: Final = 32768  # bytes; of all certificates of a key in DER


async def create_certificate(application: Application, session: Session, template: Template) -> int:
    """Give a certificate to the key whose public key it has, or to the chain that it continues.

    Returns its handle. A new certificate of a key also replaces the chain above the old one. Its
    CKA_LABEL is the key's from then on: Java's KeyStore finds an entry, and renames it, in this
    way.
    """
    content = template.get(c.CKA_VALUE)
    if not isinstance(content, bytes) or not 0 < len(content) <= _LARGEST:
        raise Refusal(c.CKR_TEMPLATE_INCOMPLETE)
    try:
        certificate = x509.load_der_x509_certificate(content)
        kid = thumbprint(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        raise Refusal(c.CKR_ATTRIBUTE_VALUE_INVALID) from None
    handle = None
    for key in await application.keys(session):
        if key.kid == kid:
            key = await add_labels(application, session, key, name_of(template))
            if content not in key.certificates[:1]:
                key = await _set(application, session, key, [content])
            handle = application.handle_of(session, CertificateObject(key, 0))
        elif content in key.certificates:
            index = key.certificates.index(content)
            handle = handle or application.handle_of(session, CertificateObject(key, index))
        elif key.certificates and _issued(certificate, key.parsed[-1]):
            key = await _set(application, session, key, [*key.certificates, content])
            index = len(key.certificates) - 1
            handle = handle or application.handle_of(session, CertificateObject(key, index))
    if handle is None:  # a certificate of no key here
        raise Refusal(c.CKR_ATTRIBUTE_VALUE_INVALID)
    return handle


async def destroy_certificate(
    application: Application, session: Session, found: CertificateObject
) -> None:
    """Take a certificate from its key, and those above it, which its chain then does not reach."""
    await _set(application, session, found.key, found.key.certificates[: found.index])


async def _set(
    application: Application, session: Session, key: Key, certificates: Sequence[bytes]
) -> Key:
    path = f"key/{key.kid}/certificates"
    if certificates:
        body = {"certificates": list(map(_pem, certificates))}
        answer = await application.call(session, "PUT", path, body)
    else:
        answer = await application.call(session, "DELETE", path)
    return application.keep(session, answer)


def _pem(content: bytes) -> str:
    text = base64.encodebytes(content).decode()
    return f"-----BEGIN CERTIFICATE-----\n{text}-----END CERTIFICATE-----\n"


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if certificate.issuer == certificate.subject:  # the chain ends with it
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
