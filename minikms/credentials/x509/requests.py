"""Makes certificate requests (RFC 2986)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minikms.credentials.x509.certificates import UNREADABLE, extension_of
from minikms.credentials.x509.names import (
    read_alternative_names,
    read_name,
    require_bounded,
    require_bounded_attributes,
    subject_alternative_names,
    with_emails,
)
from minikms.credentials.x509.signing import SigningKey, sign_x509
from minikms.errors import InvalidCertificate
from minikms.keys.operation import Envelope, Use
from minikms.plugin.protocol import Signer

# The most characters and extensions of a request that is copied.
_MAX_TEMPLATE: Final = 64 * 1024


_MAX_EXTENSIONS: Final = 64


@dataclass(slots=True, repr=False)
class MakeCsr(Envelope[Signer[Any, Any], str]):
    """Signs a certificate request, in PEM; raises InvalidCertificate and UnsupportedOption."""

    uses = (Use(Signer, "sign", as_next=True),)
    asks = True
    subject: str
    alternative_names: Sequence[str] = ()
    alg: str | None = None

    def compute(self, key: SigningKey) -> str:
        subject = read_name(self.subject)
        given = read_alternative_names(self.alternative_names, "alternative_names")
        names = with_emails(given, subject)
        if not (names or subject.rdns):
            raise InvalidCertificate("Give a subject, or alternative names.")
        builder = x509.CertificateSigningRequestBuilder(subject)
        if names:
            builder = builder.add_extension(*subject_alternative_names(names, subject))
        return sign_x509(builder, key, self.alg).public_bytes(Encoding.PEM).decode()


@dataclass(slots=True, repr=False)
class CopyCsr(Envelope[Signer[Any, Any], str]):
    """A certificate request in PEM, with the subject and the extensions of `template`, also in PEM.

    An empty `template` has neither. Raises InvalidCertificate and UnsupportedOption.
    """

    uses = (Use(Signer, "sign", as_next=True),)
    asks = True
    template: str

    def compute(self, key: SigningKey) -> str:
        subject, extensions = x509.Name([]), list[x509.Extension[x509.ExtensionType]]()
        if len(self.template) > _MAX_TEMPLATE:
            raise InvalidCertificate(f"The request has more than {_MAX_TEMPLATE:,} characters.")
        if self.template:
            try:
                csr = x509.load_pem_x509_csr(self.template.encode())
                subject, extensions = csr.subject, list(csr.extensions)
                for each in extensions:
                    each.value.public_bytes()  # some extensions can be parsed but not encoded
            except UNREADABLE:
                raise InvalidCertificate("The request cannot be read.") from None
            if len(extensions) > _MAX_EXTENSIONS:
                raise InvalidCertificate(f"A request has at most {_MAX_EXTENSIONS} extensions.")
            require_bounded_attributes(subject)
            require_bounded(extension_of(csr, x509.SubjectAlternativeName))
        # Added together, since `add_extension` compares each with all before it.
        builder = x509.CertificateSigningRequestBuilder(subject, extensions)
        return sign_x509(builder, key, None).public_bytes(Encoding.PEM).decode()
