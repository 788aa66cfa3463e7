"""The fast path: calls that are answered once they have come, without queue, task and router.

Between a request that is parsed and its handler, and from there to the socket, aiohttp has a queue,
two tasks and a router: more work than all that is around a signature here. A handler that never
waits needs none of it. It succeeds, or has done nothing: then the call goes the ordinary way from
its beginning, which meets the same again, and says what is wrong.

What is used of aiohttp here is in the tables of private_names.py, and checked at the start.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp import HttpVersion11, web, web_protocol
from aiohttp.http import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from minikms.events import record_together
from minikms.web.http import logs
from minikms.web.http.answers import head
from minikms.web.http.connection import LimitedRequestHandler
from minikms.web.http.limits import is_parsed_quickly

LOGGER = logging.getLogger(__name__)

# Gives the body of a success, or None where it would have to wait.
FastHandler: TypeAlias = Callable[[web.Request], bytes | None]

# None only where private_names.py says that it is missing.
_ErrInfo: Final[Any] = getattr(web_protocol, "_ErrInfo", None)


class FastRoute(NamedTuple):
    """A handler that never waits, and what the router would find for its calls.

    With `no_store`, no cache may keep the answer.
    """

    handler: FastHandler
    match: UrlMappingMatchInfo
    no_store: bool

    @classmethod
    def to(
        cls, handler: FastHandler, route: web.AbstractRoute, app: web.Application, *, no_store: bool
    ) -> "FastRoute":
        """The way to a handler that stands in for that of a route without variables."""
        match = UrlMappingMatchInfo({}, route)
        match.add_app(app)
        match.freeze()
        return cls(handler, match, no_store)


# By method and path.
FastRoutes: TypeAlias = Mapping[tuple[str, str], FastRoute]


def arrived_body(request: web.Request) -> bytes | None:
    """The body if it has arrived as a whole and is parsed quickly; it stays there to be read."""
    content: Any = request.content
    body = b"".join(content._buffer)
    if not content.is_eof() or len(body) > request.client_max_size or not is_parsed_quickly(body):
        return None
    return body


class FastRequestHandler(LimitedRequestHandler):
    """A connection whose calls are answered on the fast path, where there is a route for them."""

    __slots__ = ("_batch", "_routes")

    def __init__(
        self, *args: Any, routes: FastRoutes, batch: "RequestBatch", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._routes = routes
        self._batch = batch

    @property
    def whole_heads(self) -> bool:
        """Not once the fast path is closed: heads then say that the connection ends."""
        return bool(self._routes)

    def _wake(self, waiter: "asyncio.Future[None]") -> None:
        """Have the request answered in a batch; the connection does not rest meanwhile."""
        route = self._fast_route()
        if route is None:
            super()._wake(waiter)
        else:
            self._waiter = None
            self._batch.add(self._loop, _Call(self, waiter, route))

    def _fast_route(self) -> FastRoute | None:
        """The route of the request that has come to a connection at rest, if it has one."""
        message: Any
        message, payload = self._messages[0]
        if type(message) is _ErrInfo or len(self._messages) > 1:
            return None
        route = self._routes.get((message.method, message.path))
        if (
            route is None
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or "Expect" in message.headers
            or not payload.is_eof()
            or self._reading_paused
            or self._paused  # the caller does not read its answers
        ):
            return None
        return route

    def compute(self, call: "_Call") -> bool:
        """Do all but record a call and answer it; False where it goes the ordinary way."""
        if self._force_close or call.rests.done():  # the caller is gone
            call.rests.cancel()
            return False
        rested: Any = self  # with all that aiohttp's has none of at other times
        message, payload = self._messages[0]
        writer = StreamWriter(self, self._loop)
        request = rested._request_factory(message, payload, self, writer, self._task_handler)
        request._match_info = call.route.match
        known = logs.new_request_id(request)
        try:
            body = None if self._close or self._last else call.route.handler(request)
        except BaseException:  # an algorithm may raise SystemExit
            body = None  # the ordinary way fails likewise, and says why
        if body is None:
            call.go_the_ordinary_way()
            return False
        call.request = request
        no_store = call.route.no_store
        call.answer = head(len(body), known, self._form, no_store=no_store) + body
        return True

    def send(self, call: "_Call") -> None:
        """Answer a call that was recorded."""
        rested: Any = self
        _, payload = self._messages.popleft()
        if payload is self._incoming:  # a connection at rest keeps no body
            self._incoming = EMPTY_PAYLOAD
        rested._parser.message_consumed()
        rested._manager.requests_count += 1
        rested.transport.write(call.answer)
        # From now on, as aiohttp counts the time that a connection may rest.
        self._keepalive = True
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(
                self._next_keepalive_close_time, self._process_keepalive
            )
        if self._observer is not None:
            self._observer.answered(call.request, 200, perf_counter() - call.begun)
        if rested._logging_enabled:
            seconds = perf_counter() - call.begun
            rested.access_logger.write(call.request, 200, len(call.answer), seconds)
        if self._messages:  # came meanwhile
            call.rests.set_result(None)
        else:
            self._waiter = call.rests


class RequestBatch:
    """The calls that have come in one turn of the event loop: each step is taken for all.

    Sockets are read, then keys sign, then the audit log is written, then answers leave. A step of
    one call leaves the processor much of what the same step of the next call needs, and the lines
    of the audit log are written in one piece. Without this, a call of 8 connections takes 1.14
    times as much of the processor, and 1.3 times with an audit log (docs/internals/fast-path.md).
    What fails of one call is no matter of the others.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def add(self, loop: asyncio.AbstractEventLoop, call: "_Call") -> None:
        """Have a call answered before the loop waits for others."""
        if not self._calls:
            loop.call_soon(self._answer)
        self._calls.append(call)

    def _answer(self) -> None:
        calls, self._calls = self._calls, []
        computed = []
        for call in calls:
            try:
                if call.connection.compute(call):
                    computed.append(call)
            except Exception:
                LOGGER.exception("a call goes the ordinary way, since the fast path failed")
                call.go_the_ordinary_way()
        try:
            record_together([call.request[logs.EVENT] for call in computed])
        except Exception:  # the ordinary way fails likewise, and says why
            for call in computed:
                call.go_the_ordinary_way()
            return
        for call in computed:
            try:
                call.connection.send(call)
            except Exception:
                LOGGER.exception("a connection ends, since the fast path failed")
                call.connection.force_close()  # it is not known how far the answer came
                call.rests.cancel()


class _Call:
    """A call on the fast path.

    `rests` is what the connection's task waits for at rest. `begun` is by `perf_counter`.
    """

    __slots__ = ("answer", "begun", "connection", "request", "rests", "route")

    request: web.Request
    answer: bytes

    def __init__(
        self, connection: FastRequestHandler, rests: "asyncio.Future[None]", route: FastRoute
    ) -> None:
        self.connection = connection
        self.rests = rests
        self.route = route
        self.begun = perf_counter()

    def go_the_ordinary_way(self) -> None:
        """Wake up the connection's task, which begins with the call again."""
        if not self.rests.done():
            self.rests.set_result(None)
