"""The server below the application, where HTTP that does not parse gets its problem too."""

import logging
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from minikms.errors import BadRequest, InternalError
from minikms.web import logs
from minikms.web.problems import from_http, problem_response


class KmsRequestHandler(RequestHandler):
    """A connection whose own errors are problems: aiohttp answers text that echoes the input."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived: the rest of a body comes to whoever reads it, or fails there.

        aiohttp drops it once the service is stopping, and queues what is wrong with its chunks
        behind the request that waits for it: either way the reader would wait in vain.
        """
        request = self._current_request
        if request is None or request.content.is_eof():
            super().data_received(data)
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

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what cannot be parsed, and what failed outside the middlewares."""
        if isinstance(exc, ConnectionError):
            raise exc  # the caller is gone, which is no failure of ours
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, no other can be sent")
        known = logs.request_id(request)
        extra = {"request_id": known}
        if status < 500:
            self.logger.info("unreadable request: %s", type(exc).__name__, extra=extra)
            response = problem_response(BadRequest("The request is not valid HTTP."))
        else:
            self.logger.error("internal error", exc_info=exc, extra=extra)
            response = problem_response(InternalError(f"The log has more under the id {known}."))
        response.headers.update({logs.HEADER: known, "Server": "minikms"})
        response.force_close()
        return response


class KmsServer(web.Server):
    """Connections of `KmsRequestHandler` for an application."""

    def __init__(self, inner: web.Server, **kwargs: Any) -> None:
        super().__init__(self._handle, request_factory=inner.request_factory, **kwargs)
        self._application = inner.request_handler

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await self._application(request)
        except web.HTTPException as exc:
            # `Expect: …` is judged before the middlewares; redirects come this way too.
            if exc.status < 400:
                raise
            return problem_response(from_http(exc))

    def __call__(self) -> RequestHandler:
        return KmsRequestHandler(self, loop=self._loop, **self._kwargs)


class KmsRunner(web.AppRunner):
    """Runs the application on `KmsServer`, with this service's access log."""

    def __init__(self, app: web.Application, **kwargs: Any) -> None:
        super().__init__(
            app,
            access_log_class=logs.AccessLogger,
            access_log=logging.getLogger("minikms.access"),
            auto_decompress=False,
            **kwargs,
        )

    async def _make_server(self) -> web.Server:
        return KmsServer(await super()._make_server(), **self._kwargs)
