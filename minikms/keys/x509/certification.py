"""Issues certificates (RFC 5280)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from minikms.errors import InvalidCertificate, RuleViolated, UnsupportedOption
from minikms.events import set_certificate
from minikms.key_requests import AnyKey, KeyRef
from minikms.keys.operation import Envelope, Use
from minikms.keys.x509.certificates import UNREADABLE, chain_of, extension_of
from minikms.keys.x509.name_constraints import require_permitted
from minikms.keys.x509.names import (
    read_alternative_names,
    read_name,
    read_uri,
    require_bounded,
    subject_alternative_names,
    texts_of,
)
from minikms.keys.x509.profiles import PROFILES, CertificateProfile
from minikms.keys.x509.public_keys import is_of_strong_signer, spki
from minikms.keys.x509.signing import SigningKey, public_key_in_x509, sign_x509
from minikms.plugin.protocol import Signer

# A certificate begins before its call, for verifiers whose clocks are behind.
_BEFORE: Final = timedelta(minutes=5)

_CONTACTS = (x509.RFC822Name, x509.UniformResourceIdentifier)


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A caller's request for a certificate.

    `profile` is one of PROFILES. `csr` (a certificate request in PEM) has the subject's key, or
    `key` names it; without both, it is the issuer's key. `subject` and `alternative_names` replace
    the names in `csr`.
    """

    profile: str
    days: int
    subject: str | None = None
    csr: str | None = None
    key: KeyRef | AnyKey | None = None
    alternative_names: Sequence[str] = ()
    issuer_alternative_names: Sequence[str] = ()
    crl: str | None = None


@dataclass(slots=True, repr=False)
class IssueCertificate(Envelope[Signer[Any, Any], str]):
    """Signs a certificate with the issuer's key, and encodes it in PEM; raises InvalidCertificate.

    Raises UnsupportedOption for keys that X.509 or the profile does not allow. The issuer's key
    must have a CA certificate; the subject of the CA certificate becomes the issuer. Raises
    RuleViolated if the issuer's rules bind it to some JWSs and the subject has another key, which
    these rules would not bind.
    """

    uses = (Use(Signer, "sign"),)
    request: CertificateRequest

    def compute(self, key: SigningKey) -> str:
        request, profile = self.request, PROFILES[self.request.profile]
        if key.rules is not None and key.rules.jws is not None and not profile.is_ca:
            raise RuleViolated("jws", "The key certifies no other key.")
        own = public_key_in_x509(key)
        above = () if profile.is_ca else _issuers(key)
        issuer = above[0] if above else None
        subject, public, names = _subject(request, own)
        issuer_name = issuer.subject if issuer else subject
        profile.check_keys(public, own)
        if issuer:
            profile.check_issuer(issuer)
        profile.check_subject(subject, issuer_name)
        if not (names or subject.rdns):
            raise InvalidCertificate("Give a subject, or alternative names.")
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
        for extension, critical in _extensions(profile, public, own, issuer):
            builder = builder.add_extension(extension, critical)
        if names:
            builder = builder.add_extension(*subject_alternative_names(names, subject))
        for extension in _contacts(request, profile, issuer):
            builder = builder.add_extension(extension, critical=False)
        certificate = sign_x509(builder, key, None)
        serial = f"{certificate.serial_number:x}"
        set_certificate(serial, subject.rfc4514_string(), request.profile)
        return certificate.public_bytes(Encoding.PEM).decode()


def _issuers(key: SigningKey) -> tuple[x509.Certificate, ...]:
    """Parse the chain of an issuer's key, its CA certificate first; raises InvalidCertificate."""
    chain = chain_of(key.record) if key.record else ()
    if not chain:
        raise InvalidCertificate(
            "The issuer's key has no certificate: give it one by PUT /key/{kid}/certificates."
        )
    certificates = tuple(map(x509.load_der_x509_certificate, chain))
    constraints = extension_of(certificates[0], x509.BasicConstraints)
    usage = extension_of(certificates[0], x509.KeyUsage)
    if not (constraints and constraints.ca and (usage is None or usage.key_cert_sign)):
        raise InvalidCertificate("The certificate of the issuer's key is not a CA certificate.")
    return certificates


def _subject(
    request: CertificateRequest, own: Any
) -> tuple[x509.Name, Any, list[x509.GeneralName]]:
    """Find the subject's name, public key and alternative names; `own` is the issuer's key."""
    names = read_alternative_names(request.alternative_names, "alternative_names")
    if request.csr is None:
        return read_name(request.subject or ""), own, names
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
    return read_name(text), public, names


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
    profile: CertificateProfile, public: Any, own: Any, issuer: x509.Certificate | None
) -> list[tuple[x509.ExtensionType, bool]]:
    """The extensions of a profile that do not depend on names, each with its criticality."""
    found: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectKeyIdentifier.from_public_key(public), False)
    ]
    if profile.has_authority:
        # RFC 5280 section 4.2.1.1: the identifier that the issuer's certificate has.
        above = issuer and extension_of(issuer, x509.SubjectKeyIdentifier)
        authority = x509.AuthorityKeyIdentifier
        found.append(
            (
                authority.from_issuer_subject_key_identifier(above)
                if above
                else authority.from_issuer_public_key(own),
                False,
            )
        )
    if profile.constraints:
        found.append((profile.constraints, True))
    found.append((profile.key_usage, True))
    if profile.purpose:
        purpose, critical = profile.purpose
        found.append((x509.ExtendedKeyUsage([purpose]), critical))
    return found


def _contacts(
    request: CertificateRequest, profile: CertificateProfile, issuer: x509.Certificate | None
) -> list[x509.ExtensionType]:
    """The issuer's alternative names and revocation list.

    ISO/IEC 18013-5 requires both; by default they are copied from the issuer's certificate, as far
    as the standard allows them: emails, URIs, and points without reasons and CRL issuers.
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
    elif issuer and profile.is_iso:
        points = extension_of(issuer, x509.CRLDistributionPoints) or ()
        lists = [_only(x509.UniformResourceIdentifier, point.full_name) for point in points]
    points = [x509.DistributionPoint(uris, None, None, None) for uris in lists if uris]
    if points:
        found.append(x509.CRLDistributionPoints(points))
    elif profile.is_iso:
        raise InvalidCertificate("Give crl, a URI: ISO/IEC 18013-5 requires one.")
    return found


def _only(
    kinds: type | tuple[type, ...], names: Iterable[x509.GeneralName] | None
) -> list[x509.GeneralName]:
    """Select the names of these kinds."""
    return [name for name in names or () if isinstance(name, kinds)]
