"""Starts the handlers of requests in batches, and sends their answers.

Between a parsed request, its handler and the socket, aiohttp has a queue, two tasks and a router,
which take longer than all work of this service around a signature. So a batch starts the handler of
a request at once. If the handler ends soon, the batch sends its answer. If it waits for long or
raises, aiohttp's own task for the request awaits it.

The connection (connection.py) starts and answers its own call; here, all calls of a turn are taken
through each step together.
"""

import asyncio
import logging
import math
import sys
from collections.abc import Coroutine
from functools import partial
from time import perf_counter
from typing import Any, Final, Protocol

from aiohttp import web
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from minikms.events import record_together
from minikms.http import logs
from minikms.http.answers import Answer, Handler

LOGGER = logging.getLogger(__name__)

# Seconds that a call may wait before aiohttp's task continues it.
_PATIENCE: Final = 0.02

# From Python 3.12 on, a task can take its first step when it is made.
_EAGER: Final = sys.version_info >= (3, 12)


EVERY_PATH: Final = "/{path:.+}"
"""The path of a route for all methods and all paths except `/`."""
_EVERY_FORM: Final = "/{path}"


class PlainRoutes:
    """Finds the routes whose paths have no variables, faster than the router.

    A route of EVERY_PATH gets all other paths, without its variable. Without one, `handle` asks the
    router.
    """

    def __init__(self, app: web.Application, handle: Any) -> None:
        self._handle: Handler = handle
        # Handlers, each with the router's result, by method and path.
        self._routes: dict[tuple[str, str], tuple[Handler, UrlMappingMatchInfo]] = {}
        self._every: tuple[Handler, UrlMappingMatchInfo] | None = None
        for route in app.router.routes():
            info = route.resource.get_info() if route.resource is not None else {}
            path, form = info.get("path"), info.get("formatter")
            if path is None and form != _EVERY_FORM:
                continue
            match = UrlMappingMatchInfo({}, route)
            match.add_app(app)
            match.freeze()
            handler: Any = route.handler
            if path is None:
                self._every = handler, match
            else:
                self._routes[route.method, path] = handler, match

    def start(self, request: web.Request, method: str, target: str) -> Coroutine[Any, Any, Answer]:
        """Return the coroutine that answers a request without `Expect`."""
        path = target.partition("?")[0]
        found = self._routes.get((method, path)) or self._routes.get(("*", path)) or self._every
        if found is None:
            return self._handle(request)
        handler, request._match_info = found
        return handler(request)


class Connection(Protocol):
    """A connection, as its batch sees it (http/connection.py)."""

    def start_call(self, call: "Call") -> bool:
        """Start the handler of a call; False if the caller has left, or the connection ends."""
        ...

    def leave(self, call: "Call") -> None:
        """Leave a call that has not started to aiohttp's task."""

    def hand_over(self, call: "Call") -> None:
        """Let aiohttp's task await a call that waits or has failed, or send a response."""

    def send(self, call: "Call") -> None:
        """Answer a recorded call, or hand it over if its answer is not a small body."""

    def force_close(self) -> Any:
        """End the connection now."""


class RequestBatch:
    """Takes each step for all calls of one turn of the event loop.

    Sockets are read, then keys sign, then the audit log is written, then answers leave. A step of
    one call leaves the processor's caches warm for the same step of the next call, and the lines
    of the audit log are written at once. Without batches, a call on 8 connections takes 1.14
    times as much processor time, and 1.3 times with an audit log (internals/request-batches.md).
    The failure of one call does not affect the others.
    """

    def __init__(self) -> None:
        self._calls: list[Call] = []
        # The call that has waited longest first.
        self._waiting: dict[Call, None] = {}
        # Calls that have waited, to be answered in the next turn.
        self._ended: list[Call] = []

    def add(self, loop: asyncio.AbstractEventLoop, call: "Call") -> None:
        """Start a call in this turn of the loop, with all others."""
        if not self._calls:
            loop.call_soon(self._start, loop)
        self._calls.append(call)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        calls, self._calls = self._calls, []
        started = []
        for call in calls:
            try:
                if call.connection.start_call(call):
                    started.append(call)
            except Exception:
                LOGGER.exception("a request is left to aiohttp, since it could not be started")
                call.connection.leave(call)
        if _EAGER:
            self._answer(started)
        else:
            loop.call_soon(self._answer, started)  # after the first step of each task

    def _answer(self, calls: "list[Call]") -> None:
        ended = []
        events = []
        waits = False
        for call in calls:
            task = call.task
            if not task.done():
                waits = True
                self._waiting[call] = None
                task.add_done_callback(partial(self._end, call))
            elif not task.cancelled() and task.exception() is None:
                ended.append(call)
                if (event := call.request.get(logs.EVENT)) is not None:
                    events.append(event)
            else:
                call.connection.hand_over(call)
        if waits:
            asyncio.get_running_loop().call_later(_PATIENCE, self.hand_over, perf_counter())
        try:
            record_together(events)
        except Exception:  # each event is then recorded alone, and may fail with its reason
            for call in ended:
                call.connection.hand_over(call)
            return
        for call in ended:
            try:
                call.connection.send(call)
            except Exception:
                LOGGER.exception("a connection ends, since an answer could not be sent")
                call.connection.force_close()  # a part of the answer may have been sent
                call.rests.cancel()

    def _end(self, call: "Call", task: "asyncio.Task[Answer]") -> None:
        """Answer a call that has waited, together with all others that end in this turn."""
        if call not in self._waiting:  # handed over
            return
        del self._waiting[call]
        if not self._ended:
            task.get_loop().call_soon(self._answer_ended)
        self._ended.append(call)

    def _answer_ended(self) -> None:
        calls, self._ended = self._ended, []
        self._answer(calls)

    def hand_over(self, until: float = math.inf) -> None:
        """Let aiohttp's tasks await the calls that still wait, if they began before `until`."""
        for call in list(self._waiting):
            if call.begun > until:
                break
            if not call.task.done():
                del self._waiting[call]
                call.connection.hand_over(call)


class Call:
    """A request that is started in a batch.

    `rests` is the future that aiohttp's task awaits while the connection is idle. `begun` is a time
    of `perf_counter`.
    """

    __slots__ = ("begun", "connection", "request", "rests", "task")

    request: web.Request
    task: "asyncio.Task[Answer]"

    def __init__(self, connection: Connection, rests: "asyncio.Future[None]") -> None:
        self.connection = connection
        self.rests = rests
        self.begun = perf_counter()


def retrieve(task: "asyncio.Task[Answer]") -> None:
    """Retrieve a failure that no task awaits; the gate has recorded it."""
    if not task.cancelled():
        task.exception()
