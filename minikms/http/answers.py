"""The heads of answers: their common fields, and the head of a success in JSON.

No other module names a field that all answers have.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeAlias

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from minikms.http.logs import REQUEST_ID_HEADER, request_id
from minikms.http.problems import Respond, problem_response
from minikms.http.state import UNREAD, Shutdown
from minikms.http.unread import SMALL

CACHE_CONTROL: Final = "Cache-Control"
NO_STORE: Final = "no-store"

# Instead of aiohttp's, which has versions.
_SERVER: Final = "minikms"


class AnswerForm(NamedTuple):
    """The form of a protocol's answers.

    A success has this Content-Type; every answer has the request's id in this header; `respond`
    makes the answer for an error.
    """

    content_type: str
    request_id_header: str
    respond: Respond


JSON: Final = AnswerForm("application/json", REQUEST_ID_HEADER, problem_response)


class NotStored(bytes):
    """A JSON body that no cache may keep (RFC 9111 section 5.2.2.5)."""


# The body of a success, or a whole response.
Answer: TypeAlias = bytes | web.StreamResponse
Handler: TypeAlias = Callable[[web.Request], Coroutine[Any, Any, Answer]]


def add_common_headers(
    form: AnswerForm, request: web.BaseRequest, response: web.StreamResponse
) -> None:
    """Add the request's id and the server's name to an answer whose head aiohttp writes."""
    response.headers[form.request_id_header] = request_id(request)
    response.headers["Server"] = _SERVER


async def prepared(
    shutdown: Shutdown,
    form: AnswerForm,
    request: web.BaseRequest,
    response: web.StreamResponse,
) -> None:
    """Add the common headers, as a signal of an application (`on_response_prepare`).

    Once the service is shutting down, the answer ends its connection (RFC 9112 section 9.6).
    """
    add_common_headers(form, request, response)
    if shutdown.begun or getattr(request.protocol, "ends", False):
        response.headers["Connection"] = "close"
        response.force_close()


def head(body: bytes, request: web.BaseRequest, form: AnswerForm = JSON) -> bytes:
    """The head of a success, in HTTP/1.1 and on a connection that stays open."""
    cached = f"{CACHE_CONTROL}: {NO_STORE}\r\n" if isinstance(body, NotStored) else ""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {form.content_type}\r\n{cached}"
        f"Content-Length: {len(body)}\r\n{form.request_id_header}: {request_id(request)}\r\n"
        f"Date: {rfc822_formatted_time()}\r\nServer: {_SERVER}\r\n\r\n"
    ).encode("latin-1")


class BodyAnswer(web.Response):
    """An answer whose body is bytes; a large one is sent as its caller reads (`UnreadAnswers`)."""

    _request: Any = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Begin to send it."""
        self._request = request
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it to its end."""
        request, body = self._request, self.body
        if isinstance(body, bytes) and len(body) > SMALL and request.method != "HEAD":
            await request.app[UNREAD].send(request, self.write, body)
            await web.StreamResponse.write_eof(self)
        else:
            await super().write_eof(data)
        self._request = None


class JsonAnswer(BodyAnswer):
    """A success in JSON, or of another protocol by its `form`.

    It has the headers of `head` and no others. aiohttp collects a head field by field, which takes
    12 µs more: as long as everything else around a signature.
    """

    def __init__(self, body: bytes, form: AnswerForm = JSON) -> None:
        super().__init__(body=body)
        self._form = form
        # A head that is written as a whole, and its size with the body.
        self._whole = b""
        self._size = 0

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection stays open; with a whole head it does."""
        return True if self._whole else super().keep_alive

    @property
    def body_length(self) -> int:
        """The number of bytes written, for the access log."""
        return self._size or super().body_length

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Begin to send it."""
        body: Any = self.body
        if (
            request.version != HttpVersion11
            or not request.keep_alive
            or self.keep_alive is False
            or request.method == "HEAD"
            or not getattr(request.protocol, "whole_heads", False)
        ):
            self.content_type = self._form.content_type
            if isinstance(body, NotStored):
                self.headers[CACHE_CONTROL] = NO_STORE
            return await super().prepare(request)
        self._request = request
        self._whole = head(body, request, self._form)
        self._size = len(self._whole) + len(body)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
        """Send it to its end."""
        if not self._whole:
            await super().write_eof(data)
            return
        request = self._request
        body: Any = self.body
        if len(body) > SMALL:
            await request.writer.write(self._whole)
            await request.app[UNREAD].send(request, request.writer.write, body)
            await request.writer.write_eof()
        else:
            await request.writer.write_eof(self._whole + body)
        self._request = None
