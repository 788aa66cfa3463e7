"""Issues certificates (RFC 5280)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID

from minikms.credentials.x509.certificates import (
    UNREADABLE,
    authority_identifier,
    ca_certificates,
    extension_of,
)
from minikms.credentials.x509.name_constraints import require_permitted
from minikms.credentials.x509.names import (
    read_alternative_names,
    read_name,
    read_policies,
    read_uri,
    require_bounded,
    subject_alternative_names,
    texts_of,
    with_emails,
)
from minikms.credentials.x509.profiles import PROFILES, CertificateProfile
from minikms.credentials.x509.public_keys import is_of_strong_signer, spki
from minikms.credentials.x509.signing import SigningKey, public_key_in_x509, sign_x509
from minikms.encodings import jose_b64url
from minikms.errors import InvalidCertificate, RuleViolated, UnsupportedOption
from minikms.events import set_certificate
from minikms.key_requests import AnyKey, KeyRef
from minikms.keys.operation import Envelope, Use
from minikms.plugin.protocol import Signer

# A certificate begins before its call, for verifiers whose clocks are behind.
_BEFORE: Final = timedelta(minutes=5)

# RFC 9336.
_DOCUMENT_SIGNING: Final = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")

_CONTACTS = (x509.RFC822Name, x509.UniformResourceIdentifier)


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A caller's request for a certificate.

    `profile` is one of PROFILES. `csr` (a certificate request in PEM) has the subject's key, or
    `key` names it; by default, the subject has the issuer's key. `subject` and `alternative_names`
    replace the names in `csr`. `policies` are object identifiers, with `cps`, the URI of the
    practice statement, as their qualifier. `issuer_url` is the URI of the issuer's certificate. Of
    these URIs and of `crl`, the profile may require some.
    """

    profile: str
    days: int
    subject: str | None = None
    csr: str | None = None
    key: KeyRef | AnyKey | None = None
    alternative_names: Sequence[str] = ()
    issuer_alternative_names: Sequence[str] = ()
    crl: str | None = None
    policies: Sequence[str] = ()
    cps: str | None = None
    issuer_url: str | None = None
    document_signing: bool = False


@dataclass(slots=True, repr=False)
class IssueCertificate(Envelope[Signer[Any, Any], str]):
    """Signs a certificate with the issuer's key, and encodes it in PEM; raises InvalidCertificate.

    Raises UnsupportedOption for keys that X.509 or the profile does not allow. The issuer's key
    must have a CA certificate; the subject of the CA certificate becomes the issuer. Raises
    RuleViolated if the issuer's rules bind it to some JWSs and the subject has another key, which
    these rules would not bind.
    """

    uses = (Use(Signer, "sign"),)
    asks = True
    request: CertificateRequest

    def meaning(self, key: SigningKey) -> dict[str, Any]:
        request = self.request
        subject, public, names = _subject(request, public_key_in_x509(key))
        more = {
            "issuer_alternative_names": list(request.issuer_alternative_names),
            "crl": request.crl,
            "policies": list(request.policies),
            "cps": request.cps,
            "issuer_url": request.issuer_url,
            "document_signing": request.document_signing,
        }
        return {
            "type": "certificate",
            "profile": request.profile,
            "days": request.days,
            "subject": subject.rfc4514_string(),
            "alternative_names": list(texts_of(names)),
            "spki": jose_b64url(sha256(spki(public)).digest()),
            **{name: value for name, value in more.items() if value},
        }

    def compute(self, key: SigningKey) -> str:
        request, profile = self.request, PROFILES[self.request.profile]
        if key.rules is not None and key.rules.jws is not None and not profile.is_ca:
            raise RuleViolated("jws", "The key certifies no other key.")
        own = public_key_in_x509(key)
        above = () if profile.is_ca else ca_certificates(key.record, "key_cert_sign")
        issuer = above[0] if above else None
        subject, public, names = _subject(request, own)
        issuer_name = issuer.subject if issuer else subject
        profile.check_keys(public, own)
        if issuer:
            profile.check_issuer(issuer)
        profile.check_subject(subject, issuer_name)
        if not (names or subject.rdns):
            raise InvalidCertificate("Give a subject, or alternative names.")
        profile.check_support(names)
        require_permitted(above, subject, names)
        begin = datetime.now(UTC).replace(microsecond=0)
        if issuer and begin < issuer.not_valid_before_utc:
            raise InvalidCertificate("The issuer's certificate is not valid yet.")
        begin -= _BEFORE
        if issuer:
            begin = max(begin, issuer.not_valid_before_utc)
        end = begin + timedelta(days=request.days)
        _check_life(request, profile, (begin, end), issuer)
        builder = x509.CertificateBuilder(
            issuer_name, subject, public, x509.random_serial_number(), begin, end
        )
        for extension, critical in _extensions(request, profile, public, own, issuer):
            builder = builder.add_extension(extension, critical)
        if names:
            builder = builder.add_extension(*subject_alternative_names(names, subject))
        for extension in (*_contacts(request, profile, issuer), *_policies(request, profile)):
            builder = builder.add_extension(extension, critical=False)
        certificate = sign_x509(builder, key, None)
        serial = f"{certificate.serial_number:x}"
        set_certificate(serial, subject.rfc4514_string(), request.profile)
        return certificate.public_bytes(Encoding.PEM).decode()


def _subject(
    request: CertificateRequest, own: Any
) -> tuple[x509.Name, Any, list[x509.GeneralName]]:
    """Find the subject's name, public key and alternative names; `own` is the issuer's key."""
    names = read_alternative_names(request.alternative_names, "alternative_names")
    if request.csr is None:
        subject = read_name(request.subject or "")
        return subject, own, with_emails(names, subject)
    try:
        csr = x509.load_pem_x509_csr(request.csr.encode())
        public = csr.public_key()
        # Checked before the signature, which takes long to verify with a large key.
        if not is_of_strong_signer(public):
            raise UnsupportedOption(
                "The subject's key is of a type or a size that is not certified."
            )
        is_valid = csr.is_signature_valid
        text = csr.subject.rfc4514_string() if request.subject is None else request.subject
        found = extension_of(csr, x509.SubjectAlternativeName)
    except UNREADABLE:
        raise InvalidCertificate("The csr is not a request in PEM that can be read.") from None
    if not is_valid:
        raise InvalidCertificate("The csr is not signed with the subject's key.")
    if PROFILES[request.profile].is_ca and spki(public) != spki(own):
        raise InvalidCertificate("The subject's key is not the key that signs.")
    if not names:
        require_bounded(found)
        names = read_alternative_names(texts_of(found or ()), "csr")
    subject = read_name(text)
    return subject, public, with_emails(names, subject)


def _check_life(
    request: CertificateRequest,
    profile: CertificateProfile,
    life: tuple[datetime, datetime],
    issuer: x509.Certificate | None,
) -> None:
    begin, end = life
    if request.days > profile.most_days:
        raise InvalidCertificate(f"Such a certificate has at most {profile.most_days:,} days.")
    if issuer and not issuer.not_valid_before_utc <= begin < end <= issuer.not_valid_after_utc:
        raise InvalidCertificate("The issuer's certificate is not valid for all these days.")


def _extensions(
    request: CertificateRequest,
    profile: CertificateProfile,
    public: Any,
    own: Any,
    issuer: x509.Certificate | None,
) -> list[tuple[x509.ExtensionType, bool]]:
    """The extensions of a profile that do not depend on names, each with its criticality."""
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectKeyIdentifier.from_public_key(public), False)
    ]
    if profile.has_authority:
        found.append((authority_identifier(issuer, own), False))
    if profile.constraints:
        found.append((profile.constraints, True))
    found.append((profile.key_usage, True))
    if profile.purpose:
        purpose, critical = profile.purpose
        more = [_DOCUMENT_SIGNING] if request.document_signing else []
        found.append((x509.ExtendedKeyUsage([purpose, *more]), critical))
    if profile.statements:
        found.append((profile.statements, False))
    return found


def _contacts(
    request: CertificateRequest, profile: CertificateProfile, issuer: x509.Certificate | None
) -> list[x509.ExtensionType]:
    """The issuer's alternative names and revocation list.

    ISO/IEC 18013-5 requires both; by default they are copied from the issuer's certificate, as far
    as the standard allows them: emails, URIs, and points without reasons and CRL issuers. ETSI EN
    319 412-2 requires the list, which is copied from a root: another CA's names the list above it.
    """
    found: list[x509.ExtensionType] = []
    names: x509.IssuerAlternativeName | None = None
    if request.issuer_alternative_names:
        names = x509.IssuerAlternativeName(
            read_alternative_names(request.issuer_alternative_names, "issuer_alternative_names")
        )
    elif issuer and profile.is_iso:
        copied = _only(_CONTACTS, extension_of(issuer, x509.IssuerAlternativeName))
        names = x509.IssuerAlternativeName(copied) if copied else None
    if names:
        found.append(names)
    if profile.needs_contact and not any(isinstance(name, _CONTACTS) for name in names or ()):
        raise InvalidCertificate(
            "Give an email or a URI in issuer_alternative_names: ISO/IEC 18013-5 requires one."
        )
    lists: list[list[x509.GeneralName]] = []
    if request.crl is not None:
        lists = [[read_uri(request.crl, "crl")]]
    elif issuer and (profile.is_iso or (profile.is_etsi and issuer.issuer == issuer.subject)):
        points = extension_of(issuer, x509.CRLDistributionPoints) or ()
        lists = [_only(x509.UniformResourceIdentifier, point.full_name) for point in points]
    points = [x509.DistributionPoint(uris, None, None, None) for uris in lists if uris]
    if points:
        found.append(x509.CRLDistributionPoints(points))
    elif profile.is_iso or profile.is_etsi:
        standard = "ISO/IEC 18013-5" if profile.is_iso else "ETSI EN 319 412-2"
        raise InvalidCertificate(f"Give crl, a URI: {standard} requires one.")
    return found


def _policies(request: CertificateRequest, profile: CertificateProfile) -> list[x509.ExtensionType]:
    """The policies of a certificate, and the URI of its issuer's certificate."""
    found: list[x509.ExtensionType] = []
    qualifiers: list[str | x509.UserNotice] | None = None
    if request.cps is not None:
        qualifiers = [read_uri(request.cps, "cps").value]
    elif profile.needs_support:
        raise InvalidCertificate("Give cps, a URI: ETSI TS 119 411-8 requires one.")
    if request.policies:
        policies = read_policies(request.policies)
        found.append(
            x509.CertificatePolicies([x509.PolicyInformation(oid, qualifiers) for oid in policies])
        )
    elif profile.is_etsi:
        raise InvalidCertificate("Give policies: ETSI EN 319 412-2 requires one.")
    if request.issuer_url is not None:
        uri = read_uri(request.issuer_url, "issuer_url")
        method = AuthorityInformationAccessOID.CA_ISSUERS
        found.append(x509.AuthorityInformationAccess([x509.AccessDescription(method, uri)]))
    elif profile.is_etsi:
        raise InvalidCertificate("Give issuer_url, a URI: ETSI EN 319 412-2 requires one.")
    return found


def _only(
    kinds: type | tuple[type, ...], names: Iterable[x509.GeneralName] | None
) -> list[x509.GeneralName]:
    """Select the names of these kinds."""
    return [name for name in names or () if isinstance(name, kinds)]
