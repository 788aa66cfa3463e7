"""Limits the number of requests in flight, and the time for a body to arrive."""

import asyncio
import contextlib
import math
from collections.abc import Iterator

from aiohttp import HttpVersion11, web

from minikms.basics.fair_gate import FairGate
from minikms.errors import RequestTimeout, TooBusy
from minikms.http.body_bounds import refuse_too_large


class InFlight:
    """Counts the requests in flight, and limits their number.

    A request does not count while it waits for its caller, so slow callers do not block others.
    """

    def __init__(self, most: int) -> None:
        self.number = 0
        self.most = most
        self._large = FairGate(1, TooBusy, most=math.inf)  # the requests in flight are limited

    def enter(self) -> None:
        """Count one more request; decrement `number` at its end. Raises TooBusy."""
        if self.number >= self.most:
            raise TooBusy()
        self.number += 1

    def check(self) -> None:
        """Raise TooBusy if the number is over the limit."""
        if self.number > self.most:
            raise TooBusy()

    async def take_turn(self, name: str) -> None:
        """Wait until a large body may be parsed, which occupies the event loop for milliseconds.

        One is parsed in each pass of the loop, so that other calls go on in between; names take
        turns.
        """
        async with self._large.held(name):
            await asyncio.sleep(0)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Do not count a request while it waits for its caller."""
        self.number -= 1
        try:
            yield
        finally:
            self.number += 1


async def read_body(request: web.Request, in_flight: InFlight, timeout: float, most: int) -> bytes:
    """Wait up to `timeout` seconds for a body of up to `most` bytes, and return it.

    A body can be read once. If the head announces a larger one, it is refused at once. Raises
    RequestTimeout, TooBusy and BodyTooLarge.
    """
    content = request.content
    refuse_too_large(request.content_length or 0, most)
    parts, size = [], 0
    try:
        with in_flight.waiting():
            async with asyncio.timeout(timeout):
                while part := await content.readany():
                    parts.append(part)
                    refuse_too_large(size := size + len(part), most)
    except TimeoutError:
        raise RequestTimeout() from None
    in_flight.check()  # other requests may have arrived
    return b"".join(parts)


async def expect(request: web.Request, most: int | None = None) -> None:
    """Ask for a body that the caller has not sent yet (RFC 9110 section 10.1.1).

    Raises BodyTooLarge if the body has more than `most` bytes, by default `--max-body`.
    """
    refuse_too_large(request.content_length or 0, most or request.client_max_size)
    if request.version != HttpVersion11:
        return
    if request.headers.get("Expect", "").lower() != "100-continue":
        raise web.HTTPExpectationFailed
    writer = request.writer
    await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    writer.output_size = 0  # these bytes do not count as part of the answer
