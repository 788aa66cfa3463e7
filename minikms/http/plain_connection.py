"""A client's connection, made only with public names of aiohttp."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from minikms.errors import BadRequest, HeadersTooLarge, InternalError, KmsError
from minikms.http import logs
from minikms.http.answers import AnswerForm, add_common_headers
from minikms.http.state import Observer


class PlainRequestHandler(web.RequestHandler):
    """A connection that answers its own errors as problems; aiohttp's errors repeat the input.

    It has aiohttp's limits. `form` is the form of the answers.
    """

    __slots__ = ("_form", "_observer", "answering", "ended", "loop", "server")

    def __init__(
        self, server: web.Server, form: AnswerForm, observer: Observer | None, options: Any
    ) -> None:
        """Make a connection; `options` are aiohttp's, as a mapping.

        Not as keyword arguments: Python compares each one that a function does not name with each
        one that it names. Over three classes, this took 15 µs.
        """
        super().__init__(server, **options)
        self.server = server
        self.loop: asyncio.AbstractEventLoop = options["loop"]
        # True while the server answers a request outside a batch.
        self.answering = False
        self._observer = observer
        self._form = form
        # Called when the connection is lost; the acceptor sets it.
        self.ended: Callable[[], None] = lambda: None

    @property
    def whole_heads(self) -> bool:
        """Tell whether the head of an answer may be written in one piece (http/answers.py)."""
        return False

    @property
    def ends(self) -> bool:
        """Tell whether the connection is known to end after the current answer."""
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the place of the connection back."""
        super().connection_lost(exc)
        self.ended()

    def begin(self, request: web.BaseRequest) -> None:
        """Note that the answer to a request begins."""
        self.answering = True

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
            if self._observer is not None:
                self._observer.unreadable(response.status)
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
