"""A client's connection: its limits, which aiohttp does not have, and its calls in batches.

It is over 300 lines, since all limits share one count of the received bytes, and a call in a batch
changes the same queue of aiohttp's that the limits count.
"""

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final, NamedTuple

from aiohttp import HttpVersion11, hdrs, web, web_protocol
from aiohttp.http import StreamWriter
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from minikms.errors import (
    BadRequest,
    BodyTooLarge,
    HeadersTooLarge,
    InternalError,
    KmsError,
    RequestTimeout,
)
from minikms.http import logs
from minikms.http.answers import AnswerForm, add_common_headers, head
from minikms.http.memory import GiveBackTimer
from minikms.http.python_parser import PythonParser
from minikms.http.request_batches import Call, PlainRoutes, RequestBatch, retrieve
from minikms.http.state import Observer, Shutdown
from minikms.http.unread import SMALL

# None only if http/private_names.py then refuses the start.
_ErrInfo: Final[Any] = getattr(web_protocol, "_ErrInfo", None)

# Limit of the heads of all waiting requests together, in sizes of the largest head. Callers who
# send many requests at once rarely send large heads.
_HEADS_WAITING: Final = 4

# In bytes. From this size, the memory of unfinished heads is worth giving back to the system.
_LARGE_HEAD: Final = 8192


class ConnectionLimits(NamedTuple):
    """Limits of a connection: seconds for a head and of an idle one, bytes of a head and of a body.

    With `list_method`, requests may have any method.
    """

    header_timeout: float
    idle_timeout: float
    max_head: int
    max_body: int
    list_method: bool = False


@dataclass(frozen=True)
class ConnectionSetup:
    """Everything that the connections of a server share.

    `options` are aiohttp's. `form` is the form of the answers, and `make_request` makes the request
    of a parsed message.
    """

    loop: asyncio.AbstractEventLoop
    limits: ConnectionLimits
    form: AnswerForm
    observers: Sequence[Observer]
    shutdown: Shutdown
    options: Mapping[str, Any]
    make_request: Callable[..., web.Request]
    routes: PlainRoutes
    give_back_timer: GiveBackTimer
    batch: RequestBatch = field(default_factory=RequestBatch)


class Connection(web.RequestHandler):
    """A client's connection, with limits, whose requests are started in batches.

    aiohttp alone would wait for the rest of a head as long as for the next request. The bytes of a
    head are counted as they arrive; so are chunk extensions and trailers of a body. With
    `list_method`, aiohttp's parser in Python accepts all methods; the parser in C refuses LIST. A
    client that half-closes the connection after a request still gets the answer. Errors are
    answered as problems; aiohttp's errors repeat the input.
    """

    __slots__ = (
        "_batch",
        "_begun",
        "_form",
        "_head_size",
        "_head_slack",
        "_head_timer",
        "_idle_timer",
        "_incoming",
        "_last",
        "_limits",
        "_lingering",
        "_logs",
        "_observers",
        "_paused_reading",
        "_rests_since",
        "_setup",
        "_shutdown",
        "_task",
        "_waiting_size",
        "answering",
        "batched",
        "ended",
        "half_closed",
        "loop",
        "server",
        "started",
    )

    def __init__(self, server: web.Server, setup: ConnectionSetup) -> None:
        super().__init__(server, loop=setup.loop, **setup.options)
        self.server = server
        self.loop: asyncio.AbstractEventLoop = setup.loop
        self._setup = setup
        self._limits = setup.limits
        self._form = setup.form
        self._observers = setup.observers
        self._shutdown = setup.shutdown
        self._batch = setup.batch
        if setup.limits.list_method:
            self._parser = PythonParser(
                self, loop=self.loop, auto_decompress=setup.options["auto_decompress"]
            )
        # Called when the connection is lost; the acceptor sets it.
        self.ended: Callable[[], None] = lambda: None
        # True while the server answers a request outside a batch.
        self.answering = False
        self.half_closed = False
        self._head_timer: asyncio.TimerHandle | None = None
        # Bytes received of an incomplete head, or of a body since its last content. The number is
        # between `_head_size` and `_head_size + _head_slack`, since a head may begin within data.
        self._head_size = self._head_slack = 0
        # Bytes received while requests waited, after their heads were last measured.
        self._waiting_size = 0
        # The body of the request that was received last. If `_last` is set, data after this body is
        # dropped.
        self._incoming: StreamReader = EMPTY_PAYLOAD
        self._last = False
        # The body of the request whose answer was begun last.
        self._begun: StreamReader = EMPTY_PAYLOAD
        # The rest of a refused request. It is received and dropped for a while, so that the client
        # can read its answer.
        self._lingering: StreamReader | None = None
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
        """Wait for the first request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self._limits.header_timeout, self._head_is_late)
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

    def close(self) -> None:
        """End the connection, after the current answer if there is one."""
        self._last = True
        if not self.answering:
            super().close()

    def data_received(self, data: bytes) -> None:
        """Receive the rest of a body, or heads, and count their bytes."""
        is_head = self._incoming.is_eof()
        if is_head and self._last:  # also drops the rest of a refused head
            return
        most = self._limits.max_head
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
            elif type(message) is _ErrInfo:
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

    def _take_body(self, data: bytes) -> None:
        """Receive the rest of a body for its reader, which also gets any failure.

        Once the service shuts down, aiohttp drops the rest. It also queues a malformed chunk as a
        message after the request with this body. In both cases the reader would wait forever.
        """
        payload = self._incoming
        messages: Any = self._messages
        had, before = payload.total_bytes, len(messages)
        closing = self._force_close
        if self.answering and payload is self._begun:
            self._force_close = False
        try:
            super().data_received(data)
        except ValueError:  # for a bad URL after the body, as in `data_received`
            self._refuse(BadRequest("The request is not valid HTTP."))
            return
        finally:
            self._force_close = self._force_close or closing
        size = self._head_size + len(data)
        if len(messages) > before:
            self._head_size, self._head_slack = 0, len(data)
            message, incoming = messages[-1]
            if type(message) is not _ErrInfo:
                self._incoming = incoming
                if message.upgrade:
                    self._decline_upgrade()
            elif not payload.is_eof():
                messages.pop()
                self._fail(payload, web.RequestPayloadError())
        elif payload.total_bytes > had or payload.is_eof():
            self._head_size, self._head_slack = 0, len(data)
        elif size > self._limits.max_head:
            self._fail(payload, HeadersTooLarge())
        else:
            self._head_size = size
        if len(messages) > 1:
            self._bound_waiting(len(data))

    def eof_received(self) -> bool:  # type: ignore[override]  # aiohttp's is untyped
        """Return true to keep the connection of a half-closed client for its answers.

        A vanished client looks the same. TLS cannot be half-closed.
        """
        waiter = self._waiter
        rests = (waiter is not None and not waiter.done()) or self._head_timer is not None
        if rests or self.transport is None or self.transport.get_extra_info("sslcontext"):
            return False
        self.half_closed = True
        if not self._incoming.is_eof():
            self._fail(self._incoming, web.RequestPayloadError())
        elif self._messages:
            self._last = True
        else:
            self.close()  # after the answer in progress
        return True

    @property
    def ends(self) -> bool:
        """Tell whether the connection ends after the current answer."""
        return self._last and not self._messages

    def _decline_upgrade(self) -> None:
        """End the connection after a request to upgrade: aiohttp's parser loses the next request.

        The caller would take the answer to a later request for the answer to the lost one.
        """
        self._message_tail = b""
        self._last = True

    def _refuse(self, error: KmsError) -> None:
        """Answer this message with a problem, after the waiting requests, and read no more."""
        self._last = True
        self._head_size = 0
        self._incoming = EMPTY_PAYLOAD
        rest = EMPTY_PAYLOAD
        if isinstance(error, HeadersTooLarge | BodyTooLarge):
            rest = self._lingering = StreamReader(self, self._limits.max_head, loop=self.loop)
        refused = _ErrInfo(status=error.status, exc=error, message="")
        self._messages.append((refused, rest))

    def _fail(self, payload: StreamReader, exc: Exception) -> None:
        """Raise `exc` for the reader of a body, now or later; the connection then ends."""
        self._last = True
        self._head_size = 0
        if payload is self._begun and not self.answering:
            self.force_close()  # it was answered without its body
            return
        payload.set_exception(exc)
        payload.feed_eof()
        if not self._messages:
            self.close()

    def _refuse_large_heads(self, first: int) -> bool:
        """Refuse the first head from `first` on that is too large, and drop all after it."""
        messages = self._messages
        for place in range(first, len(messages)):
            if _size(messages[place][0]) > self._limits.max_head:
                while len(messages) > place:
                    messages.pop()
                self._refuse(HeadersTooLarge())
                return True
        return False

    def _bound_waiting(self, size: int) -> None:
        """Count the bytes of waiting requests, and refuse a request that exceeds the limit.

        All waiting bodies together have the limit of one body: aiohttp stops reading at one large
        body, but accepts any number of smaller ones.
        """
        messages, most = self._messages, _HEADS_WAITING * self._limits.max_head
        self._waiting_size += size
        if self._waiting_size <= most or self._last:
            return
        bodies = sum(payload.total_bytes for _, payload in messages)
        self._waiting_size = sum(_size(message) for message, _ in messages)
        if self._waiting_size > most:
            error: KmsError = HeadersTooLarge()
        elif bodies > self._limits.max_body:
            error = BodyTooLarge("The bodies of waiting requests exceed this service's limit.")
        else:
            self._waiting_size += bodies
            return
        messages.pop()
        self._refuse(error)

    def _watch_head(self) -> None:
        """Start the timer of a head at its first bytes, and stop it when the head is complete.

        The timer of the first head starts with the connection.
        """
        if self._messages:  # the head is complete
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
        elif self._head_timer is None and self._waiter is not None and not self._waiter.done():
            self._head_timer = self.loop.call_later(self._limits.header_timeout, self._head_is_late)

    def _head_is_late(self) -> None:
        """End the connection; if a part of a head has arrived, answer first."""
        self._head_timer = None
        waiter = self._waiter
        if waiter is None or waiter.done():
            return  # the connection ends already
        if self._head_size:
            self._refuse(RequestTimeout())
            waiter.set_result(None)
        else:
            self.force_close()

    async def start(self) -> None:
        """Answer requests that no batch answers; this is aiohttp's task of the connection."""
        self._task = asyncio.current_task()
        await super().start()

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
            response = self._form.respond(_unreadable(exc))
            for observer in self._observers:
                observer.unreadable(response.status)
        else:
            self.logger.error("internal error", exc_info=exc, extra=extra)
            if request.writer.output_size > 0:
                raise ConnectionError("an answer has begun, no other can be sent")
            response = self._form.respond(InternalError(f"The log has more under the id {known}."))
        add_common_headers(self._form, request, response)
        response.force_close()
        return response


def _unreadable(exc: BaseException | None) -> KmsError:
    if isinstance(exc, KmsError):
        return exc
    if isinstance(exc, LineTooLong):
        return HeadersTooLarge()
    return BadRequest("The request is not valid HTTP.")


def _size(message: Any) -> int:
    """Return the size in bytes of the head of a request, without its end."""
    if type(message) is _ErrInfo:
        return 0
    lines = sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
    return lines + len(message.method) + len(message.path) + len(" HTTP/1.1\r\n")
