"""Checks the `Host` of requests, so that no web page reaches a service on a loopback address.

An attacker can point the domain of a web page to this service's address (DNS rebinding). The
browser then counts the service as part of that page's origin, but still sends the domain as `Host`.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from typing import Final

from aiohttp import HttpVersion10, web

from minikms.basics.addresses import is_loopback
from minikms.config import Config
from minikms.errors import MisdirectedRequest
from minikms.startup_errors import AccessError

# A name or an IPv4 address, or an IPv6 address in brackets, and a port (RFC 9110 section 7.2).
_FORM: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(:[0-9]{0,5})?\Z")
_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")
_ANY: Final = "*"

# Limit of remembered headers: a caller may name any port, and anything before `.localhost`.
_MOST: Final = 256


class Hosts:
    """The hosts that requests may name: the local names of this machine, and `allowed` hosts."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)
        self._seen: set[str] = set()  # accepted headers, unchanged

    def check(self, request: web.BaseRequest) -> None:
        """Raise MisdirectedRequest if the request names another host or none.

        HTTP/1.0 has no `Host`, and no browser speaks it.
        """
        given: Sequence[str] = request.headers.getall("Host", ())
        if not given and request.version == HttpVersion10:
            return
        if len(given) == 1:
            if given[0] in self._seen:
                return
            host = _host(given[0])
            if host is not None and (host in self._allowed or _is_local(host)):
                if len(self._seen) >= _MOST:
                    self._seen.clear()
                self._seen.add(given[0])
                return
        raise MisdirectedRequest("Call it as localhost; --allowed-host adds other names.")


def parse_hosts(text: str) -> Hosts | None:
    """Parse the allowed hosts besides the local names; None if any host is allowed.

    Raises AccessError.
    """
    hosts = set()
    for part in filter(None, map(str.strip, text.split(","))):
        if part == _ANY:
            return None
        address = part.count(":") > 1 and not part.startswith("[")
        host = _host(f"[{part}]" if address else part, with_port=False)
        if host is None:
            raise AccessError(
                "--allowed-host takes names and addresses without a port, with commas between "
                "them, or * for all."
            )
        hosts.add(host)
    return Hosts(hosts)


def known_hosts(config: Config, address: str) -> Hosts | None:
    """Return the hosts that requests to this address may name; None for any.

    Any host may be named if callers need a token, or if the address is not loopback.
    """
    hosts = parse_hosts(config.allowed_host)
    return None if config.needs_token or not is_loopback(address) else hosts


def _host(header: str, *, with_port: bool = True) -> str | None:
    """Normalize the host of a header; None if it is malformed."""
    found = _FORM.match(header)
    if found is None or (found[3] and not with_port):
        return None
    if found[1] is None:
        return found[2].lower().removesuffix(".") or None
    try:
        return f"[{ipaddress.IPv6Address(found[1])}]"
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    if host in ("localhost", "[::1]") or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.IPv4Address(host) in _LOOPBACK
    except ValueError:
        return False
