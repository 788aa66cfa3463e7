"""The server below the application, where HTTP that does not parse gets its problem too."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Final, Protocol

from aiohttp import HttpVersion11, web
from aiohttp.http import StreamWriter
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from minikms.acts import tell_together
from minikms.errors import BadRequest, HeadersTooLarge, InternalError, KmsError, RequestTimeout
from minikms.web import logs
from minikms.web.answers import JsonAnswer, head
from minikms.web.app import CONFIG
from minikms.web.direct import DIRECT, DirectWay
from minikms.web.problems import answer_failure, problem_response

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Observer(Protocol):
    """Sees every request of a server, and what becomes of it."""

    def watch(self, server: web.Server, answer: Answer) -> Answer:
        """What `server` answers by, in the place of `answer`."""

    def answered(self, request: web.Request, status: int | str, seconds: float) -> None:
        """Learn of a request that was answered at once."""

    def unreadable(self, status: int) -> None:
        """Learn of what did not parse, and was answered with this status."""


OBSERVER: Final[web.AppKey[Observer]] = web.AppKey("observer")

# How long the rest of a body that nobody reads is taken and dropped, in seconds, so that the
# caller comes to read its answer.
_LINGERING: Final = 2.0


class _Call:
    """A call that is to be answered at once; its connection does not rest meanwhile.

    `rests` is what the connection's task waits for at rest, `begun` by `perf_counter`.
    """

    __slots__ = ("answer", "begun", "connection", "request", "rests", "way")

    request: web.Request
    answer: bytes

    def __init__(
        self, connection: "KmsRequestHandler", rests: asyncio.Future[None], way: DirectWay
    ) -> None:
        self.connection = connection
        self.rests = rests
        self.way = way
        self.begun = perf_counter()


class Turn:
    """The calls of one turn of the loop that are answered at once: each step is taken for all.

    Sockets are read, then keys sign, then the audit log is written, then answers leave. A step of
    one call leaves the processor much of what the same step of the next call needs; taken in turn,
    each would have to fetch its own again.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []

    def add(self, loop: asyncio.AbstractEventLoop, call: _Call) -> None:
        """Have a call answered before the loop waits for others."""
        if not self._calls:
            loop.call_soon(self._end)
        self._calls.append(call)

    def _end(self) -> None:
        calls, self._calls = self._calls, []
        done = [call for call in calls if call.connection.do(call)]
        try:
            tell_together([call.request[logs.ACT] for call in done])
            told = True
        except Exception:
            told = False  # the ordinary way fails likewise, and tells
        for call in done:
            call.connection.leave(call, told=told)


class KmsRequestHandler(RequestHandler):
    """A connection whose own errors are problems: aiohttp answers text that echoes the input.

    Headers have `header_timeout` seconds: aiohttp would wait for them as for a next request.
    """

    __slots__ = ("_direct", "_head_begun", "_head_timeout", "_head_timer", "_observer", "_turn")

    def __init__(
        self,
        *args: Any,
        header_timeout: float,
        observer: Observer | None,
        direct: Mapping[tuple[str, str], DirectWay],
        turn: Turn,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._direct = direct
        self._turn = turn
        self._observer = observer
        self._head_timeout = header_timeout
        self._head_timer: asyncio.TimerHandle | None = None
        self._head_begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first request."""
        super().connection_made(transport)
        self._head_timer = self._loop.call_later(self._head_timeout, self._head_is_late)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        if self._head_timer is not None:
            self._head_timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived: the rest of a body comes to whoever reads it, or fails there.

        aiohttp drops it once the service is stopping, and queues what is wrong with its chunks
        behind the request that waits for it: either way the reader would wait in vain.
        """
        request = self._current_request
        if request is None or request.content.is_eof():
            waiter = self._waiter
            self._waiter = None  # nobody is woken up before it is known that this is needed
            super().data_received(data)
            self._waiter = waiter
            if data:  # which aiohttp itself has none of, to have buffered bytes read on
                self._watch_head()
            if waiter is None or waiter.done() or not self._messages:
                return
            way = self._direct_way()
            if way is None:
                waiter.set_result(None)
            else:
                self._waiter = None
                self._turn.add(self._loop, _Call(self, waiter, way))
            return
        closing = self._close, self._force_close
        self._close = self._force_close = False
        super().data_received(data)
        self._close, self._force_close = closing
        if self._messages and isinstance(self._messages[-1][0], _ErrInfo):
            self._messages.pop()
            request.content.set_exception(web.RequestPayloadError())
            request.content.feed_eof()
            self.close()

    def _direct_way(self) -> DirectWay | None:
        """How the call that has come to a connection at rest is answered at once, if it can be."""
        message, payload = self._messages[0]
        if isinstance(message, _ErrInfo) or len(self._messages) > 1:
            return None
        way = self._direct.get((message.method, message.path))
        if (
            way is None
            or message.version != HttpVersion11
            or message.should_close
            or message.upgrade
            or "Expect" in message.headers
            or not payload.is_eof()
            or self._reading_paused
            or self._paused  # the caller does not read its answers
        ):
            return None
        return way

    def do(self, call: _Call) -> bool:
        """Do all but tell of a call and answer it; where that fails, it goes the ordinary way."""
        if self._force_close or call.rests.done():  # the caller is gone
            call.rests.cancel()
            return False
        rested: Any = self  # with all that aiohttp's has none of at other times
        message, payload = self._messages[0]
        writer = StreamWriter(self, self._loop)
        request = rested._request_factory(message, payload, self, writer, self._task_handler)
        request._match_info = call.way.match
        known = logs.new_request_id(request)
        try:
            body = None if self._close else call.way.handler(request)
        except Exception:
            body = None  # the ordinary way fails likewise, and tells
        if body is None:
            call.rests.set_result(None)
            return False
        call.request = request
        call.answer = head(len(body), known, no_store=call.way.no_store) + body
        return True

    def leave(self, call: _Call, *, told: bool) -> None:
        """Answer a call that was told of; one that could not be goes the ordinary way."""
        if not told:
            call.rests.set_result(None)
            return
        rested: Any = self
        self._messages.popleft()
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

    def _watch_head(self) -> None:
        """Time a head from its first bytes on, or the first of all from the connection's begin."""
        if self._messages:  # it is whole
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is not None:
            self._head_begun = True
        elif self._waiter is not None and not self._waiter.done():
            self._head_begun = True
            self._head_timer = self._loop.call_later(self._head_timeout, self._head_is_late)

    def _head_is_late(self) -> None:
        """Cut the caller off; one who has sent nothing at all is told nothing."""
        self._head_timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return  # the connection ends already
        if self._head_begun:
            late = _ErrInfo(status=RequestTimeout.status, exc=RequestTimeout(), message="")
            self._messages.append((late, EMPTY_PAYLOAD))
            waiter.set_result(None)
        else:
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be parsed, and what failed outside of the application."""
        if isinstance(exc, ConnectionError):
            raise exc  # the caller is gone, which is no failure of ours
        known = logs.request_id(request)
        extra = {"request_id": known}
        if status < 500:
            self.logger.info("unreadable request: %s", type(exc).__name__, extra=extra)
            response = problem_response(_unreadable(exc))
            if self._observer is not None:
                self._observer.unreadable(response.status)
        else:
            self.logger.error("internal error", exc_info=exc, extra=extra)
            if request.writer.output_size > 0:
                raise ConnectionError("an answer has begun, no other can be sent")
            response = problem_response(InternalError(f"The log has more under the id {known}."))
        logs.add_headers(request, response)
        response.force_close()
        return response


def _let_go(exc: BaseException | None) -> None:
    """Have a failure, and what led to it, hold no frames, and so no body of a caller's.

    Many hold themselves by a frame: they would stay until the garbage collector comes, which counts
    objects and not their size.
    """
    while exc is not None:
        exc.__traceback__ = None
        exc = exc.__context__


def _unreadable(exc: BaseException | None) -> KmsError:
    if isinstance(exc, KmsError):
        return exc
    if isinstance(exc, LineTooLong):
        return HeadersTooLarge()
    return BadRequest("The request is not valid HTTP.")


class KmsServer(web.Server):
    """Connections of `KmsRequestHandler` for an application."""

    def __init__(
        self,
        inner: web.Server,
        header_timeout: float,
        observer: Observer | None,
        direct: Mapping[tuple[str, str], DirectWay],
        **kwargs: Any,
    ) -> None:
        answer = observer.watch(self, self._handle) if observer else self._handle
        super().__init__(answer, request_factory=inner.request_factory, **kwargs)
        self._application = inner.request_handler
        self._header_timeout = header_timeout
        self._observer = observer
        self._direct = direct
        self._turn = Turn()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._application(request)
        except Exception as exc:
            answer = answer_failure(request, exc)
            _let_go(exc)
            if answer is None:
                if isinstance(exc, web.HTTPException):
                    logs.add_headers(request, exc)  # of a redirect
                raise
            response = answer
        # A stream has them by now, and an answer in JSON will have.
        if type(response) is not JsonAnswer and not response.prepared:
            logs.add_headers(request, response)
        return response

    def __call__(self) -> RequestHandler:
        return KmsRequestHandler(
            self,
            loop=self._loop,
            header_timeout=self._header_timeout,
            observer=self._observer,
            direct=self._direct,
            turn=self._turn,
            **self._kwargs,
        )


class KmsRunner(web.AppRunner):
    """Runs the application on `KmsServer`, with this service's limits and access log."""

    def __init__(self, app: web.Application, **kwargs: Any) -> None:
        config = app[CONFIG]
        self._header_timeout = config.header_timeout
        self._observer = app.get(OBSERVER)
        self._direct = app.get(DIRECT, {})
        super().__init__(
            app,
            access_log_class=logs.AccessLogger,
            access_log=logging.getLogger("minikms.access"),
            auto_decompress=False,
            max_line_size=config.max_header,
            max_field_size=config.max_header,
            keepalive_timeout=config.idle_timeout,
            lingering_time=_LINGERING,
            **kwargs,
        )

    async def _make_server(self) -> web.Server:
        inner = await super()._make_server()
        return KmsServer(inner, self._header_timeout, self._observer, self._direct, **self._kwargs)
