"""Answers in JSON, whose head is written at once where it is as it mostly is."""

from typing import Any, Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.helpers import rfc822_formatted_time

from minikms.web.http import logs

CACHE_CONTROL: Final = "Cache-Control"
NO_STORE: Final = "no-store"


class JsonAnswer(web.Response):
    """A success in JSON.

    It has no other headers than those here, of which `Cache-Control` can be set. aiohttp collects
    the head of a response member by member, which takes 12 µs more: as long as all else that is
    done around a signature.
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
            logs.add_headers(request, self)
            return await super().prepare(request)
        writer: Any = request.writer
        self._req, self._keep_alive, self._payload_writer = request, True, writer
        body: Any = self._body
        no_store = CACHE_CONTROL in self.headers
        writer._headers_buf = head(len(body), logs.request_id(request), no_store=no_store)
        return self._payload_writer


def head(length: int, request_id: str, *, no_store: bool = False) -> bytes:
    """The head of a success in JSON, in HTTP/1.1 and on a connection that stays open.

    With `no_store`, no cache keeps the answer (RFC 9111 section 5.2.2.5).
    """
    cached = f"{CACHE_CONTROL}: {NO_STORE}\r\n" if no_store else ""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{cached}"
        f"Content-Length: {length}\r\n{logs.HEADER}: {request_id}\r\n"
        f"Date: {rfc822_formatted_time()}\r\nServer: {logs.SERVER}\r\n\r\n"
    ).encode("latin-1")
