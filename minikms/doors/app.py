"""The application of a door, which has its routes behind the gate."""

import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeAlias

from aiohttp import web

from minikms.access.policy import SCOPES, TokenAccess
from minikms.config import DoorConfig
from minikms.doors.protocol import Door, DoorCall, DoorRoute, DoorService
from minikms.errors import InternalError, KmsError, ProfileNotFound
from minikms.events import AuditSink
from minikms.http.answers import Answer, AnswerForm, Handler
from minikms.http.gate import Gate, Gated, enter, receive
from minikms.http.hosts import known_hosts
from minikms.http.proxies import parse_proxies
from minikms.http.server import KmsRunner
from minikms.http.state import CONFIG, IN_FLIGHT, OBSERVER, SHUTDOWN, UNREAD
from minikms.http.tracebacks import loggable
from minikms.records import PROFILE_PATTERN
from minikms.startup_errors import PluginError

LOGGER = logging.getLogger(__name__)

_PROFILE: Final = re.compile(PROFILE_PATTERN)

_Expect: TypeAlias = Callable[[web.Request], Any]


class DoorApp:
    """An open door; it shares the limits and the shutdown of the service's application, `main`.

    Raises PluginError if a route has an unknown scope, or two routes have the same name.
    """

    def __init__(self, door: Door, where: DoorConfig, main: web.Application) -> None:
        self.where = where
        self.title = door.title
        self.gate = Gate(
            main[IN_FLIGHT],
            parse_proxies(main[CONFIG].trusted_proxy),
            known_hosts(main[CONFIG], where.host),
            partial(_asked_profile, door),
            partial(_authorization, door),
        )
        self._door = door
        self._main = main
        most = main[CONFIG].max_body
        self._app = web.Application(client_max_size=min(most, door.max_body or most))
        self._app[CONFIG], self._app[IN_FLIGHT] = main[CONFIG], main[IN_FLIGHT]
        self._app[UNREAD] = main[UNREAD]
        self._form = AnswerForm(door.content_type, door.request_id_header, partial(_respond, door))
        self._service: DoorService
        self._handlers: dict[str, Handler] = {}
        self._expecting: dict[str, _Expect] = {}
        for route in door.routes:
            self._guard(route)
        answer: Any = self._answer
        for path, name in (("/", door.name), ("/{path:.+}", None)):
            self._app.router.add_route("*", path, answer, name=name, expect_handler=self._expect)

    def open(
        self, service: DoorService, access: TokenAccess | None, sink: AuditSink | None
    ) -> None:
        """Give the door the service's keys, callers and audit log."""
        self._service = service
        self.gate.access, self.gate.sink = access, sink

    def runner(self, **kwargs: Any) -> KmsRunner:
        """Return its runner; `kwargs` go to aiohttp's AppRunner."""
        main = self._main
        return KmsRunner(
            self._app, main[CONFIG], main[SHUTDOWN], main.get(OBSERVER), form=self._form, **kwargs
        )

    def _guard(self, route: DoorRoute) -> None:
        name = f"{self._door.name}:{route.operation}"
        if unknown := {route.scope, *route.also} - set(SCOPES):
            raise PluginError(
                f"The route {name} has the unknown scope {min(unknown)!r}. The scopes are: "
                f"{', '.join(SCOPES)}."
            )
        if route.operation in self._handlers:
            raise PluginError(f"Two routes have the name {name}.")

        async def handle(request: web.Request) -> bytes:
            body = await receive(request, request.client_max_size)
            profile = self._door.profile(request)
            if not _PROFILE.match(profile):
                raise ProfileNotFound()
            call = DoorCall(request, body, enter(request, profile), self._service)
            answer: Any = await route.handler(call)
            if not isinstance(answer, bytes):
                raise TypeError(f"The handler of {name} does not return bytes.")
            return answer

        # No cache may keep the answers of a door.
        gated = Gated(name, (route.scope, *route.also), secret=True)
        self._handlers[route.operation] = self.gate.guard(gated, handle)
        self._expecting[route.operation] = self.gate.expecting(gated)

    async def _answer(self, request: web.Request) -> Answer:
        try:
            route = self._door.route_of(request)
        except KmsError:
            self.gate.check_host(request)
            raise
        return await self._handlers[route.operation](request)

    async def _expect(self, request: web.Request) -> None:
        await self._expecting[self._door.route_of(request).operation](request)


DOORS: Final[web.AppKey[list[DoorApp]]] = web.AppKey("doors")
"""The open doors of a service."""


def _authorization(door: Door, request: web.Request) -> str:
    token = door.token(request)
    return f"Bearer {token}" if token else ""


def _asked_profile(door: Door, request: web.Request) -> str | None:
    try:
        name = door.profile(request)
    except KmsError:
        return None
    return name if _PROFILE.match(name) else None


def _respond(door: Door, error: KmsError) -> web.Response:
    try:
        status, body, headers = door.answer(error)
        return web.Response(status=status, body=body, headers=headers)
    except Exception as exc:
        LOGGER.error("the door %s cannot answer an error", door.name, exc_info=loggable(exc))
        return web.Response(status=InternalError.status)
