"""The HTTP server below an application; it answers failures and malformed HTTP itself."""

import asyncio
import logging
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Any, Final

from aiohttp import web

from minikms.config import Config
from minikms.http import answers, logs, memory, private_names
from minikms.http.answers import JSON, AnswerForm, JsonAnswer
from minikms.http.connection import Connection, ConnectionSetup
from minikms.http.problems import answer_failure
from minikms.http.request_batches import Call, PlainRoutes
from minikms.http.state import GONE, Observer, Shutdown

# Seconds in which the rest of an unread body is received and dropped, so that the caller reads its
# answer.
_LINGERING: Final = 2.0

# In seconds. A batch cannot set aiohttp's timer of idle connections, so each connection has a timer
# of its own, and aiohttp's fires after a year.
_KEEPALIVE: Final = 3.2e7

# Size in bytes from which the memory of a body is worth giving back.
_LARGE: Final = 64 * 1024


def _clear_tracebacks(exc: BaseException | None) -> None:
    """Remove the frames of a failure and its causes, so that the bodies of callers are freed.

    Many failures are in a reference cycle with a frame. Their bodies would stay in memory until the
    garbage collector runs, which counts objects and not their size.
    """
    while exc is not None:
        exc.__traceback__ = None
        exc = exc.__context__


class KmsServer(web.Server):
    """Makes the connections to an application; `inner` is aiohttp's own server for it."""

    def __init__(
        self, inner: web.Server, setup: ConnectionSetup, *, handler_cancellation: bool
    ) -> None:
        super().__init__(
            self._answer,
            request_factory=self._request,
            handler_cancellation=handler_cancellation,
        )
        self._application: Any = inner.request_handler
        self._setup = setup
        for observer in setup.observers:
            observer.add(self)

    def _request(self, message: Any, payload: Any, protocol: Any, *rest: Any) -> web.BaseRequest:
        """Return the request of the started call, or make one for `message`."""
        call: Call | None = protocol.started
        if call is None:
            request: web.BaseRequest = self._setup.make_request(message, payload, protocol, *rest)
            return request
        return call.request

    async def _answer(self, request: Any) -> web.StreamResponse:
        """Answer a request, with its started call if it has one, and report to the observers."""
        connection: Any = request.protocol
        connection.begin(request)
        call: Call | None = connection.started
        if call is not None:
            connection.started = None
        begun = perf_counter() if call is None else call.begun
        status: int | str = 500
        try:
            response = await self._respond(request, call)
            status = response.status
        except web.HTTPException as exc:  # a redirect
            status = exc.status
            raise
        except (ConnectionError, asyncio.CancelledError):
            status = GONE
            raise
        finally:
            connection.answering = False
            for observer in self._setup.observers:
                observer.answered(request, status, perf_counter() - begun)
        if connection.ends:
            response.force_close()
        if max(request.content_length or 0, response.content_length or 0) > _LARGE:
            self.give_back_memory()
        return response

    async def _respond(self, request: web.BaseRequest, call: Call | None) -> web.StreamResponse:
        """Return the application's answer, or an answer to the failure."""
        form = self._setup.form
        try:
            answer: Any = await (self._application(request) if call is None else call.task)
            if (event := request.get(logs.EVENT)) is not None:
                event.record()  # unless its batch has done so
            return JsonAnswer(answer, form) if isinstance(answer, bytes) else answer
        except Exception as exc:
            memory.end_if_exhausted(exc)
            failure = answer_failure(request, exc, form.respond)
            _clear_tracebacks(exc)
            if failure is None:
                raise
            return failure

    def give_back_memory(self) -> None:
        """Give memory back to the system soon."""
        self._setup.give_back_timer.start()

    def hand_over(self) -> None:
        """Let aiohttp's tasks continue the waiting calls."""
        self._setup.batch.hand_over()

    def pre_shutdown(self) -> None:
        """Let each connection end after its answer."""
        self.hand_over()
        super().pre_shutdown()

    async def shutdown(self, timeout: float | None = None) -> None:
        await super().shutdown(timeout)
        self._setup.give_back_timer.cancel()

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._setup)


class KmsRunner(web.AppRunner):
    """Runs an application on `KmsServer`, with this service's limits and access log.

    `form` is the form of the answers. With `list_method`, requests may have any method, such as
    LIST. `kwargs` are aiohttp's options of a connection. Raises LibraryError for another aiohttp.
    """

    def __init__(
        self,
        app: web.Application,
        config: Config,
        shutdown: Shutdown,
        observers: Sequence[Observer] = (),
        *,
        form: AnswerForm = JSON,
        list_method: bool = False,
        shutdown_timeout: float = 60.0,
        handler_cancellation: bool = False,
        **kwargs: Any,
    ) -> None:
        private_names.check()
        app.on_response_prepare.append(partial(answers.prepared, shutdown, form))
        self._shutdown = shutdown
        self._timeout = shutdown_timeout
        self._handler_cancellation = handler_cancellation
        options = {
            "access_log_class": (observers[-1] if observers else Observer).access_logger,
            "access_log": logging.getLogger("minikms.access"),
            "auto_decompress": False,
            "max_line_size": config.max_header,
            "max_field_size": config.max_header,
            "lingering_time": _LINGERING,
            "tcp_keepalive": False,  # accepted connections have it from their listener
            **kwargs,
            "keepalive_timeout": _KEEPALIVE,
        }
        self._make_setup = partial(
            ConnectionSetup, config, list_method, form, observers, shutdown, options
        )
        self._kms_server: KmsServer | None = None
        super().__init__(app)

    def begin_shutdown(self) -> None:
        """End connections after their next answer."""
        self._shutdown.begun = True

    @property
    def server(self) -> KmsServer | None:
        """Return the server, after `setup`; aiohttp's own server makes no connections."""
        return self._kms_server

    async def setup(self) -> None:
        """Start the application, and make the server."""
        await super().setup()
        inner: Any = super().server
        loop = asyncio.get_running_loop()
        setup = self._make_setup(
            loop,
            inner.request_factory,
            PlainRoutes(self.app, inner.request_handler),
            memory.GiveBackTimer(loop),
        )
        self._kms_server = KmsServer(inner, setup, handler_cancellation=self._handler_cancellation)

    async def shutdown(self) -> None:
        """Shut the application down, and end the connections."""
        if self._kms_server is not None:
            self._kms_server.pre_shutdown()
        await super().shutdown()
        if self._kms_server is not None:
            await self._kms_server.shutdown(self._timeout)
