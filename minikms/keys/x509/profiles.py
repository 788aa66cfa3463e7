"""Kinds of certificates, with their extensions and bounds.

`iaca`, `document-signer` and `reader` follow the tables of ISO/IEC 18013-5 Annex B, sections B.1.2,
B.1.4 and B.1.7, in its second edition; the first edition requires the `crl` of an IACA.
`self-signed` has the extensions of `openssl req -x509`, and `client` has the extensions of a TLS
client (RFC 5280 section 4.2.1.12).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minikms.errors import InvalidCertificate, UnsupportedOption

MAX_DAYS: Final = 36_525

_USAGES: Final = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
    *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
_ISO_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_EDWARDS: Final = (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)


@dataclass(frozen=True, slots=True)
class CertificateProfile:
    """One kind of certificate.

    If `is_ca`, it is signed with its own key, otherwise with the key of a CA. `usages` are its key
    usages. `constraints` are its basic constraints. `purpose` is its extended key usage, with a
    flag if that is critical. None means that it has no such extension. `most_days` bounds its
    lifetime. The other members are rules of ISO/IEC 18013-5.
    """

    is_ca: bool
    usages: tuple[str, ...]
    constraints: x509.BasicConstraints | None = None
    purpose: tuple[x509.ObjectIdentifier, bool] | None = None
    most_days: int = MAX_DAYS
    is_iso: bool = False
    names_country: bool = False
    needs_iaca: bool = False
    needs_contact: bool = False
    has_authority: bool = True

    @property
    def key_usage(self) -> x509.KeyUsage:
        """Make the extension of its key usages."""
        return x509.KeyUsage(**{usage: usage in self.usages for usage in _USAGES})

    def check_keys(self, public: Any, issuer: Any) -> None:
        """Raise UnsupportedOption if such a certificate cannot have these public keys."""
        if not self.is_iso:
            return
        if not _is_iso_curve(issuer):
            raise UnsupportedOption("ISO/IEC 18013-5 allows p256, p384 and p521 for issuers.")
        if not (_is_iso_curve(public) or isinstance(public, _EDWARDS)):
            raise UnsupportedOption("ISO/IEC 18013-5 does not allow the type of the subject's key.")

    def check_issuer(self, issuer: x509.Certificate) -> None:
        """Raise InvalidCertificate if the CA cannot issue such a certificate."""
        if not self.needs_iaca:
            return
        constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        countries = issuer.subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)
        if constraints.path_length != 0 or len(countries) != 1:
            raise InvalidCertificate("ISO/IEC 18013-5 requires pathLen 0 and one C in an IACA.")

    def check_subject(self, subject: x509.Name, issuer: x509.Name) -> None:
        """Raise InvalidCertificate if such a certificate cannot have this subject."""
        if not subject.rdns and (self.is_ca or self.is_iso):
            raise InvalidCertificate("Such a certificate needs a subject.")
        if not self.is_iso:
            return
        if len(subject.get_attributes_for_oid(NameOID.COMMON_NAME)) != 1:
            raise InvalidCertificate("ISO/IEC 18013-5 requires one CN in the subject.")
        if not self.names_country:
            return
        if len(subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)) != 1:
            raise InvalidCertificate("ISO/IEC 18013-5 requires one C in the subject.")
        for oid in (NameOID.COUNTRY_NAME, NameOID.STATE_OR_PROVINCE_NAME):
            expected = issuer.get_attributes_for_oid(oid)
            if expected and subject.get_attributes_for_oid(oid) != expected:
                raise InvalidCertificate("ISO/IEC 18013-5 requires the issuer's C and ST.")


PROFILES: Final[Mapping[str, CertificateProfile]] = {
    "self-signed": CertificateProfile(
        is_ca=True,
        usages=("digital_signature", "key_cert_sign", "crl_sign"),
        constraints=x509.BasicConstraints(ca=True, path_length=None),
    ),
    "iaca": CertificateProfile(
        is_ca=True,
        usages=("key_cert_sign", "crl_sign"),
        constraints=x509.BasicConstraints(ca=True, path_length=0),
        most_days=20 * 365,
        is_iso=True,
        names_country=True,
        needs_contact=True,
        has_authority=False,
    ),
    "document-signer": CertificateProfile(
        is_ca=False,
        usages=("digital_signature",),
        purpose=(x509.ObjectIdentifier("1.0.18013.5.1.2"), True),
        most_days=457,
        is_iso=True,
        needs_iaca=True,
        names_country=True,
        needs_contact=True,
    ),
    "reader": CertificateProfile(
        is_ca=False,
        usages=("digital_signature",),
        purpose=(x509.ObjectIdentifier("1.0.18013.5.1.6"), True),
        most_days=1187,
        is_iso=True,
    ),
    "client": CertificateProfile(
        is_ca=False,
        usages=("digital_signature",),
        constraints=x509.BasicConstraints(ca=False, path_length=None),
        purpose=(ExtendedKeyUsageOID.CLIENT_AUTH, False),
    ),
}


def _is_iso_curve(public: Any) -> bool:
    return isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, _ISO_CURVES)
