"""The heads of answers: what all of them have, and that of a success in JSON.

No other module names a field that all answers have.
"""

from typing import Any, Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from minikms.web.http.logs import REQUEST_ID_HEADER, request_id
from minikms.web.http.shutdown import Shutdown

CACHE_CONTROL: Final = "Cache-Control"
NO_STORE: Final = "no-store"

# Instead of aiohttp's, which has versions.
_SERVER: Final = "minikms"


def add_common_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Give the request's id and the server's name in an answer whose head aiohttp writes."""
    response.headers[REQUEST_ID_HEADER] = request_id(request)
    response.headers["Server"] = _SERVER


async def prepared(
    shutdown: Shutdown, request: web.BaseRequest, response: web.StreamResponse
) -> None:
    """The same as a signal of an application (`on_response_prepare`).

    Once the service is shutting down, the answer ends its connection (RFC 9112 section 9.6).
    """
    add_common_headers(request, response)
    if shutdown.begun:
        response.headers["Connection"] = "close"
        response.force_close()


def head(length: int, known: str, *, no_store: bool = False) -> bytes:
    """The head of a success in JSON, in HTTP/1.1 and on a connection that stays open.

    `known` is the request's id. With `no_store`, no cache keeps the answer (RFC 9111 section
    5.2.2.5).
    """
    cached = f"{CACHE_CONTROL}: {NO_STORE}\r\n" if no_store else ""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{cached}"
        f"Content-Length: {length}\r\n{REQUEST_ID_HEADER}: {known}\r\n"
        f"Date: {rfc822_formatted_time()}\r\nServer: {_SERVER}\r\n\r\n"
    ).encode("latin-1")


class JsonAnswer(web.Response):
    """A success in JSON.

    It has no other headers than those of `head`, of which `Cache-Control` can be set. aiohttp
    collects the head of a response member by member, which takes 12 µs more: as long as all else
    that is done around a signature.
    """

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Begin to send it."""
        if (
            request.version != HttpVersion11
            or not request.keep_alive
            or request.method == "HEAD"
            or not getattr(request.protocol, "whole_heads", False)
        ):
            self.content_type = "application/json"
            return await super().prepare(request)
        writer: Any = request.writer
        self._req, self._keep_alive, self._payload_writer = request, True, writer
        body: Any = self._body
        no_store = CACHE_CONTROL in self.headers
        writer._headers_buf = head(len(body), request_id(request), no_store=no_store)
        return self._payload_writer
