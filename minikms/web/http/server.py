"""The server below the application, where HTTP that does not parse gets its problem too."""

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from aiohttp import web

from minikms.config import Config
from minikms.web.http import answers, heap, logs, out_of_memory, trial
from minikms.web.http.answers import JSON, AnswerForm
from minikms.web.http.connection import LimitedRequestHandler
from minikms.web.http.fast_path import FastRequestHandler, FastRoutes, RequestBatch
from minikms.web.http.observer import Observer
from minikms.web.http.plain_connection import PlainRequestHandler
from minikms.web.http.private_names import CONNECTION, FAST_PATH
from minikms.web.http.problems import answer_failure
from minikms.web.http.shutdown import Shutdown
from minikms.web.http.tracebacks import is_of_an_algorithm

LOGGER = logging.getLogger(__name__)

# How long the rest of a body that nobody reads is taken and dropped, in seconds, so that the
# caller comes to read its answer.
_LINGERING: Final = 2.0

_OF_ASYNCIO: Final = (asyncio.CancelledError, GeneratorExit)

# How soon memory is given back to the system once it is free, in seconds.
_GIVE_BACK_AFTER: Final = 3.0

# From which size on a body leaves behind what is worth that, in bytes.
_LARGE: Final = 64 * 1024


def _clear_tracebacks(exc: BaseException | None) -> None:
    """Have a failure, and what led to it, hold no frames, and so no body of a caller's.

    Many hold themselves by a frame: they would stay until the garbage collector comes, which counts
    objects and not their size.
    """
    while exc is not None:
        exc.__traceback__ = None
        exc = exc.__context__


class KmsServer(web.Server):
    """Makes a connection for each caller of an application.

    `connections` are the arguments of each, besides aiohttp's own in `kwargs`: with `routes` they
    have a fast path, without those limits of this service, and without any aiohttp's limits.
    `form` is that of its answers.
    """

    def __init__(
        self,
        inner: web.Server,
        observer: Observer | None = None,
        connections: Mapping[str, Any] | None = None,
        *,
        form: AnswerForm = JSON,
        **kwargs: Any,
    ) -> None:
        answer = observer.watch(self, self._handle) if observer else self._handle
        super().__init__(answer, request_factory=inner.request_factory, **kwargs)
        self._application = inner.request_handler
        self._form = form
        self._observer = observer
        self._arguments = dict(connections or {})
        self._batch = RequestBatch()
        self._giving_back: asyncio.TimerHandle | None = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection: Any = request.protocol
        connection.begin(request)
        try:
            response = await self._application(request)
        except BaseException as exc:
            # An algorithm may raise SystemExit, which would end the service.
            if isinstance(exc, _OF_ASYNCIO) or not (
                isinstance(exc, Exception) or is_of_an_algorithm(exc)
            ):
                raise
            out_of_memory.end_if_caused(exc)
            answer = answer_failure(request, exc, self._form.respond)
            _clear_tracebacks(exc)
            if answer is None:
                raise
            response = answer
        if max(request.content_length or 0, response.content_length or 0) > _LARGE:
            self.give_back_memory()
        return response

    def give_back_memory(self) -> None:
        """Give memory back to the system, soon, and once for many connections."""
        if self._giving_back is None:
            self._giving_back = self._loop.call_later(_GIVE_BACK_AFTER, self._give_back)

    def _give_back(self) -> None:
        self._giving_back = None
        self._loop.run_in_executor(None, heap.give_back)

    async def shutdown(self, timeout: float | None = None) -> None:
        """End the connections."""
        await super().shutdown(timeout)
        if self._giving_back is not None:
            self._giving_back.cancel()

    def __call__(self) -> web.RequestHandler:
        always: dict[str, Any] = {
            "loop": self._loop,
            "observer": self._observer,
            "form": self._form,
            **self._kwargs,
        }
        if not self._arguments:
            return PlainRequestHandler(self, **always)
        limits = {"give_back": self.give_back_memory, **self._arguments, **always}
        if "routes" not in limits:
            return LimitedRequestHandler(self, **limits)
        return FastRequestHandler(self, batch=self._batch, **limits)


class KmsRunner(web.AppRunner):
    """Runs an application on `KmsServer`, with this service's limits and access log.

    `form` is that of its answers.
    """

    def __init__(
        self,
        app: web.Application,
        config: Config,
        shutdown: Shutdown,
        observer: Observer | None = None,
        fast_routes: FastRoutes | None = None,
        *,
        form: AnswerForm = JSON,
        **kwargs: Any,
    ) -> None:
        app.on_response_prepare.append(partial(answers.prepared, shutdown, form))
        self._shutdown = shutdown
        self._form = form
        self._limits = {
            "header_timeout": config.header_timeout,
            "max_body": config.max_body,
            "max_head": config.max_head,
        }
        self._observer = observer
        self._routes = dict(fast_routes or {})
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

    def begin_shutdown(self) -> None:
        """From now on, have each answer end its connection.

        Without routes, the connections have no fast path, whose answers never do.
        """
        self._shutdown.begun = True
        self._routes.clear()

    async def _make_server(self) -> web.Server:
        inner = await super()._make_server()
        if lost := CONNECTION.missing():
            LOGGER.warning("%s: %s", lost, CONNECTION.without)
            return KmsServer(inner, self._observer, form=self._form, **self._kwargs)
        connections: dict[str, Any] = dict(self._limits)
        lost = FAST_PATH.missing() or (await trial.fault(_trial_server) if self._routes else "")
        if lost:
            LOGGER.warning("%s: %s", lost, FAST_PATH.without)
        else:
            connections["routes"] = self._routes
        return KmsServer(inner, self._observer, connections, form=self._form, **self._kwargs)


def _trial_server(inner: web.Server, routes: FastRoutes) -> web.Server:
    limits = {"header_timeout": _LINGERING, "max_body": 4096, "max_head": 4096}
    return KmsServer(inner, connections={**limits, "routes": routes}, access_log=None)
