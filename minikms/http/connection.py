"""A client's connection: its calls in batches, and the answers to them.

It is over 300 lines, so that the way of a call through it is read in one place.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http import StreamWriter
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD

from minikms.config import Config
from minikms.errors import BadRequest, HeadersTooLarge, InternalError
from minikms.http import logs
from minikms.http.answers import AnswerForm, add_common_headers, head
from minikms.http.bounded import BoundedConnection, ErrInfo, error_of
from minikms.http.memory import GiveBackTimer
from minikms.http.python_parser import PythonParser
from minikms.http.request_batches import Call, PlainRoutes, RequestBatch, retrieve
from minikms.http.state import Observer, Shutdown
from minikms.http.unread import SMALL

# In bytes. From this size, the memory of unfinished heads is worth giving back to the system.
_LARGE_HEAD: Final = 8192


@dataclass(frozen=True)
class ConnectionSetup:
    """Everything that the connections of a server share.

    With `list_method`, requests may have any method. `form` is the form of the answers. `options`
    are aiohttp's, and `make_request` makes the request of a parsed message.
    """

    config: Config
    list_method: bool
    form: AnswerForm
    observers: Sequence[Observer]
    shutdown: Shutdown
    options: Mapping[str, Any]
    loop: asyncio.AbstractEventLoop
    make_request: Callable[..., web.Request]
    routes: PlainRoutes
    give_back_timer: GiveBackTimer
    batch: RequestBatch = field(default_factory=RequestBatch)


class Connection(BoundedConnection):
    """A client's connection, whose requests are started in batches.

    With `list_method`, aiohttp's parser in Python accepts all methods; the parser in C refuses
    LIST. Errors are answered as problems; aiohttp's errors repeat the input.
    """

    __slots__ = (
        "_batch",
        "_form",
        "_idle_timer",
        "_logs",
        "_observers",
        "_paused_reading",
        "_rests_since",
        "_setup",
        "_shutdown",
        "_task",
        "batched",
        "ended",
        "server",
        "started",
    )

    def __init__(self, server: web.Server, setup: ConnectionSetup) -> None:
        super().__init__(server, setup.loop, setup.config, setup.options)
        self.server = server
        self._setup = setup
        self._form = setup.form
        self._observers = setup.observers
        self._shutdown = setup.shutdown
        self._batch = setup.batch
        if setup.list_method:
            self._parser = PythonParser(
                self, loop=self.loop, auto_decompress=setup.options["auto_decompress"]
            )
        # Called when the connection is lost; the acceptor sets it.
        self.ended: Callable[[], None] = lambda: None
        self._rests_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None
        # The task of `start`, while the connection is open.
        self._task: asyncio.Task[Any] | None = None
        self._paused_reading = False
        self._logs = self.access_logger is not None and self.access_logger.enabled
        # The call that aiohttp's task continues.
        self.started: Call | None = None
        # While it is true, the batch records the success of the call.
        self.batched = False

    @property
    def whole_heads(self) -> bool:
        """Tell whether the head of an answer may be written in one piece (http/answers.py).

        False if the head announces a close.
        """
        return not (self._last or self._shutdown.begun)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self._config.header_timeout, self._head_is_late)
        self._rests_since = self.loop.time()
        self._end_rest()  # sets the timer

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place of the connection back, and stop its timers, readers and aiohttp's task.

        The task is cancelled if it was woken but has not run.
        """
        woken = self._waiter is not None and self._waiter.done()
        task, call = self._task, self.started
        self._task = None
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        left = self.answering  # the garbage collector then frees the request
        super().connection_lost(exc)
        self.ended()
        if left or self._head_size > _LARGE_HEAD or self._lingering is not None:
            self._setup.give_back_timer.start()
        self._incoming = self._begun = EMPTY_PAYLOAD
        if self._lingering is not None:
            self._lingering.feed_eof()
        if self._head_timer is not None:
            self._head_timer.cancel()
        if woken and task is not None:  # None once the connection was lost before
            task.cancel()
            if call is not None:
                call.task.add_done_callback(retrieve)

    def begin(self, request: web.BaseRequest) -> None:
        """Note that the answer to a request begins."""
        self.answering = True
        self._begun = request.content

    def data_received(self, data: bytes) -> None:
        """Receive the rest of a body, or heads, and count their bytes."""
        is_head = self._incoming.is_eof()
        if is_head and self._last:  # also drops the rest of a refused head
            return
        most = self._config.max_head
        if len(data) > most:  # limits the bytes that are not counted yet
            for begin in range(0, len(data), most):
                self.data_received(data[begin : begin + most])
            return
        if not is_head:
            self._take_body(data)
            return
        waiter = self._waiter
        messages: Any = self._messages
        self._waiter = None  # keeps aiohttp from waking its task; `_wake` does it if needed
        before = len(messages)
        try:
            super().data_received(data)
        except ValueError:  # for a bad URL; releases after aiohttp 3.14.1 answer it themselves
            self._refuse(BadRequest("The request is not valid HTTP."))
        self._waiter = waiter
        # aiohttp passes no data if only buffered bytes are to be parsed.
        if data and (self._head_timer is not None or not messages):
            self._watch_head()
        size = self._head_size + len(data)
        if len(messages) > before:
            message, self._incoming = messages[-1]
            slack, self._head_slack, self._head_size = self._head_slack, len(data), 0
            if size + slack > most and self._refuse_large_heads(before):
                pass
            elif type(message) is ErrInfo:
                if isinstance(message.exc, LineTooLong):
                    messages.pop()
                    self._refuse(HeadersTooLarge())
            elif message.upgrade or message.method == hdrs.METH_CONNECT:
                self._decline_upgrade()
        elif size > most:
            self._refuse(HeadersTooLarge())
        elif self._head_size or data.strip(b"\r\n"):  # a head begins after empty lines
            self._head_size = size
        if len(messages) > 1:
            self._bound_waiting(len(data))
        if waiter is None or waiter.done() or not messages:
            return
        self._wake(waiter)

    async def start(self) -> None:
        """Answer requests that no batch answers; this is aiohttp's task of the connection."""
        self._task = asyncio.current_task()
        await super().start()

    def _end_rest(self) -> None:
        """Close the connection if it was idle for too long; else check again later."""
        now, waiter = self.loop.time(), self._waiter
        rests = waiter is not None and not waiter.done()
        end = (self._rests_since if rests else now) + self._config.idle_timeout
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
            type(message) is ErrInfo
            or len(self._messages) > 1
            or message.version != HttpVersion11
            or message.upgrade
            or message.method == "HEAD"
            or "Expect" in message.headers
            or not payload.is_eof()
            or self._paused_reading
            or self.writing_paused  # the caller does not read its answers
        ):
            waiter.set_result(None)  # wakes aiohttp's task
            return
        self._waiter = None
        self._batch.add(self.loop, Call(self, waiter))

    def start_call(self, call: Call) -> bool:
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
        make_request = self._setup.make_request
        call.request = request = make_request(message, payload, self, writer, self._task)
        self.batched = True
        coroutine = self._setup.routes.start(request, message.method, message.path)
        if sys.version_info >= (3, 12):
            call.task = asyncio.Task(coroutine, loop=self.loop, eager_start=True)
        else:
            call.task = self.loop.create_task(coroutine)
        return True

    def leave(self, call: Call) -> None:
        """Leave a call that has not started to aiohttp's task."""
        self.batched = False
        if not call.rests.done():
            self._wake_task(call)

    def hand_over(self, call: Call) -> None:
        """Let aiohttp's task await a call that waits or has failed, or send a response."""
        self.batched = False
        if self.transport is None or call.rests.done():  # the caller has left
            call.rests.cancel()
            call.task.add_done_callback(retrieve)
            return
        self.started = call
        self._wake_task(call)

    def send(self, call: Call) -> None:
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
        known_id = logs.request_id(call.request)
        answer = head(body, known_id, self._form, is_last) + body
        transport.write(answer)
        self._rests_since = self.loop.time()
        for observer in self._observers:
            observer.answered(call.request, 200, perf_counter() - call.begun)
        if self._logs:
            logger: Any = self.access_logger
            logger.write(call.request, known_id, 200, len(answer), perf_counter() - call.begun)
        if is_last:
            self._waiter = call.rests
            self.force_close()  # sends the answer first
        elif self._messages:  # arrived meanwhile
            self._wake_task(call)
        else:
            self._waiter = call.rests

    def _wake_task(self, call: Call) -> None:
        """Wake aiohttp's task, which removes the future when it runs."""
        self._waiter = call.rests
        call.rests.set_result(None)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that cannot be parsed, or failed outside the application."""
        if isinstance(exc, ConnectionError):
            raise exc  # the caller has left, which is not a failure of the service
        known = logs.request_id(request)
        extra = {"request_id": known}
        if status < 500:
            self.logger.info("unreadable request: %s", type(exc).__name__, extra=extra)
            response = self._form.respond(request, error_of(exc))
            for observer in self._observers:
                observer.unreadable(response.status)
        else:
            self.logger.error("internal error", exc_info=exc, extra=extra)
            if request.writer.output_size > 0:
                raise ConnectionError("an answer has begun, no other can be sent")
            failure = InternalError(f"The log has more under the id {known}.")
            response = self._form.respond(request, failure)
        add_common_headers(self._form, request, response)
        response.force_close()
        return response
