"""Addresses of hosts."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host, by address or name, is this machine and nobody else reaches it there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def to_open(host: str) -> str:
    """An address that a caller on this machine opens, where a service listens on `host`."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def in_url(host: str) -> str:
    """An address as a URL has it (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def network_of(address: str) -> str:
    """What one caller has of addresses: one of IPv4, however written, or 2^64 of IPv6."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 6:
        if ip.ipv4_mapped is None:
            return str(ipaddress.ip_network((ip, 64), strict=False))
        ip = ip.ipv4_mapped
    return str(ip)
