"""The gate that every call passes: who calls, whether they may, and what is recorded."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from aiohttp import web

from minikms.access.policy import ANYBODY, Caller, TokenAccess
from minikms.access.tokens import ID_PATTERN
from minikms.errors import AuditUnavailable, KmsError
from minikms.events import CURRENT, AuditEvent, AuditSink
from minikms.http import callers
from minikms.http.answers import CACHE_CONTROL, NO_STORE, Answer, NotStored
from minikms.http.hosts import Hosts
from minikms.http.limits import InFlight, expect
from minikms.http.logs import EVENT, request_id
from minikms.http.plain_routes import Handler
from minikms.http.problems import slug_of
from minikms.http.tracebacks import is_of_an_algorithm
from minikms.records import KID_PATTERN

_KID, _TOKEN = map(re.compile, (KID_PATTERN, ID_PATTERN))

ExpectHandler: TypeAlias = Callable[[web.Request], Awaitable[None]]
# The profile of a call that is refused, None where it names none.
AskedProfile: TypeAlias = Callable[[web.Request], str | None]

_ORDINARY: Final = (Exception, asyncio.CancelledError, GeneratorExit)

# Who asks for the public keys of a profile that publishes them.
_PUBLIC: Final = frozenset({"keys:read"})


def _authorization(request: web.Request) -> str:
    """What a caller brings, empty where it brings nothing."""
    return ", ".join(request.headers.getall("Authorization", ()))


class Gated(NamedTuple):
    """The facts of a route that the gate needs.

    `operation` is its name in the audit log and the metrics; callers need all of `scopes`. With
    `secret`, no cache may keep a success. `published` gives the profile that everybody may read
    by this call, None where the caller must be authenticated.
    """

    operation: str
    scopes: tuple[str, ...]
    secret: bool = False
    published: Callable[[web.Request], Awaitable[str | None]] | None = None


class Gate:
    """Passes each call of a route on its way in and out.

    `access` authenticates callers, None if no token is needed; `sink` is the audit log, None
    without one. A handler is guarded once, when its route is added. A protocol says by
    `asked_profile` and `authorization` where a request has its profile, and its token as an
    Authorization header (RFC 6750 section 2.1).
    """

    def __init__(
        self,
        in_flight: InFlight,
        proxies: tuple[callers.Network, ...],
        hosts: Hosts | None,
        asked_profile: AskedProfile,
        authorization: Callable[[web.Request], str] = _authorization,
    ) -> None:
        self.access: TokenAccess | None = None
        self.sink: AuditSink | None = None
        self._in_flight = in_flight
        self._proxies = proxies
        self._hosts = hosts
        self._authorization = authorization
        self._asked_profile = asked_profile

    def guard(self, route: Gated, handler: Handler) -> Handler:
        """Guard the handler of a route; a call is recorded before its answer."""
        scopes, secret, may_be_public = route.scopes, route.secret, route.published is not None

        async def guarded(request: web.Request) -> Answer:
            event = self._begin(request, route)
            CURRENT.set(event)
            try:
                self.check_host(request)
                self._in_flight.enter()
                try:
                    known = ANYBODY
                    if (access := self.access) is not None:
                        cached = None
                        if not may_be_public:
                            cached = access.authenticate_cached(self._authorization(request))
                        if cached is None or not cached.scopes.issuperset(scopes):
                            cached = await self._authenticate(access, request, event, route)
                        known = cached
                        event.who = known.name
                        if not request.content.is_eof():
                            again: Callable[[], Awaitable[Caller]] = partial(
                                self._authenticate, access, request, event, route
                            )
                            request[callers.AUTHENTICATE] = again
                    # Set for anybody, too: a look-up that finds nothing takes longer.
                    request[callers.CALLER] = known
                    answer = await handler(request)
                finally:
                    self._in_flight.number -= 1
            except BaseException as exc:
                self._record_refusal(request, event, exc)
                if not isinstance(exc, _ORDINARY) and is_of_an_algorithm(exc):
                    # SystemExit, say, which would end the service.
                    raise RuntimeError("an algorithm raised it") from exc
                raise
            if secret:
                if isinstance(answer, bytes):
                    answer = NotStored(answer)
                else:
                    answer.headers[CACHE_CONTROL] = NO_STORE
            if not getattr(request.protocol, "batched", False):
                event.record()
            return answer

        return guarded

    def expecting(self, route: Gated) -> ExpectHandler:
        """What has the body sent that a caller of a route holds back, before its handler comes."""

        async def expecting(request: web.Request) -> None:
            try:
                self.check_host(request)
                await expect(request)
            except BaseException as exc:
                self._record_refusal(request, self._begin(request, route), exc)
                raise

        return expecting

    def page(self, handler: Handler) -> Handler:
        """The handler of a page for people, which no other page may show in a frame."""

        async def page(request: web.Request) -> Answer:
            response = await handler(request)
            if not isinstance(response, bytes):
                response.headers["Content-Security-Policy"] = "frame-ancestors 'none'"
            return response

        return self.hosted(page)

    def hosted(self, handler: Handler) -> Handler:
        """The handler for requests whose `Host` is one of this service's."""
        if self._hosts is None:
            return handler

        async def hosted(request: web.Request) -> Answer:
            self.check_host(request)
            return await handler(request)

        return hosted

    def check_host(self, request: web.Request) -> None:
        """Raise MisdirectedRequest where the `Host` of a request is none of this service's."""
        if self._hosts is not None:
            self._hosts.check(request)

    def counted(self, handler: Handler) -> Handler:
        """The handler with its requests counted among those under way; raises TooBusy."""
        in_flight = self._in_flight

        async def counted(request: web.Request) -> Answer:
            in_flight.enter()
            try:
                return await handler(request)
            finally:
                in_flight.number -= 1

        return counted

    def _begin(self, request: web.Request, route: Gated) -> AuditEvent:
        """What the request does, as far as it says so itself."""
        event = AuditEvent(route.operation, self.sink)
        request[EVENT] = event
        if self.access is not None or self.sink is not None:
            self._describe(request, event)
            if request.match_info:
                event.kid = _asked(request, "kid", _KID)
                event.token = _asked(request, "token", _TOKEN)
        return event

    def _record_refusal(self, request: web.Request, event: AuditEvent, exc: BaseException) -> None:
        """Have it written down how a call has ended, and who made it, as far as that is known."""
        try:
            if event.profile is None:
                event.profile = self._asked_profile(request)
            if not event.who and self.access is not None:
                known = self.access.authenticate_cached(self._authorization(request))
                event.who = known.name if known else ""
        finally:  # of a protocol that fails there, too
            try:
                event.record(slug_of(exc))
            except AuditUnavailable as unrecorded:
                unrecorded.outcome = exc.outcome if isinstance(exc, KmsError) else None
                raise

    def _describe(self, request: web.Request, event: AuditEvent) -> None:
        event.request_id = request_id(request)
        event.address = callers.address(request, self._proxies)
        event.subject = callers.certificate_subject(request)

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Let a caller wait who is not known yet, and so takes no place from those who are."""
        with self._in_flight.waiting():
            yield
        self._in_flight.check()  # others have come meanwhile

    async def _authenticate(
        self,
        access: TokenAccess,
        request: web.Request,
        event: AuditEvent,
        route: Gated,
    ) -> Caller:
        """Who calls, where they have the scopes; raises as TokenAccess does, and Forbidden."""
        if route.published is not None and (published := await route.published(request)):
            return Caller("", _PUBLIC, frozenset({published}))
        text = self._authorization(request)
        found = await access.authenticate(text, event.address, self._aside)
        event.who = found.name
        for scope in route.scopes:
            found.require(scope)
        return found


GATE: Final = web.AppKey("gate", Gate)


def _asked(request: web.Request, name: str, form: re.Pattern[str]) -> str | None:
    """What the path names, where it has the form."""
    text = request.match_info.get(name, "")
    return text if form.match(text) else None
