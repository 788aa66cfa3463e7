"""The application of a door: its routes, behind the gate."""

import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from aiohttp import web

from minikms.access.callers import SCOPES
from minikms.config import DoorConfig
from minikms.credentials.service import Credentials
from minikms.doors.keys import KeysOfDoor
from minikms.doors.protocol import ANY_TOKEN, LOGIN, OPEN, Door, DoorAnswer, DoorCall, DoorRoute
from minikms.doors.service import DoorService
from minikms.errors import InternalError, KmsError, ProfileNotFound
from minikms.http.answers import Answer, AnswerForm, BodyAnswer, Handler
from minikms.http.body_bounds import SMALL_BODY
from minikms.http.gate import Gate, Gated, GatedCall
from minikms.http.hosts import known_hosts
from minikms.http.logs import request_id
from minikms.http.proxies import parse_proxies
from minikms.http.request_batches import EVERY_PATH
from minikms.http.server import KmsRunner
from minikms.http.state import CONFIG, IN_FLIGHT, OBSERVERS, PARAMETERS, SHUTDOWN, UNREAD
from minikms.http.tracebacks import loggable
from minikms.keys.service import KeyService
from minikms.profile_settings import PROFILE_PATTERN
from minikms.startup_errors import PluginError

LOGGER = logging.getLogger(__name__)

_PROFILE: Final = re.compile(PROFILE_PATTERN)
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

# In place of a scope, for a route that needs no token.
_NO_TOKEN: Final = (OPEN, LOGIN)

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
        self._most = min(most, door.max_body or most)
        self._app = web.Application(client_max_size=self._most)
        self._app[CONFIG], self._app[IN_FLIGHT] = main[CONFIG], main[IN_FLIGHT]
        self._app[UNREAD] = main[UNREAD]
        self._form = AnswerForm(door.content_type, door.request_id_header, partial(_respond, door))
        self.service: DoorService
        self._handlers: dict[str, Handler] = {}
        self._expecting: dict[str, _Expect] = {}
        for route in door.routes:
            self._guard(route)
        answer: Any = self._answer
        for path, name in (("/", door.name), (EVERY_PATH, None)):
            self._app.router.add_route("*", path, answer, name=name, expect_handler=self._expect)

    def open(self, keys: KeyService, credentials: Credentials, main: Gate) -> None:
        """Give the door the service's keys, and its callers, rates and audit log."""
        self.service = KeysOfDoor(keys.owning(self._door.alias_prefixes), credentials)
        self.gate.access, self.gate.rates, self.gate.sink = main.access, main.rates, main.sink
        self.gate.profile_id = main.profile_id

    def runner(self, **kwargs: Any) -> KmsRunner:
        """Return its runner; `kwargs` go to aiohttp's AppRunner."""
        main, observers = self._main, self._main[OBSERVERS]
        return KmsRunner(
            self._app,
            main[CONFIG],
            main[SHUTDOWN],
            observers,
            form=self._form,
            list_method=self._door.list_method,
            **kwargs,
        )

    def _guard(self, route: DoorRoute) -> None:
        name = f"{self._door.name}:{route.operation}"
        is_open = route.scope in _NO_TOKEN
        scopes = route.also if is_open or route.scope == ANY_TOKEN else (route.scope, *route.also)
        if unknown := set(scopes) - set(SCOPES):
            raise PluginError(
                f"The route {name} has the unknown scope {min(unknown)!r}. The scopes are: "
                f"{', '.join(SCOPES)}."
            )
        if route.operation in self._handlers:
            raise PluginError(f"Two routes have the name {name}.")

        async def handle(gated: GatedCall) -> Answer:
            request = gated.request
            # The gate has read the id if the call is recorded.
            known = gated.event.request_id or request_id(request)
            parameters = request.get(PARAMETERS, _NOTHING)
            call = DoorCall(request, gated.body, gated.profile, self.service, known, parameters)
            call._gated = gated
            answer: Any = await route.handler(call)
            if isinstance(answer, bytes):
                return answer
            if not isinstance(answer, DoorAnswer):
                raise TypeError(f"The handler of {name} returns neither bytes nor a DoorAnswer.")
            status, body, headers = answer
            response = BodyAnswer(status=status, body=body or None, headers=headers)
            if body and "Content-Type" not in response.headers:
                response.headers["Content-Type"] = self._door.content_type
            return response

        # No cache may keep the answers of a door.
        gated = Gated(
            name,
            scopes,
            secret=True,
            is_open=is_open,
            is_recorded=route.scope != OPEN,
            most=min(self._most, SMALL_BODY) if is_open else self._most,
            profile_of=self._profile,
        )
        self._handlers[route.operation] = self.gate.guard(gated, handle)
        self._expecting[route.operation] = self.gate.expecting(gated)

    def _profile(self, request: web.Request) -> str:
        profile = self._door.profile(request)
        if not _PROFILE.match(profile):
            raise ProfileNotFound()
        return profile

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


def _respond(door: Door, request: web.BaseRequest, error: KmsError) -> web.Response:
    try:
        status, body, headers = door.answer_to(request, error)
        return web.Response(status=status, body=body, headers=headers)
    except Exception as exc:
        LOGGER.error("the door %s cannot answer an error", door.name, exc_info=loggable(exc))
        return web.Response(status=InternalError.status)
