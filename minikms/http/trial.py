"""Tries batches with the installed aiohttp: makes calls on a connection in memory."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import aiohttp
from aiohttp import web

_BODY: Final = b"{}"
_WAITING: Final = "/waiting"
_HANDED_OVER: Final = "/handed-over"
_AT_ONCE: Final = "/at-once"
# More requests than aiohttp lets wait: it stops reading if the count of waiting ones does not fall.
_CALLS: Final = 40
_LONGEST: Final = 5.0  # seconds


class _Memory(asyncio.Transport):
    """A transport that keeps the written bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def fault(make_server: Callable[[web.Server, web.Application], Any]) -> str:
    """Describe the fault with the version of aiohttp; return "" if all calls are answered.

    `make_server` makes a `KmsServer` that starts requests in batches, from a server of aiohttp's.
    """
    app = web.Application()

    async def wait(request: web.Request) -> Any:
        await asyncio.sleep(0)
        return _BODY

    async def hand_over(request: web.Request) -> Any:
        await asyncio.sleep(0)  # until the batch counts the call as waiting
        server.hand_over()
        await asyncio.sleep(0)
        return _BODY

    async def answer(request: web.Request) -> Any:
        if not getattr(request.protocol, "batched", False):
            raise RuntimeError("a request was not started in a batch")
        return _BODY

    app.router.add_post(_WAITING, wait)
    app.router.add_post(_HANDED_OVER, hand_over)
    app.router.add_post(_AT_ONCE, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    transport = _Memory()
    try:
        if runner.server is None:
            return "aiohttp makes no server"
        server = make_server(runner.server, app)
        connection = server()
        connection.connection_made(transport)
        try:
            async with asyncio.timeout(_LONGEST):
                for path in (_WAITING, _HANDED_OVER, *[_AT_ONCE] * _CALLS, _WAITING):
                    await _call(connection, transport, path)
        finally:
            connection.connection_lost(None)
    except Exception as exc:
        return f"aiohttp {aiohttp.__version__} does not answer in batches ({exc!r})"
    finally:
        await runner.cleanup()
    return ""


async def _call(connection: web.RequestHandler, transport: _Memory, path: str) -> None:
    """Send a call, and wait for its answer; raises ValueError for a wrong answer."""
    await asyncio.sleep(0)  # until the connection is idle
    transport.written = b""
    connection.data_received(
        f"POST {path} HTTP/1.1\r\nHost: kms\r\nContent-Length: 2\r\n\r\n".encode() + _BODY
    )
    while not transport.written.endswith(b"\r\n\r\n" + _BODY):
        if transport.closed:
            raise ConnectionError("no answer")
        await asyncio.sleep(0)
    if not transport.written.startswith(b"HTTP/1.1 200 OK\r\n"):
        raise ValueError("another answer")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
