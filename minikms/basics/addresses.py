"""Addresses of hosts, callers and other services."""

import ipaddress

from yarl import URL


def is_loopback(host: str) -> bool:
    """Tell whether a host, by address or name, is reachable from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_address(host: str) -> str:
    """Return the address at which this machine reaches a service that listens on `host`."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def url_host(host: str) -> str:
    """Format an address as the host of a URL (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def network_of(address: str) -> str:
    """Return the network of a caller: its IPv4 address, even if mapped to IPv6, or its IPv6 /64."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 6:
        if ip.ipv4_mapped is None:
            return str(ipaddress.ip_network((ip, 64), strict=False))
        ip = ip.ipv4_mapped
    return str(ip)


def service_url(text: str) -> URL:
    """Parse a URL with https, or with http and a loopback host; raises ValueError with a sentence.

    On plain HTTP, an attacker on the network could read and replace the answers.
    """
    try:
        url = URL(text)
    except ValueError:
        raise ValueError("The URL is not valid.") from None
    if not url.host or url.user is not None or url.password is not None:
        raise ValueError("The URL needs a host, and no user or password.")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise ValueError("A URL must be https, unless its host is loopback.")
    return url
