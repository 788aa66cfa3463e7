"""IP addresses of hosts and callers."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host, by address or name, can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_address(host: str) -> str:
    """The address for callers on this machine of a service that listens on `host`."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def url_host(host: str) -> str:
    """An address as the host of a URL (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def network_of(address: str) -> str:
    """The network of one caller: an IPv4 address, in either form, or a /64 of IPv6."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 6:
        if ip.ipv4_mapped is None:
            return str(ipaddress.ip_network((ip, 64), strict=False))
        ip = ip.ipv4_mapped
    return str(ip)
