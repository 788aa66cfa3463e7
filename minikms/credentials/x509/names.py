"""Parses and formats the subjects and alternative names of certificates (RFC 5280)."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from minikms.errors import InvalidCertificate

# The most characters of a name, attributes of a subject, and alternative names.
MAX_NAME: Final = 1024
MAX_NAMES: Final = 64
_MAX_ATTRIBUTES: Final = 32
# The most policies, and characters of an object identifier.
MAX_POLICIES: Final = 16
MAX_POLICY: Final = 128

# Common attributes besides the attributes of RFC 4514.
_ATTRIBUTES: Final = {
    "cn": NameOID.COMMON_NAME,
    "c": NameOID.COUNTRY_NAME,
    "l": NameOID.LOCALITY_NAME,
    "st": NameOID.STATE_OR_PROVINCE_NAME,
    "o": NameOID.ORGANIZATION_NAME,
    "ou": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "dc": NameOID.DOMAIN_COMPONENT,
    "uid": NameOID.USER_ID,
    "street": NameOID.STREET_ADDRESS,
    "serialnumber": NameOID.SERIAL_NUMBER,
    "emailaddress": NameOID.EMAIL_ADDRESS,
    "givenname": NameOID.GIVEN_NAME,
    "sn": NameOID.SURNAME,
    "pseudonym": NameOID.PSEUDONYM,
    "organizationidentifier": NameOID.ORGANIZATION_IDENTIFIER,
}


class _AnyCase(Mapping[str, x509.ObjectIdentifier]):
    """Attributes by name, in any case (RFC 4512 section 2.5)."""

    def __getitem__(self, name: str) -> x509.ObjectIdentifier:
        return _ATTRIBUTES[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(_ATTRIBUTES)

    def __len__(self) -> int:
        return len(_ATTRIBUTES)


_SPELLED: Final = _AnyCase()
# Attributes of type PrintableString or IA5String (RFC 5280 appendix A).
_FORMS: Final = {
    NameOID.COUNTRY_NAME: re.compile(r"[A-Z]{2}"),
    NameOID.SERIAL_NUMBER: re.compile(r"[A-Za-z0-9 '()+,./:=?-]+"),
    NameOID.DN_QUALIFIER: re.compile(r"[A-Za-z0-9 '()+,./:=?-]+"),
    NameOID.DOMAIN_COMPONENT: re.compile(r"[!-~]+"),
    NameOID.EMAIL_ADDRESS: re.compile(r"[!-~]+"),
}
# The most characters of a value (RFC 5280 appendix A.1).
_MOST: Final = {
    **dict.fromkeys(
        (
            *(NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME),
            *(NameOID.TITLE, NameOID.SERIAL_NUMBER),
        ),
        64,
    ),
    **dict.fromkeys(
        (NameOID.LOCALITY_NAME, NameOID.STATE_OR_PROVINCE_NAME, NameOID.PSEUDONYM), 128
    ),
    NameOID.EMAIL_ADDRESS: 255,
}
_ANY: Final = re.compile(r"[^\u0000-\u001f\u007f-\u009f]+")

# RFC 1034 section 3.5, with the wildcard of RFC 6125; RFC 3986 section 3; RFC 5321 section 4.1.2.
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DNS: Final = re.compile(rf"(\*\.)?([A-Za-z0-9_]([A-Za-z0-9_-]{{0,61}}[A-Za-z0-9_])?\.)*{_LABEL}")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!#-;=?-Z_a-z~\[\]]+")
_EMAIL: Final = re.compile(rf"[!-?A-~]+@({_LABEL}\.)*{_LABEL}")


def read_name(text: str) -> x509.Name:
    """Parse a distinguished name (RFC 4514), which may be empty; raises InvalidCertificate."""
    if len(text) > MAX_NAME:
        raise InvalidCertificate(f"The subject has more than {MAX_NAME:,} characters.")
    try:
        name = x509.Name.from_rfc4514_string(text, _SPELLED)
        name.public_bytes()
    except (ValueError, TypeError):
        raise InvalidCertificate(
            "The subject is not a name of RFC 4514, such as CN=example,O=Example,C=DE."
        ) from None
    attributes = list(name)
    if len(attributes) > _MAX_ATTRIBUTES:
        raise InvalidCertificate(f"The subject has more than {_MAX_ATTRIBUTES} attributes.")
    for attribute in attributes:
        value, form = attribute.value, _FORMS.get(attribute.oid, _ANY)
        if not isinstance(value, str) or not form.fullmatch(value):
            shown = attribute.rfc4514_attribute_name
            raise InvalidCertificate(f"The value of {shown} in the subject is malformed.")
    require_bounded_attributes(name)
    return name


def with_emails(names: list[x509.GeneralName], subject: x509.Name) -> list[x509.GeneralName]:
    """Return alternative names with each email of a subject; raises InvalidCertificate.

    New certificates have emails there (RFC 5280 section 4.1.2.6).
    """
    values = [each.value for each in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
    try:
        emails = [x509.RFC822Name(_matching(_EMAIL, str(value))) for value in values]
    except ValueError:
        raise InvalidCertificate("An emailAddress in the subject is not an email.") from None
    return [*names, *(each for each in dict.fromkeys(emails) if each not in names)]


def require_bounded_attributes(name: x509.Name) -> None:
    """Raise InvalidCertificate if a value is longer than RFC 5280 allows."""
    for attribute in name:
        most = _MOST.get(attribute.oid)
        if most is not None and len(attribute.value) > most:
            shown = attribute.rfc4514_attribute_name
            raise InvalidCertificate(f"{shown} in the subject has more than {most} characters.")


def read_alternative_names(texts: Iterable[str], member: str) -> list[x509.GeneralName]:
    """Parse names such as DNS:example.com; raises InvalidCertificate.

    `member` is the member of the request with these names.
    """
    names = []
    for place, text in enumerate(texts):
        kind, _, value = text.partition(":")
        try:
            names.append(_KINDS[kind](value))
        except (KeyError, ValueError):
            detail = "Not such as DNS:a.example, URI:https://…, email:a@a.example or IP:192.0.2.1."
            raise InvalidCertificate(errors=[(f"#/{member}/{place}", detail)]) from None
    return names


def read_uri(text: str, member: str) -> x509.UniformResourceIdentifier:
    """Parse a URI as a name; raises InvalidCertificate."""
    try:
        return _uri(text)
    except ValueError:
        raise InvalidCertificate(errors=[(f"#/{member}", "Not a URI.")]) from None


def read_policies(texts: Iterable[str]) -> list[x509.ObjectIdentifier]:
    """Parse the object identifiers of policies; raises InvalidCertificate."""
    policies: list[x509.ObjectIdentifier] = []
    for place, text in enumerate(texts):
        try:
            policies.append(x509.ObjectIdentifier(text))
        except ValueError:
            fault = "Not an object identifier, such as 0.4.0.194118.1.2."
            raise InvalidCertificate(errors=[(f"#/policies/{place}", fault)]) from None
    if len(set(policies)) < len(policies):
        raise InvalidCertificate("A policy is named twice.")  # RFC 5280 section 4.2.1.4
    return policies


def require_bounded(names: Iterable[x509.GeneralName] | None) -> None:
    """Raise InvalidCertificate for more or longer alternative names than the service allows."""
    texts = [name.value for name in names or ()]
    longest = max((len(text) for text in texts if isinstance(text, str)), default=0)
    if len(texts) > MAX_NAMES or longest > MAX_NAME:
        raise InvalidCertificate(
            f"A request has at most {MAX_NAMES} alternative names, of {MAX_NAME:,} characters."
        )
    most = _MOST[NameOID.EMAIL_ADDRESS]
    if any(isinstance(name, x509.RFC822Name) and len(name.value) > most for name in names or ()):
        raise InvalidCertificate(f"An email has more than {most} characters.")


def texts_of(names: Iterable[x509.GeneralName]) -> list[str]:
    """Format alternative names; raises InvalidCertificate for a name of another kind."""
    texts = []
    for name in names:
        kind = _PREFIXES.get(type(name))
        if kind is None:
            raise InvalidCertificate("The csr has an alternative name of another kind.")
        texts.append(f"{kind}:{name.value}")
    return texts


def _uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(_matching(_URI, text))


def _ip(text: str) -> x509.IPAddress:
    address = ipaddress.ip_address(text)
    if "%" in text:  # a zone, which names an interface of this machine
        raise ValueError
    return x509.IPAddress(address)


_KINDS: Final[Mapping[str, Callable[[str], x509.GeneralName]]] = {
    "DNS": lambda text: x509.DNSName(_matching(_DNS, text, 253)),
    "URI": _uri,
    "email": lambda text: x509.RFC822Name(_matching(_EMAIL, text, 254)),
    "IP": _ip,
}

_PREFIXES: Final[Mapping[type, str]] = {
    x509.DNSName: "DNS",
    x509.UniformResourceIdentifier: "URI",
    x509.RFC822Name: "email",
    x509.IPAddress: "IP",
}


def _matching(form: re.Pattern[str], text: str, most: int | None = None) -> str:
    """Return a text if it matches a pattern and is short enough; raises ValueError."""
    if not form.fullmatch(text) or len(text) > (most or len(text)):
        raise ValueError
    return text


def subject_alternative_names(
    names: list[x509.GeneralName], subject: x509.Name
) -> tuple[x509.SubjectAlternativeName, bool]:
    """Make the extension of alternative names.

    It is critical if the subject is empty (RFC 5280 section 4.1.2.6).
    """
    return x509.SubjectAlternativeName(names), not subject.rdns
