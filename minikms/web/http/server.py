"""The server below the application, where HTTP that does not parse gets its problem too."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from minikms.web.http import heap, logs, trial
from minikms.web.http.answers import JsonAnswer
from minikms.web.http.connection import KmsRequestHandler, PlainRequestHandler
from minikms.web.http.direct import DIRECT, DirectWay
from minikms.web.http.fast_path import RequestBatch
from minikms.web.http.observer import OBSERVER, Observer
from minikms.web.http.private_names import CONNECTION, FAST_PATH
from minikms.web.http.problems import answer_failure
from minikms.web.state import CONFIG

LOGGER = logging.getLogger(__name__)

# How long the rest of a body that nobody reads is taken and dropped, in seconds, so that the
# caller comes to read its answer.
_LINGERING: Final = 2.0

# How soon memory is given back to the system once it is free, in seconds.
_GIVE_BACK_AFTER: Final = 3.0

# From which size on a body leaves behind what is worth that, in bytes.
_LARGE: Final = 64 * 1024


def _let_go(exc: BaseException | None) -> None:
    """Have a failure, and what led to it, hold no frames, and so no body of a caller's.

    Many hold themselves by a frame: they would stay until the garbage collector comes, which counts
    objects and not their size.
    """
    while exc is not None:
        exc.__traceback__ = None
        exc = exc.__context__


class KmsServer(web.Server):
    """Connections of `KmsRequestHandler` for an application.

    Without `connections`, they are plain ones, with aiohttp's limits.
    """

    def __init__(
        self,
        inner: web.Server,
        observer: Observer | None = None,
        connections: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        answer = observer.watch(self, self._handle) if observer else self._handle
        super().__init__(answer, request_factory=inner.request_factory, **kwargs)
        self._application = inner.request_handler
        self._observer = observer
        self._connections_have = connections
        self._batch = RequestBatch()
        self._giving_back: asyncio.TimerHandle | None = None

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection: Any = request.protocol
        connection.begin(request)
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
        if max(request.content_length or 0, response.content_length or 0) > _LARGE:
            self.give_back_memory()
        # A stream has them by now, and an answer in JSON will have.
        if type(response) is not JsonAnswer and not response.prepared:
            logs.add_headers(request, response)
        return response

    def give_back_memory(self) -> None:
        """Give memory back to the system, soon and for many connections at once."""
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
        always: dict[str, Any] = {"loop": self._loop, "observer": self._observer, **self._kwargs}
        if self._connections_have is None:
            return PlainRequestHandler(self, **always)
        return KmsRequestHandler(
            self,
            batch=self._batch,
            give_back=self.give_back_memory,
            **self._connections_have,
            **always,
        )


class KmsRunner(web.AppRunner):
    """Runs the application on `KmsServer`, with this service's limits and access log."""

    def __init__(self, app: web.Application, **kwargs: Any) -> None:
        config = app[CONFIG]
        self._limits = {
            "header_timeout": config.header_timeout,
            "max_body": config.max_body,
            "max_head": config.max_head,
        }
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
        if lost := CONNECTION.missing():
            LOGGER.warning("%s: %s", lost, CONNECTION.without)
            return KmsServer(inner, self._observer, **self._kwargs)
        connections = {**self._limits, "direct": self._direct, "whole_heads": True}
        lost = FAST_PATH.missing()
        if lost or (self._direct and (lost := await trial.fault(_trial_server))):
            LOGGER.warning("%s: %s", lost, FAST_PATH.without)
            connections |= {"direct": {}, "whole_heads": False}
        return KmsServer(inner, self._observer, connections, **self._kwargs)


def _trial_server(inner: web.Server, direct: Mapping[tuple[str, str], DirectWay]) -> web.Server:
    limits = {"header_timeout": _LINGERING, "max_body": 4096, "max_head": 4096}
    connections = {**limits, "direct": direct, "whole_heads": True}
    return KmsServer(inner, connections=connections, access_log=None)
