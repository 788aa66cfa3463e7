"""Addresses of hosts."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether a host, by address or name, is this machine and nobody else reaches it there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
