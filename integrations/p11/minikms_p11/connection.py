"""A connection: the version, and frames of messages (p11-kit/rpc-transport.c).

A program sends one byte, the version of the protocol that it offers, and gets one back. Then come
frames: three numbers of four bytes, for its number, the length of its options and the length of its
message. An answer has the number of its request, and may overtake others.
"""

import asyncio
import logging
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Final, cast

from minikms_p11.application import Application
from minikms_p11.constants import CKR_FUNCTION_FAILED
from minikms_p11.dispatch import answer, error

_log = logging.getLogger(__name__)

NEWEST_VERSION: Final = 2
MOST_CALLS: Final = 64  # in flight
_LARGEST_MESSAGE: Final = 1 << 20
_LARGEST_OPTIONS: Final = 256
_LONGEST_CALL: Final = 10.0  # seconds that a restart waits for a call, such as for an RSA key
_LONGEST_READ: Final = 2.0  # seconds that it waits until answers are read
_LONGEST_REFUSAL: Final = 2.0  # seconds that the first byte of a refused program may take
_HEAD: Final = struct.Struct(">III")


class Connection(asyncio.Protocol):
    """The connection of a program."""

    def __init__(
        self,
        application: Application,
        on_end: Callable[["Connection"], None],
        version: int | None = None,
        unread: bytes = b"",
    ) -> None:
        self.application = application
        self.version = version
        self.unread = bytearray(unread)  # bytes that are not a whole frame yet
        self._on_end = on_end
        self._calls: set[asyncio.Task[None]] = set()
        self._paused = False  # for a restart
        self._full = False  # the program does not read its answers
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._perform()

    def data_received(self, data: bytes) -> None:
        self.unread += data
        self._perform()

    def connection_lost(self, error: Exception | None) -> None:
        for call in self._calls:
            call.cancel()
        self.application.close_all()
        self._on_end(self)

    def pause_writing(self) -> None:
        self._full = True
        self._read_or_not()

    def resume_writing(self) -> None:
        self._full = False
        self._perform()

    async def pause(self) -> None:
        """Begin no more calls; wait for the calls in flight, and until their answers are read.

        A call that takes too long fails, and a program that does not read loses its connection.
        """
        self._paused = True
        self._read_or_not()
        if self._calls:
            _, late = await asyncio.wait(self._calls, timeout=_LONGEST_CALL)
            for call in late:
                call.cancel()
            await asyncio.gather(*late)
        end = asyncio.get_running_loop().time() + _LONGEST_READ
        while self.transport.get_write_buffer_size() and not self.transport.is_closing():
            if asyncio.get_running_loop().time() > end:
                _log.warning("process %d does not read its answers", self.application.pid)
                self.transport.abort()
            await asyncio.sleep(0.005)

    def _perform(self) -> None:
        """Begin the calls of the whole frames that have arrived."""
        if self.version is None and self.unread:
            self.version = min(self.unread.pop(0), NEWEST_VERSION)
            self.transport.write(bytes((self.version,)))
        while self._may_begin() and len(self.unread) >= _HEAD.size:
            number, options, length = _HEAD.unpack_from(self.unread)
            if options > _LARGEST_OPTIONS or length > _LARGEST_MESSAGE:
                self.transport.abort()
                return
            begin = _HEAD.size + options
            if len(self.unread) < begin + length:
                break
            message = bytes(self.unread[begin : begin + length])
            del self.unread[: begin + length]
            self._call(number, message)
        self._read_or_not()

    def _call(self, number: int, message: bytes) -> None:
        assert self.version is not None  # noqa: S101
        result = answer(self.application, self.version, message)
        if isinstance(result, bytes):
            self._send(number, result)
            return
        waiting = self._wait(number, result)
        if sys.version_info >= (3, 12):  # a signature waits one turn of the loop less: 7 %
            loop = asyncio.get_running_loop()
            call = asyncio.Task(waiting, loop=loop, eager_start=True)
        else:
            call = asyncio.create_task(waiting)
        self._calls.add(call)
        call.add_done_callback(self._ended)

    async def _wait(self, number: int, result: Awaitable[bytes]) -> None:
        try:
            message = await result
        except asyncio.CancelledError:  # by a restart, or the end of the connection
            message = error(CKR_FUNCTION_FAILED)
        self._send(number, message)

    def _ended(self, call: asyncio.Task[None]) -> None:
        self._calls.discard(call)
        if not call.cancelled():  # before it began
            call.result()
            self._perform()

    def _send(self, number: int, message: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(_HEAD.pack(number, 0, len(message)) + message)

    def _may_begin(self) -> bool:
        may = not (self._paused or self._full or self.transport.is_closing())
        return may and len(self._calls) < MOST_CALLS

    def _read_or_not(self) -> None:
        if self.transport.is_closing():
            return
        if self._may_begin():
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()


class Refused(asyncio.Protocol):
    """The connection of a user who is not admitted.

    The connection is closed after its first byte, or after seconds: a program that writes to a
    closed socket is ended by SIGPIPE.
    """

    def __init__(self, all_refused: set["Refused"]) -> None:
        self._all = all_refused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._all.add(self)
        self._end = asyncio.get_running_loop().call_later(_LONGEST_REFUSAL, transport.close)

    def data_received(self, data: bytes) -> None:
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._end.cancel()
        self._all.discard(self)
