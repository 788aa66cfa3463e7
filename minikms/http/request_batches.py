"""Starts the handlers of requests in batches, and sends their answers.

Between a parsed request, its handler and the socket, aiohttp has a queue, two tasks and a router,
which take longer than all work of this service around a signature. So a batch starts the handler of
a request at once. If the handler ends soon, the batch sends its answer. If it waits for long or
raises, aiohttp's own task for the request awaits it.

It is over 300 lines, since a connection and its batch change the state of the same call, and the
way of a call through them is read in one place.

Private names of aiohttp that are used here are in the tables of private_names.py, and checked at
the start.
"""

import asyncio
import logging
import math
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from time import perf_counter
from typing import Any, Final

from aiohttp import HttpVersion11, web, web_protocol
from aiohttp.http import StreamWriter
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from minikms.events import record_together
from minikms.http import logs
from minikms.http.answers import Answer, AnswerForm, Handler, head
from minikms.http.connection import ConnectionLimits, LimitedRequestHandler
from minikms.http.state import Observer, Shutdown
from minikms.http.unread import SMALL

LOGGER = logging.getLogger(__name__)

# None only if private_names.py reports it as missing.
_ErrInfo: Final[Any] = getattr(web_protocol, "_ErrInfo", None)

# Seconds that a call may wait before aiohttp's task continues it.
_PATIENCE: Final = 0.02

AIOHTTP: Final = {"keepalive_timeout": 3.2e7}
"""The options of aiohttp that batches need: a batch cannot set its timer of idle connections.

So connections have a timer of their own, and aiohttp's fires after a year.
"""

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


class BatchedRequestHandler(LimitedRequestHandler):
    """A connection whose requests are started in batches."""

    __slots__ = (
        "_batch",
        "_idle_timer",
        "_logs",
        "_make_request",
        "_paused_reading",
        "_rests_since",
        "_routes",
        "_shutdown",
        "_task",
        "batched",
        "started",
    )

    def __init__(
        self,
        server: web.Server,
        form: AnswerForm,
        observer: Observer | None,
        options: Any,
        limits: ConnectionLimits,
        give_back: Callable[[], None],
        make_request: Callable[..., web.Request],
        routes: PlainRoutes,
        batch: "RequestBatch",
        shutdown: Shutdown,
    ) -> None:
        super().__init__(server, form, observer, options, limits, give_back)
        self._rests_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        # The task of `start`, while the connection is open.
        self._task: asyncio.Task[Any] | None = None
        self._paused_reading = False
        self._logs = self.access_logger is not None and self.access_logger.enabled
        self._make_request = make_request
        self._routes = routes
        self._batch = batch
        self._shutdown = shutdown
        # The call that aiohttp's task continues.
        self.started: Call | None = None
        # While it is true, the batch records the success of the call.
        self.batched = False

    @property
    def whole_heads(self) -> bool:
        """Tell whether heads may be written in one piece: False if they announce a close."""
        return not (self._last or self._shutdown.begun)

    async def start(self) -> None:
        """Answer requests that no batch answers; this is aiohttp's task of the connection."""
        self._task = asyncio.current_task()
        await super().start()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._rests_since = self.loop.time()
        self._end_rest()  # sets the timer

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timer, and cancel aiohttp's task if it was woken but has not run."""
        woken = self._waiter is not None and self._waiter.done()
        task, call = self._task, self.started
        self._task = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)
        if woken and task is not None:  # None once the connection was lost before
            task.cancel()
            if call is not None:
                call.task.add_done_callback(_retrieve)

    def _end_rest(self) -> None:
        """Close the connection if it was idle for too long; else check again later."""
        now, waiter = self.loop.time(), self._waiter
        rests = waiter is not None and not waiter.done()
        end = (self._rests_since if rests else now) + self._limits.idle_timeout
        if now < end:
            self._idle_timer = self.loop.call_at(end, self._end_rest)
        else:
            self.force_close()

    def log_access(
        self, request: web.BaseRequest, response: web.StreamResponse, time: float | None
    ) -> None:
        """Log an answer that aiohttp's task has sent; the connection is then idle."""
        super().log_access(request, response, time)
        self._rests_since = self.loop.time()

    def pause_reading(self) -> None:
        """Stop reading for now."""
        self._paused_reading = True
        super().pause_reading()

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Resume reading if it was paused; aiohttp calls this for every body that is read."""
        if self._paused_reading:
            self._paused_reading = False
            super().resume_reading(resume_parser)

    def _wake(self, waiter: "asyncio.Future[None]") -> None:
        """Start the request in a batch if it is complete, and no other one waits.

        The connection then does not count as idle.
        """
        message: Any
        message, payload = self._messages[0]
        if (
            type(message) is _ErrInfo
            or len(self._messages) > 1
            or message.version != HttpVersion11
            or message.upgrade
            or message.method == "HEAD"
            or "Expect" in message.headers
            or not payload.is_eof()
            or self._paused_reading
            or self.writing_paused  # the caller does not read its answers
        ):
            super()._wake(waiter)
            return
        self._waiter = None
        self._batch.add(self.loop, Call(self, waiter))

    def start_call(self, call: "Call") -> bool:
        """Start the handler of a call; False if the caller has left, or the connection ends."""
        if self.transport is None or call.rests.done():
            call.rests.cancel()
            return False
        if self._last or self._shutdown.begun:
            self.leave(call)
            return False
        message: Any
        message, payload = self._messages[0]
        writer = StreamWriter(self, self.loop)
        call.request = request = self._make_request(message, payload, self, writer, self._task)
        self.batched = True
        coroutine = self._routes.start(request, message.method, message.path)
        if sys.version_info >= (3, 12):
            call.task = asyncio.Task(coroutine, loop=self.loop, eager_start=True)
        else:
            call.task = self.loop.create_task(coroutine)
        return True

    def leave(self, call: "Call") -> None:
        """Leave a call that has not started to aiohttp's task."""
        self.batched = False
        if not call.rests.done():
            self._wake_task(call)

    def hand_over(self, call: "Call") -> None:
        """Let aiohttp's task await a call that waits or has failed, or send a response."""
        self.batched = False
        if self.transport is None or call.rests.done():  # the caller has left
            call.rests.cancel()
            call.task.add_done_callback(_retrieve)
            return
        self.started = call
        self._wake_task(call)

    def send(self, call: "Call") -> None:
        """Answer a recorded call, or hand it over if its answer is not a small body."""
        body = call.task.result()
        # aiohttp's task sends a large answer as its caller reads.
        if not isinstance(body, bytes) or len(body) > SMALL or self._last or self._shutdown.begun:
            self.hand_over(call)
            return
        self.batched = False
        transport = self.transport
        if transport is None or call.rests.done():  # the caller has left
            call.rests.cancel()
            return
        parser: Any = self._parser  # not None until the connection is lost
        message: Any
        message, payload = self._messages.popleft()
        if payload is self._incoming:  # an idle connection keeps no body
            self._incoming = EMPTY_PAYLOAD
        parser.message_consumed()
        self.server.requests_count += 1
        is_last = message.should_close
        answer = head(body, call.request, self._form, is_last) + body
        transport.write(answer)
        self._rests_since = self.loop.time()
        if self._observer is not None:
            self._observer.answered(call.request, 200, perf_counter() - call.begun)
        if self._logs:
            logger: Any = self.access_logger
            logger.write(call.request, 200, len(answer), perf_counter() - call.begun)
        if is_last:
            self._waiter = call.rests
            self.force_close()  # sends the answer first
        elif self._messages:  # arrived meanwhile
            self._wake_task(call)
        else:
            self._waiter = call.rests

    def _wake_task(self, call: "Call") -> None:
        """Wake aiohttp's task, which removes the future when it runs."""
        self._waiter = call.rests
        call.rests.set_result(None)


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

    def __init__(self, connection: BatchedRequestHandler, rests: "asyncio.Future[None]") -> None:
        self.connection = connection
        self.rests = rests
        self.begun = perf_counter()


def _retrieve(task: "asyncio.Task[Answer]") -> None:
    """Retrieve a failure that no task awaits; the gate has recorded it."""
    if not task.cancelled():
        task.exception()
