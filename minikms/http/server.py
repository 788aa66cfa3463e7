"""The server below an application, which answers failures and malformed HTTP."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, Final

from aiohttp import web

from minikms.config import Config
from minikms.http import answers, logs, memory, trial
from minikms.http.answers import JSON, AnswerForm, JsonAnswer
from minikms.http.connection import ConnectionLimits, LimitedRequestHandler
from minikms.http.plain_connection import PlainRequestHandler
from minikms.http.private_names import BATCHES, CONNECTION
from minikms.http.problems import answer_failure
from minikms.http.request_batches import (
    AIOHTTP,
    BatchedRequestHandler,
    Call,
    PlainRoutes,
    RequestBatch,
)
from minikms.http.state import GONE, Observer, Shutdown

LOGGER = logging.getLogger(__name__)

# Seconds in which the rest of an unread body is received and dropped, so that the caller reads its
# answer.
_LINGERING: Final = 2.0

# Seconds until free memory is given back to the system.
_GIVE_BACK_AFTER: Final = 3.0

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
    """Makes the connections to an application.

    With `batches`, requests start in batches. Without `limits`, connections have
    aiohttp's limits. `form` is the form of the answers, and `kwargs` are aiohttp's options.
    """

    def __init__(
        self,
        inner: web.Server,
        observer: Observer | None = None,
        limits: ConnectionLimits | None = None,
        batches: tuple[PlainRoutes, Shutdown] | None = None,
        *,
        form: AnswerForm = JSON,
        **kwargs: Any,
    ) -> None:
        super().__init__(self._answer, request_factory=self._request, **kwargs)
        self.loop = asyncio.get_running_loop()
        self._application: Any = inner.request_handler
        self._make_request: Any = inner.request_factory
        self._form = form
        self._observer = observer
        self._batch = RequestBatch()
        self._giving_back: asyncio.TimerHandle | None = None
        options = {name: kwargs[name] for name in kwargs if name != "handler_cancellation"}
        self._make = self._maker({**options, "loop": self.loop}, limits, batches)
        if observer is not None:
            observer.add(self)

    def _request(self, message: Any, payload: Any, protocol: Any, *rest: Any) -> web.BaseRequest:
        """Return the request of the started call, or make one for `message`."""
        call: Call | None = getattr(protocol, "started", None)
        if call is None:
            request: web.BaseRequest = self._make_request(message, payload, protocol, *rest)
            return request
        return call.request

    async def _answer(self, request: Any) -> web.StreamResponse:
        """Answer a request, with its started call if it has one, and report to the observer."""
        connection: Any = request.protocol
        connection.begin(request)
        call: Call | None = getattr(connection, "started", None)
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
            if self._observer is not None:
                self._observer.answered(request, status, perf_counter() - begun)
        if connection.ends:
            response.force_close()
        if max(request.content_length or 0, response.content_length or 0) > _LARGE:
            self.give_back_memory()
        return response

    async def _respond(self, request: web.BaseRequest, call: Call | None) -> web.StreamResponse:
        """Return the application's answer, or an answer to the failure."""
        try:
            answer: Any = await (self._application(request) if call is None else call.task)
            if (event := request.get(logs.EVENT)) is not None:
                event.record()  # in case a batch could not
            return JsonAnswer(answer, self._form) if isinstance(answer, bytes) else answer
        except Exception as exc:
            memory.end_if_exhausted(exc)
            failure = answer_failure(request, exc, self._form.respond)
            _clear_tracebacks(exc)
            if failure is None:
                raise
            return failure

    def give_back_memory(self) -> None:
        """Give memory back to the system soon; one timer serves many connections."""
        if self._giving_back is None:
            self._giving_back = self.loop.call_later(_GIVE_BACK_AFTER, self._give_back)

    def _give_back(self) -> None:
        self._giving_back = None
        self.loop.run_in_executor(None, memory.give_back)

    def hand_over(self) -> None:
        """Let aiohttp's tasks continue the waiting calls."""
        self._batch.hand_over()

    def pre_shutdown(self) -> None:
        """Let each connection end after its answer."""
        self.hand_over()
        super().pre_shutdown()

    async def shutdown(self, timeout: float | None = None) -> None:
        """End the connections."""
        await super().shutdown(timeout)
        if self._giving_back is not None:
            self._giving_back.cancel()

    def __call__(self) -> web.RequestHandler:
        return self._make()

    def _maker(
        self,
        options: dict[str, Any],
        limits: ConnectionLimits | None,
        batches: tuple[PlainRoutes, Shutdown] | None,
    ) -> Callable[[], web.RequestHandler]:
        """Return the function that makes a connection."""
        answers = (self, self._form, self._observer)
        if limits is None:
            return partial(PlainRequestHandler, *answers, options)
        limited = (limits, self.give_back_memory)
        if batches is None:
            return partial(LimitedRequestHandler, *answers, options, *limited)
        return partial(
            BatchedRequestHandler,
            *(*answers, options | AIOHTTP, *limited),
            make_request=self._make_request,
            routes=batches[0],
            batch=self._batch,
            shutdown=batches[1],
        )


class KmsRunner(web.AppRunner):
    """Runs an application on `KmsServer`, with this service's limits and access log.

    `form` is the form of the answers. With `list_method`, requests may have any method, such as
    LIST.
    """

    def __init__(
        self,
        app: web.Application,
        config: Config,
        shutdown: Shutdown,
        observer: Observer | None = None,
        *,
        form: AnswerForm = JSON,
        list_method: bool = False,
        shutdown_timeout: float = 60.0,
        **kwargs: Any,
    ) -> None:
        app.on_response_prepare.append(partial(answers.prepared, shutdown, form))
        self._shutdown = shutdown
        self._form = form
        self._limits = ConnectionLimits(
            config.header_timeout,
            config.idle_timeout,
            config.max_head,
            config.max_body,
            list_method,
        )
        self._observer = observer
        self._timeout = shutdown_timeout
        self._options: dict[str, Any] = {
            "access_log_class": getattr(observer, "access_logger", logs.AccessLogger),
            "access_log": logging.getLogger("minikms.access"),
            "auto_decompress": False,
            "max_line_size": config.max_header,
            "max_field_size": config.max_header,
            "keepalive_timeout": config.idle_timeout,
            "lingering_time": _LINGERING,
            "tcp_keepalive": False,  # accepted connections have it from their listener
            **kwargs,
        }
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
        limits, batches = await self._supported(inner)
        self._kms_server = KmsServer(
            inner, self._observer, limits, batches, form=self._form, **self._options
        )

    async def _supported(
        self, inner: web.Server
    ) -> tuple[ConnectionLimits | None, tuple[PlainRoutes, Shutdown] | None]:
        """Return the limits and batches that the installed aiohttp supports."""
        if lost := CONNECTION.missing():
            LOGGER.warning("%s: %s", lost, CONNECTION.without)
            return None, None
        if lost := BATCHES.missing() or await trial.fault(_trial_server):
            LOGGER.warning("%s: %s", lost, BATCHES.without)
            return self._limits, None
        return self._limits, (PlainRoutes(self.app, inner.request_handler), self._shutdown)

    async def shutdown(self) -> None:
        """Shut the application down, and end the connections."""
        if self._kms_server is not None:
            self._kms_server.pre_shutdown()
        await super().shutdown()
        if self._kms_server is not None:
            await self._kms_server.shutdown(self._timeout)


def _trial_server(inner: web.Server, app: web.Application) -> web.Server:
    limits = ConnectionLimits(_LINGERING, _LINGERING, 4096, 4096)
    batches = PlainRoutes(app, inner.request_handler), Shutdown()
    return KmsServer(inner, None, limits, batches, access_log=None)
