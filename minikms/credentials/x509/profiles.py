"""Kinds of certificates, with their extensions and bounds.

`iaca`, `document-signer` and `reader` follow the tables of ISO/IEC 18013-5 Annex B, sections B.1.2,
B.1.4 and B.1.7, in its second edition; the first edition requires the `crl` of an IACA.
`access` follows ETSI TS 119 411-8 clause 6.6.1, and `pid-provider` ETSI TS 119 412-6 clause 4; both
refer to ETSI EN 319 412-2 and 319 412-3. `document` has the purposes that validators of C2PA and
PDF signatures expect. `self-signed` has the extensions of `openssl req -x509`, and `client` has the
extensions of a TLS client (RFC 5280 section 4.2.1.12).
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
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
# The statement that a key seals PIDs: SEQUENCE OF QCStatement (RFC 3739 section 3.2.6) with one
# QcType, id-etsi-qcs-QcType 0.4.0.1862.1.6 (ETSI EN 319 412-5 clause 4.2.3), whose value is
# id-etsi-qct-pid 0.4.0.194126.1.1 (ETSI TS 119 412-6 Annex A).
_QC_STATEMENTS: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.3")
_SEALS_PIDS: Final = bytes.fromhex("30153013060604008e4601063009060704008bec4e0101")
# ETSI EN 319 412-1 clause 5.1.4: a scheme, a country, and the identifier in that country.
_ORGANIZATION: Final = re.compile(r"([A-Z]{3}|[A-Z]{2}:)[A-Z]{2}-.+")
# ETSI EN 319 412-3 clause 4.2.1, and 319 412-2 clause 4.2.4.
_OF_LEGAL_PERSONS: Final = frozenset(
    {
        *(NameOID.COUNTRY_NAME, NameOID.COMMON_NAME),
        *(NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATION_IDENTIFIER),
    }
)
_OF_NATURAL_PERSONS: Final = frozenset(
    {NameOID.COUNTRY_NAME, NameOID.COMMON_NAME, NameOID.SERIAL_NUMBER}
)
_OF_CAS: Final = (NameOID.COUNTRY_NAME, NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
_NAMES_OF_PERSONS: Final = frozenset({NameOID.GIVEN_NAME, NameOID.SURNAME, NameOID.PSEUDONYM})
_SUPPORT: Final = (x509.RFC822Name, x509.UniformResourceIdentifier)

_ISO_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_EDWARDS: Final = (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)


@dataclass(frozen=True, slots=True)
class CertificateProfile:
    """One kind of certificate.

    If `is_ca`, it is signed with its own key, otherwise with the key of a CA. `usages` are its key
    usages. `constraints` are its basic constraints. `purpose` is its extended key usage, with a
    flag if that is critical. None omits an extension. A caller may add the purpose
    of documents if it `may_sign_documents`. `most_days` bounds its lifetime. `statement` is the
    value of its QCStatements. If `is_etsi`, ETSI EN 319 412-2 and 319 412-3 apply, and with
    `needs_support` the rules for relying parties. The other members are rules of ISO/IEC 18013-5.
    """

    is_ca: bool
    usages: tuple[str, ...]
    constraints: x509.BasicConstraints | None = None
    purpose: tuple[x509.ObjectIdentifier, bool] | None = None
    may_sign_documents: bool = False
    most_days: int = MAX_DAYS
    statement: bytes | None = None
    is_etsi: bool = False
    needs_support: bool = False
    is_iso: bool = False
    names_country: bool = False
    needs_iaca: bool = False
    needs_contact: bool = False
    has_authority: bool = True

    @property
    def key_usage(self) -> x509.KeyUsage:
        """Make the extension of its key usages."""
        return x509.KeyUsage(**{usage: usage in self.usages for usage in _USAGES})

    @property
    def statements(self) -> x509.UnrecognizedExtension | None:
        """Make the extension of its QCStatements (RFC 3739 section 3.2.6)."""
        if self.statement is None:
            return None
        return x509.UnrecognizedExtension(_QC_STATEMENTS, self.statement)

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
        if self.is_etsi and not all(map(issuer.subject.get_attributes_for_oid, _OF_CAS)):
            raise InvalidCertificate("ETSI EN 319 412-2 requires C, O and CN of the issuer.")
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
        if self.is_etsi:
            self._check_person(subject)
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

    def _check_person(self, subject: x509.Name) -> None:
        """Raise InvalidCertificate if a subject is neither a legal nor a natural person of ETSI."""
        number = Counter(attribute.oid for attribute in subject)
        is_legal = NameOID.ORGANIZATION_IDENTIFIER in number
        needed = _OF_LEGAL_PERSONS if is_legal else _OF_NATURAL_PERSONS
        if any(number[oid] != 1 for oid in needed):
            raise InvalidCertificate(
                "ETSI EN 319 412 requires one C and CN in the subject, and one O and "
                "organizationIdentifier of an organization, or one serialNumber of a person."
            )
        if not is_legal and number.keys().isdisjoint(_NAMES_OF_PERSONS):
            raise InvalidCertificate("ETSI EN 319 412-2 requires givenName, SN or pseudonym.")
        if self.needs_support and is_legal:
            [identifier] = subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
            if not _ORGANIZATION.fullmatch(str(identifier.value)):
                raise InvalidCertificate("organizationIdentifier is not such as VATDE-123456789.")

    def check_support(self, names: Iterable[x509.GeneralName]) -> None:
        """Raise InvalidCertificate unless the alternative names have the contact of a party."""
        if self.needs_support and not any(isinstance(name, _SUPPORT) for name in names):
            raise InvalidCertificate(
                "Give an email or a URI in alternative_names: ETSI TS 119 411-8 requires one."
            )


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
    "access": CertificateProfile(
        is_ca=False,
        usages=("digital_signature",),
        is_etsi=True,
        needs_support=True,
    ),
    "pid-provider": CertificateProfile(
        is_ca=False,
        # Type C of ETSI EN 319 412-2 clause 4.3.2, which clause 4.4.1 allows since mdocs need it.
        usages=("digital_signature",),
        statement=_SEALS_PIDS,
        is_etsi=True,
    ),
    "document": CertificateProfile(
        is_ca=False,
        # Type B: C2PA needs the first, and validators of PDF signatures the second one.
        usages=("digital_signature", "content_commitment"),
        purpose=(ExtendedKeyUsageOID.EMAIL_PROTECTION, False),
        may_sign_documents=True,
    ),
}


def _is_iso_curve(public: Any) -> bool:
    return isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, _ISO_CURVES)
