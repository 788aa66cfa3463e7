"""Who calls: the authenticated caller, its address and its certificate."""

import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from aiohttp import HttpVersion11, web
from cryptography import x509

from minikms.access.policy import ANYBODY, Caller
from minikms.events import CURRENT
from minikms.http.limits import InFlight, read_body
from minikms.startup_errors import AccessError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# RFC 2518 section 10.1; how long after one the next is sent, in seconds, twice as long each time.
_PROCESSING: Final = b"HTTP/1.1 102 Processing\r\n\r\n"
_FIRST_PAUSE: Final = 0.05

CALLER: Final = web.RequestKey("caller", Caller)
AUTHENTICATE: Final[web.RequestKey[Callable[[], Awaitable[Caller]]]] = web.RequestKey("again")
"""Authenticates the caller of a request once more."""


def caller(request: web.Request) -> Caller:
    """Who makes this request."""
    found: Caller = request.get(CALLER, ANYBODY)
    return found


def enter(request: web.Request, profile: str) -> str:
    """The profile, for a caller who may have to do with it; raises ProfileNotFound."""
    event = CURRENT.get()
    if event is not None:
        event.profile = profile
    caller(request).permit(profile)
    return profile


async def receive(request: web.Request, in_flight: InFlight, timeout: float, most: int) -> bytes:
    """Wait for a body as `read_body` does, of a caller whose token is still valid at its end.

    A body may take long, and its caller's profile be another customer's by then.
    """
    body = await read_body(request, in_flight, timeout, most)
    if authenticate := request.get(AUTHENTICATE):
        request[CALLER] = await authenticate()
    return body


class Presence:
    """A check, to be called now and then, that the caller of a request still waits for its answer.

    One who has sent all that it will, and closed its half, looks like one who is gone. What it is
    sent tells them apart, and a client takes any number of interim answers (RFC 9110 section 15).
    """

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._pause = _FIRST_PAUSE
        self._next = 0.0

    def __call__(self) -> None:
        """Raise ConnectionResetError where nobody waits."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        half_closed = getattr(self._request.protocol, "half_closed", False)
        now = time.monotonic()
        if half_closed and now >= self._next and self._request.version == HttpVersion11:
            transport.write(_PROCESSING)
            self._next, self._pause = now + self._pause, 2 * self._pause


def certificate_subject(request: web.BaseRequest) -> str | None:
    """The subject of the caller's certificate (RFC 4514); None where none was asked for.

    It is to be had while the connection is there: at the beginning of a request, not at its end.
    """
    tls = request.get_extra_info("ssl_object")
    certificate = tls.getpeercert(binary_form=True) if tls else None
    if certificate is None:
        return None
    return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()


def address(request: web.Request, proxies: tuple[Network, ...]) -> str:
    """The address of the caller: that of the connection, or what trusted `proxies` say of it.

    Each proxy adds whom it was called by at the end of `X-Forwarded-For`, so it is read from there
    up to the first address that is no trusted proxy's; what stands before that, anyone can write.
    """
    nearest = request.remote or ""
    if not proxies:
        return nearest
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    while is_one_of(nearest, proxies) and forwarded:
        try:
            nearest = str(ipaddress.ip_address(forwarded.pop().strip()))
        except ValueError:
            break
    return nearest


def parse_proxies(text: str) -> tuple[Network, ...]:
    """Addresses and networks with commas between them; raises AccessError."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise AccessError(
            "--trusted-proxy takes addresses and networks, with commas between them."
        ) from None


def is_one_of(text: str, networks: Iterable[Network]) -> bool:
    """Whether an address is in one of these networks."""
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(ip in network for network in networks)
