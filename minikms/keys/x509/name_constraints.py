"""The names that a CA may certify (RFC 5280 section 4.2.1.10)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from minikms.errors import InvalidCertificate


def require_permitted(
    chain: Iterable[x509.Certificate], subject: x509.Name, names: Iterable[x509.GeneralName]
) -> None:
    """Raise InvalidCertificate for a name outside the constraints of a certificate of the chain.

    `names` are the alternative names. An emailAddress of the subject counts as one.
    """
    emails = (each.value for each in subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS))
    names = [*names, *(x509.RFC822Name(email) for email in emails if isinstance(email, str))]
    if subject.rdns:
        names.append(x509.DirectoryName(subject))
    for certificate in chain:
        try:
            found = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
        except x509.ExtensionNotFound:
            continue
        permitted, excluded = found.permitted_subtrees or (), found.excluded_subtrees or ()
        for name in names:
            alike = [each for each in permitted if type(each) is type(name)]
            if (alike and not any(_is_within(name, each) for each in alike)) or any(
                _may_be_within(name, each) for each in excluded if type(each) is type(name)
            ):
                raise InvalidCertificate(
                    "The name constraints of the issuer's certificates do not permit these names."
                )


def _is_within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """Tell whether a name is in a subtree of its type."""
    return _SUBTREES[type(name)](name.value, subtree.value)


def _may_be_within(name: x509.GeneralName, subtree: x509.GeneralName) -> bool:
    """Tell whether a name is in an excluded subtree.

    So is a wildcard that stands for one of its names, and a URI without a host, which RFC 5280 has
    verifiers reject.
    """
    if isinstance(name, x509.DNSName) and name.value.startswith("*."):
        _, _, parent = subtree.value.lstrip(".").partition(".")
        if parent.lower() == name.value[2:].lower():
            return True
    if isinstance(name, x509.UniformResourceIdentifier) and not _host(name.value):
        return True
    return _is_within(name, subtree)


def _is_domain(name: str, subtree: str) -> bool:
    """Tell whether a DNS name is of a domain or below it."""
    name, subtree = name.lower(), subtree.lower()
    if not subtree or subtree.startswith("."):
        return name.endswith(subtree)
    return name == subtree or name.endswith("." + subtree)


def _is_host(host: str, subtree: str) -> bool:
    """Tell whether a host is this one, or below a domain that begins with a dot."""
    host, subtree = host.lower(), subtree.lower()
    return host.endswith(subtree) if subtree.startswith(".") else host == subtree


def _is_email(name: str, subtree: str) -> bool:
    """Tell whether an address is this one, or of a host or domain."""
    local, _, host = name.rpartition("@")
    wanted, at, domain = subtree.rpartition("@")
    return _is_host(host, domain) and (not at or local == wanted)


def _is_uri(name: str, subtree: str) -> bool:
    host = _host(name)
    return bool(host) and _is_host(host, subtree)


def _host(uri: str) -> str:
    """The host of a URI; empty if it has none, or an address."""
    try:
        host = (urlsplit(uri).hostname or "").rstrip(".")
    except ValueError:
        return ""
    return "" if ":" in host or host[-1:].isdigit() else host


def _is_below(name: x509.Name, subtree: x509.Name) -> bool:
    """Tell whether a name begins with another (RFC 5280 section 7.1)."""
    above = [_comparable(rdn) for rdn in subtree.rdns]
    return [_comparable(rdn) for rdn in name.rdns[: len(above)]] == above


def _comparable(rdn: x509.RelativeDistinguishedName) -> set[tuple[x509.ObjectIdentifier, object]]:
    """Its attributes, without the differences of case and of spaces that do not count."""
    texts = {each: each.value for each in rdn}
    return {
        (each.oid, " ".join(text.casefold().split()) if isinstance(text, str) else text)
        for each, text in texts.items()
    }


_SUBTREES: Final[Mapping[type, Callable[[Any, Any], bool]]] = {
    x509.DNSName: _is_domain,
    x509.RFC822Name: _is_email,
    x509.UniformResourceIdentifier: _is_uri,
    x509.IPAddress: lambda address, network: address in network,
    x509.DirectoryName: _is_below,
}
