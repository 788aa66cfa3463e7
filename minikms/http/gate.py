"""The gate that every call passes once: limits, authentication, body, profile, audit event.

It is over 300 lines, so that the way of a call is read in one place: `guarded`, its steps, and the
event of a refusal, whose facts depend on the steps that were done.
"""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp import web
from aiohttp.hdrs import CONTENT_ENCODING
from cryptography import x509

from minikms.access.callers import ANYBODY, CERTIFICATE, Caller
from minikms.access.policy import TokenAccess
from minikms.access.profile_rates import ProfileRates
from minikms.access.token_record import ID_PATTERN
from minikms.errors import AuditUnavailable, KmsError, TooBusy
from minikms.events import CURRENT, AuditEvent, AuditSink
from minikms.http.answers import CACHE_CONTROL, NO_STORE, Answer, Handler, NotStored
from minikms.http.body_bounds import MAX_VALUES, SMALL_BODY, refuse_too_large
from minikms.http.hosts import Hosts
from minikms.http.limits import InFlight, expect, read_body
from minikms.http.logs import EVENT, is_secret, request_id
from minikms.http.problems import slug_of
from minikms.http.proxies import Network, forwarded_address
from minikms.http.state import CONFIG
from minikms.http.tracebacks import is_of_an_algorithm
from minikms.key_bounds import ALIAS_PATTERN, KID_PATTERN, MAX_ALIAS

ExpectHandler: TypeAlias = Callable[[web.Request], Awaitable[None]]
# Returns the profile that a refused request names, or None.
AskedProfile: TypeAlias = Callable[[web.Request], str | None]

_KID, _ALIAS, _TOKEN = map(re.compile, (KID_PATTERN, ALIAS_PATTERN, ID_PATTERN))
_ORDINARY: Final = (Exception, asyncio.CancelledError, GeneratorExit)

# The caller of an open route, whose handler may log another caller in.
_NOBODY: Final = Caller("", frozenset(), frozenset())

# The scopes of an unauthenticated caller in a profile that publishes its public keys.
_PUBLIC: Final = frozenset({"keys:read"})


class Gated(NamedTuple):
    """The facts of a route that the gate needs.

    `operation` is its name in the audit log and the metrics. Callers need all of `scopes`. No cache
    may keep a success of a `secret` route. `published` returns the profile that anybody may read by
    this call, None if the caller must be authenticated. `refuse_query` raises for a query that the
    route does not accept. Anybody may call a route that `is_open`. Only calls of a route that
    `is_recorded` are in the audit log; the handler of an open, recorded route may log a caller in.
    A call of a route that `is_of_caller` is in no profile; it counts in all profiles of its caller.
    The gate reads a body of up to `most` bytes; with None, the body stays unread. A large body has
    at most `values` JSON values. Before the gate waits for a body, `refuse_type` raises for a type
    that the route does not read. `profile_of` returns the profile that the head of a request names;
    with None, the handler enters a profile.
    """

    operation: str
    scopes: tuple[str, ...]
    secret: bool = False
    published: Callable[[web.Request], Awaitable[str | None]] | None = None
    refuse_query: Callable[[web.Request], None] | None = None
    is_open: bool = False
    is_recorded: bool = True
    is_of_caller: bool = False
    most: int | None = None
    values: int = MAX_VALUES
    refuse_type: Callable[[web.Request], None] | None = None
    profile_of: Callable[[web.Request], str] | None = None


@dataclass(slots=True, eq=False)
class GatedCall:
    """A call that has passed the gate, with its caller, body and profile.

    The body is here and not in the request, where `request.read` would leave it: an idle connection
    keeps its last request in memory.
    """

    gate: "Gate"
    route: Gated
    request: web.Request
    event: AuditEvent
    caller: Caller = _NOBODY
    body: bytes = field(init=False, repr=False)
    profile: str = field(init=False)

    def enter(self, profile: str) -> str:
        """Check that the caller may use a profile, count the call, and return the profile.

        The gate calls it if the head names the profile. Raises ProfileNotFound and OverRate.
        """
        event, found = self.event, self.caller
        self.profile = event.profile = profile
        if found.profiles is not None or found.grants:
            self.caller = found = found.in_profile(profile)
        _set_id(event, found)
        if event.count_call is not None:
            event.count_call(profile)
        return profile

    async def log_in(self, token: str, profile_of: Callable[[Caller], str] | None = None) -> None:
        """Authenticate the caller of an open, recorded route, and enter its profile.

        `profile_of` chooses the profile of the caller, by default the one that the head names.
        Raises Unauthenticated, TooManyAttempts, ProfileNotFound, and Forbidden if no role fits.
        """
        if not (self.route.is_open and self.route.is_recorded):
            raise TypeError("Only the handler of a route for logins logs callers in.")
        await self.gate.log_in(self, token)
        self.enter(self.profile if profile_of is None else profile_of(self.caller))

    def in_role(self, token: str, role: str) -> str:
        """Return a token for one role of a JWT, or of the client certificate for no token."""
        if not token:
            return f"{role}.{CERTIFICATE}"
        access = self.gate.access
        return token if access is None else access.in_role(token, role)


CallHandler: TypeAlias = Callable[[GatedCall], Coroutine[Any, Any, Answer]]


def authorization_header(request: web.Request) -> str:
    """Return the Authorization header of a request, empty if it has none."""
    return ", ".join(request.headers.getall("Authorization", ()))


class Gate:
    """Passes each call of a route on its way in and out.

    `access` authenticates callers; it is None if they need no token. `rates` counts the calls of
    profiles. `sink` is the audit log, None without one; `profile_id` returns the id of a profile
    for its lines, None if this process does not know it. Each protocol has a function that returns
    the profile of a request, `asked_profile`, and a function that returns its token in the form of
    an Authorization header (RFC 6750 section 2.1), `authorization`.
    """

    def __init__(
        self,
        in_flight: InFlight,
        proxies: tuple[Network, ...],
        hosts: Hosts | None,
        asked_profile: AskedProfile,
        authorization: Callable[[web.Request], str] = authorization_header,
    ) -> None:
        self.access: TokenAccess | None = None
        self.rates: ProfileRates | None = None
        self.sink: AuditSink | None = None
        self.profile_id: Callable[[str], str | None] = _no_id
        self._in_flight = in_flight
        self._proxies = proxies
        self._hosts = hosts
        self._asked_profile = asked_profile
        self._authorization = authorization

    def guard(self, route: Gated, handler: CallHandler) -> Handler:
        """Guard the handler of a route; each call is recorded before it is answered."""
        in_flight, hosts, is_open = self._in_flight, self._hosts, route.is_open
        most, profile_of = route.most, route.profile_of
        # Over its rate, a profile can still be changed, and its JWK Set read.
        counts = route.published is None and "profiles" not in route.scopes

        async def guarded(request: web.Request) -> Answer:
            event = self._begin(request, route)
            CURRENT.set(event)
            call = GatedCall(self, route, request, event)
            try:
                if hosts is not None:
                    hosts.check(request)
                if in_flight.number >= in_flight.most:
                    raise TooBusy()
                in_flight.number += 1
                try:
                    if not is_open:
                        if self.access is None:
                            call.caller = ANYBODY
                        else:
                            call.caller = self._known_caller(
                                request, route
                            ) or await self._authenticate(self.access, call)
                            caller = call.caller
                            event.who, event.roles = caller.name, caller.roles
                            event.caller_token = caller.token
                    if route.refuse_query is not None and request.query_string:
                        route.refuse_query(request)
                    rates = self.rates
                    if rates is not None and rates.limited and counts:
                        if not route.is_of_caller:
                            event.count_call = rates.count
                        elif call.caller.profiles is not None:
                            for profile in call.caller.profiles & rates.limited.keys():
                                rates.count(profile)
                    if most is not None:
                        content = request.content
                        if content.is_eof():
                            call.body = content.read_nowait()
                            if len(call.body) > most:
                                refuse_too_large(len(call.body), most)
                        else:
                            call.body = await self._body_to_come(call, most)
                    if profile_of is not None:
                        call.profile = profile_of(request)
                        if not is_open:
                            call.enter(call.profile)
                    if most is not None and (
                        len(call.body) > SMALL_BODY or CONTENT_ENCODING in request.headers
                    ):
                        await in_flight.take_turn(event.profile or event.address)
                    answer = await handler(call)
                finally:
                    in_flight.number -= 1
            except BaseException as exc:
                self._record_refusal(call, exc)
                if not isinstance(exc, _ORDINARY) and is_of_an_algorithm(exc):
                    # The exception may be SystemExit, which would end the service.
                    raise RuntimeError("an algorithm raised it") from exc
                raise
            if route.secret:
                if isinstance(answer, bytes):
                    answer = NotStored(answer)
                else:
                    answer.headers[CACHE_CONTROL] = NO_STORE
            if not getattr(request.protocol, "batched", False):
                event.record()
            return answer

        return guarded

    def expecting(self, route: Gated) -> ExpectHandler:
        """Make the handler of `Expect: 100-continue` for a route, which runs before its handler."""

        async def expecting(request: web.Request) -> None:
            try:
                self.check_host(request)
                await expect(request, route.most)
            except BaseException as exc:
                event = self._begin(request, route)
                self._record_refusal(GatedCall(self, route, request, event), exc)
                raise

        return expecting

    def page(self, handler: Handler, policy: str = "frame-ancestors 'none'") -> Handler:
        """Guard a page for browsers with a Content-Security-Policy.

        By default, no other page may show it in a frame.
        """

        async def page(request: web.Request) -> Answer:
            response = await handler(request)
            if not isinstance(response, bytes):
                response.headers["Content-Security-Policy"] = policy
            return response

        return self.hosted(page)

    def hosted(self, handler: Handler) -> Handler:
        """Guard a handler against requests whose `Host` is not this service."""
        if self._hosts is None:
            return handler

        async def hosted(request: web.Request) -> Answer:
            self.check_host(request)
            return await handler(request)

        return hosted

    def check_host(self, request: web.Request) -> None:
        """Raise MisdirectedRequest if the `Host` of a request is not this service."""
        if self._hosts is not None:
            self._hosts.check(request)

    def counted(self, handler: Handler) -> Handler:
        """Count the requests of a handler as in flight; over the limit, they raise TooBusy."""
        in_flight = self._in_flight

        async def counted(request: web.Request) -> Answer:
            in_flight.enter()
            try:
                return await handler(request)
            finally:
                in_flight.number -= 1

        return counted

    def _begin(self, request: web.Request, route: Gated) -> AuditEvent:
        """Begin the audit event of a request with the facts in its head."""
        event = request[EVENT] = AuditEvent(
            route.operation, self.sink if route.is_recorded else None
        )
        if self.access is None and self.sink is None:
            return event
        if self.sink is not None:
            event.id_of = self.profile_id
        event.request_id = request_id(request)
        event.address = request.remote or ""
        if self._proxies:
            event.address = forwarded_address(request, self._proxies)
        if (tls := request.get_extra_info("ssl_object")) is not None:
            event.subject = certificate_subject(tls)
        if variables := request.match_info:
            kid, token = variables.get("kid", ""), variables.get("token", "")
            event.kid = kid if _KID.match(kid) else None
            event.token = token if _TOKEN.match(token) else None
        return event

    async def log_in(self, call: GatedCall, token: str) -> None:
        """Authenticate the caller of an open route; raises like TokenAccess, and Forbidden."""
        event, access = call.event, self.access
        if access is None:
            call.caller = ANYBODY
        else:
            call.caller = await self._identify(call, access, f"Bearer {token}" if token else "")
            event.who, event.roles = call.caller.name, call.caller.roles
            event.caller_token = call.caller.token
            call.caller.with_scopes(())

    def _record_refusal(self, call: GatedCall, exc: BaseException) -> None:
        """Record the failure of a call with its caller, profile and key, if they are known.

        Profile and key are the requested names, if they are well-formed.
        """
        request, event = call.request, call.event
        if isinstance(exc, KmsError):
            event.rule = exc.rule
        try:
            if event.profile is None:
                event.profile = self._asked_profile(request)
            known = ANYBODY if self.access is None else call.caller
            if not event.who and self.access is not None:
                known = self._caller_of_refusal(request, self.access) or known
                event.who, event.roles = known.name, known.roles
            kid, alias = event.asked
            event.kid = _name(event.kid or kid, _KID)
            event.alias = _name(event.alias or alias or request.query.get("alias"), _ALIAS)
            event.profile = _name(event.profile)
            event.admitted = known.covers((event.profile or "",))
            if event.admitted:
                _set_id(event, known)
        finally:  # also if a function of the protocol fails
            try:
                event.record(slug_of(exc))
            except AuditUnavailable as unrecorded:
                unrecorded.outcome = exc.outcome if isinstance(exc, KmsError) else None
                raise

    def _caller_of_refusal(self, request: web.Request, access: TokenAccess) -> Caller | None:
        """Return the caller of a refused call if it is known without a check of a token."""
        text = self._authorization(request)
        return access.authenticate_cached(text) or _caller_of_certificate(request, access, text)

    def _known_caller(self, request: web.Request, route: Gated) -> Caller | None:
        """Return the caller if its token is in the cache and has the scopes; else None."""
        if self.access is None or route.published is not None:
            return None
        known = self.access.authenticate_cached(self._authorization(request))
        if known is None or known.grants or known.has_no_role:
            return None
        return known if known.scopes.issuperset(route.scopes) else None

    async def _authenticate(self, access: TokenAccess, call: GatedCall) -> Caller:
        """Return the caller if it has the scopes; raises like TokenAccess, and Forbidden."""
        request, route, event = call.request, call.route, call.event
        if route.published is not None and (profile := await route.published(request)):
            return Caller("", _PUBLIC, frozenset({profile}))
        known = await self._identify(call, access, self._authorization(request))
        call.caller = known  # also if it lacks a scope: the line of the refusal names it
        event.who, event.roles, event.caller_token = known.name, known.roles, known.token
        return known.with_scopes(route.scopes)

    async def _identify(self, call: GatedCall, access: TokenAccess, text: str) -> Caller:
        """Return the caller of the connection's certificate or of a header; raises likewise."""
        known = _caller_of_certificate(call.request, access, text)
        if known is not None:
            return known
        return await access.authenticate(text, call.event.address, self._aside)

    async def _body_to_come(self, call: GatedCall, most: int) -> bytes:
        """Wait for a body that did not arrive with its head.

        Then authenticate the caller again: the body may take long, and the profile may belong to
        another customer by then.
        """
        request, refuse_type = call.request, call.route.refuse_type
        if refuse_type is not None:
            refuse_type(request)
        body = await read_body(request, self._in_flight, request.app[CONFIG].body_timeout, most)
        if self.access is not None and not call.route.is_open:
            call.caller = await self._authenticate(self.access, call)
        return body

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Do not count an unknown caller as in flight while it waits; raises TooBusy."""
        with self._in_flight.waiting():
            yield
        self._in_flight.check()  # other requests may have arrived


def _no_id(_: str) -> None:
    """Return no id: no store is open yet."""


def _name(text: str | None, form: re.Pattern[str] | None = None) -> str | None:
    """Return a name if a log may have it: bounded, well-formed and not a secret; else None."""
    if not text or len(text) > MAX_ALIAS or (form and not form.match(text)):
        return None
    return None if is_secret(text) else text


GATE: Final = web.AppKey("gate", Gate)


def _set_id(event: AuditEvent, known: Caller) -> None:
    """Set the id of the profile of a call, from the caller's token if it has one.

    By the end of the call, the name may belong to another profile.
    """
    if event.profile_id is None and event.profile is not None and event.id_of is not None:
        event.profile_id = known.ids.get(event.profile) or event.id_of(event.profile)


def _caller_of_certificate(request: web.Request, access: TokenAccess, text: str) -> Caller | None:
    """Return the caller of the connection's certificate, if the header sends no other token."""
    certificate = _certificate(request.get_extra_info("ssl_object"))
    return access.of_certificate(certificate, text) if certificate else None


def _certificate(tls: Any) -> bytes | None:
    """Return the caller's certificate in DER, or None without one."""
    certificate: bytes | None = tls.getpeercert(binary_form=True) if tls else None
    return certificate


def certificate_subject(tls: Any) -> str | None:
    """Return the subject of the caller's certificate (RFC 4514), or None without a certificate.

    Call this when a request begins: at its end, the connection may be closed. OpenSSL
    accepts subjects that the parser refuses, such as a Latin-1 TeletexString; a fingerprint then
    stands for the subject, so that the call still has its line.
    """
    certificate = _certificate(tls)
    if certificate is None:
        return None
    try:
        return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()
    except (ValueError, TypeError, x509.InvalidVersion):
        return f"sha256:{hashlib.sha256(certificate).hexdigest()}"
