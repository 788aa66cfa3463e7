"""The heads of answers: the fields of every answer, and the head of a success in JSON.

No other module names the fields that every answer has.
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

# In place of aiohttp's value, which names versions.
_SERVER: Final = "minikms"


class AnswerForm(NamedTuple):
    """The form of a protocol's answers.

    `content_type` is the Content-Type of a success. Every answer has the request's id in the header
    `request_id_header`. `respond` makes the answer to a request for an error.
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
    """Add the request's id and the server's name to an answer, if aiohttp writes its head."""
    response.headers[form.request_id_header] = request_id(request)
    response.headers["Server"] = _SERVER


async def prepared(
    shutdown: Shutdown,
    form: AnswerForm,
    request: web.BaseRequest,
    response: web.StreamResponse,
) -> None:
    """Add the common headers; a handler of an application's signal `on_response_prepare`.

    Once the service is shutting down, the answer ends its connection (RFC 9112 section 9.6).
    """
    add_common_headers(form, request, response)
    if shutdown.begun or getattr(request.protocol, "ends", False):
        response.headers["Connection"] = "close"
        response.force_close()


def head(body: bytes, known_id: str, form: AnswerForm = JSON, is_last: bool = False) -> bytes:
    """Make the head of a success in HTTP/1.1 to the request with this id.

    The connection stays open unless `is_last`.
    """
    ends = "Connection: close\r\n" if is_last else ""
    cached = f"{CACHE_CONTROL}: {NO_STORE}\r\n" if isinstance(body, NotStored) else ""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {form.content_type}\r\n{cached}"
        f"Content-Length: {len(body)}\r\n{form.request_id_header}: {known_id}\r\n"
        f"Date: {rfc822_formatted_time()}\r\nServer: {_SERVER}\r\n{ends}\r\n"
    ).encode("latin-1")


class BodyAnswer(web.Response):
    """An answer whose body is bytes; a large one is sent as its caller reads (`UnreadAnswers`)."""

    _request: Any = None

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self._request = request
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        request, body = self._request, self.body
        if isinstance(body, bytes) and len(body) > SMALL and request.method != "HEAD":
            await request.app[UNREAD].send(request, self.write, body)
            await web.StreamResponse.write_eof(self)
        else:
            await super().write_eof(data)
        self._request = None


class JsonAnswer(BodyAnswer):
    """A success in JSON, or of another protocol by its `form`.

    It has only the headers of `head`. aiohttp collects a head field by field, which takes 12 µs
    longer: as much time as all other work around a signature.
    """

    def __init__(self, body: bytes, form: AnswerForm = JSON) -> None:
        super().__init__(body=body)
        self._form = form
        # A head that is written at once, and the size of head and body together.
        self._whole = b""
        self._size = 0

    @property
    def keep_alive(self) -> bool | None:
        """Tell whether the connection stays open, as it does after a whole head."""
        return True if self._whole else super().keep_alive

    @property
    def body_length(self) -> int:
        """Return the number of written bytes, for the access log."""
        return self._size or super().body_length

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
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
        self._whole = head(body, request_id(request), self._form)
        self._size = len(self._whole) + len(body)
        return request.writer

    async def write_eof(self, data: bytes = b"") -> None:
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
