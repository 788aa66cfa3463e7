"""Checks names against the name constraints of CAs (RFC 5280 section 4.2.1.10)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509

from minikms.errors import InvalidCertificate


def require_permitted(
    chain: Iterable[x509.Certificate], subject: x509.Name, names: Iterable[x509.GeneralName]
) -> None:
    """Raise InvalidCertificate if a certificate of the chain does not permit a name.

    `names` are the alternative names, among them each email of the subject.
    """
    names = list(names)
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
    """Tell whether a name may be in an excluded subtree.

    This includes a wildcard that matches a name in it, and a URI without a host, since RFC 5280
    requires verifiers to reject the URI.
    """
    if isinstance(name, x509.DNSName) and name.value.startswith("*."):
        _, _, parent = subtree.value.lstrip(".").partition(".")
        if parent.lower() == name.value[2:].lower():
            return True
    if isinstance(name, x509.UniformResourceIdentifier) and not _host(name.value):
        return True
    return _is_within(name, subtree)


def _is_domain(name: str, subtree: str) -> bool:
    """Tell whether a DNS name is a domain or below it."""
    name, subtree = name.lower(), subtree.lower()
    if not subtree or subtree.startswith("."):
        return name.endswith(subtree)
    return name == subtree or name.endswith("." + subtree)


def _is_host(host: str, subtree: str) -> bool:
    """Tell whether a host equals a constraint or, if that begins with a dot, is below it."""
    host, subtree = host.lower(), subtree.lower()
    return host.endswith(subtree) if subtree.startswith(".") else host == subtree


def _is_email(name: str, subtree: str) -> bool:
    """Tell whether an address equals a constraint, or has its host or domain."""
    local, _, host = name.rpartition("@")
    wanted, at, domain = subtree.rpartition("@")
    return _is_host(host, domain) and (not at or local == wanted)


def _is_uri(name: str, subtree: str) -> bool:
    host = _host(name)
    return bool(host) and _is_host(host, subtree)


def _host(uri: str) -> str:
    """Return the host of a URI; empty if it has no host, or an IP address."""
    try:
        host = (urlsplit(uri).hostname or "").rstrip(".")
    except ValueError:
        return ""
    return "" if ":" in host or host[-1:].isdigit() else host


def _is_below(name: x509.Name, subtree: x509.Name) -> bool:
    """Tell whether a distinguished name begins with another (RFC 5280 section 7.1)."""
    above = [_comparable(rdn) for rdn in subtree.rdns]
    return [_comparable(rdn) for rdn in name.rdns[: len(above)]] == above


def _comparable(rdn: x509.RelativeDistinguishedName) -> set[tuple[x509.ObjectIdentifier, object]]:
    """Normalize case and spaces of its attributes for comparison."""
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
