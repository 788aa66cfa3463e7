"""Trusted proxies, and the addresses of callers behind them."""

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias

from aiohttp import web

from minikms.startup_errors import AccessError

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def forwarded_address(request: web.Request, proxies: tuple[Network, ...]) -> str:
    """Return the address of the caller, as trusted `proxies` report it.

    Each proxy appends the address of its caller to `X-Forwarded-For`. So the header is read from
    the end to the first address that is not a trusted proxy's. Anyone can forge the addresses
    before that one.
    """
    nearest = request.remote or ""
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    while is_one_of(nearest, proxies) and forwarded:
        try:
            nearest = str(ipaddress.ip_address(forwarded.pop().strip()))
        except ValueError:
            break
    return nearest


def parse_proxies(text: str) -> tuple[Network, ...]:
    """Parse addresses and networks, separated by commas; raises AccessError."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise AccessError(
            "--trusted-proxy takes addresses and networks, with commas between them."
        ) from None


def is_one_of(text: str, networks: Iterable[Network]) -> bool:
    """Tell whether `text` is an address in one of these networks."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(ip in network for network in networks)
