"""Accepts connections; each takes a place first (http/places.py).

asyncio's servers accept any number of connections. If no descriptor is left, uvloop's servers close
accepted connections without logging it.
"""

import asyncio
import errno
import logging
import os
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any, Final

from minikms.http.places import REPORT_EVERY, Places

LOGGER = logging.getLogger("minikms")

# Length of the queue of connections to accept; the kernel may cap it (net.core.somaxconn).
_BACKLOG: Final = 1024
_AT_ONCE: Final = 64

# Bytes of a connection that the kernel buffers until they are read; Linux doubles the number. It
# also bounds the bytes that one turn of the event loop reads from a connection.
_RECEIVE_BUFFER: Final = 32 * 1024

# Limit of unfinished handshakes, about 65 KiB each. An honest caller needs a few round trips to
# finish, so its handshake is rarely the oldest of 512.
_HANDSHAKES: Final = 512

# In seconds.
_PAUSE: Final = 1.0
_DRAIN_STEP: Final = 0.02

_NONE_LEFT: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Accepts connections, and serves each with a protocol that `make` returns.

    The protocol must call its attribute `ended` once the connection is lost. A change of `tls`
    applies to later handshakes. A connection takes its place before its handshake. If too many
    handshakes are unfinished, the oldest is cancelled; `give_back_memory` is called once all have
    ended.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        places: Places,
        tls: ssl.SSLContext | None = None,
        handshake_timeout: float | None = None,
        give_back_memory: Callable[[], None] = lambda: None,
    ) -> None:
        self.tls = tls
        self._make = make
        self._places = places
        self._handshake_timeout = handshake_timeout
        self._listening: list[socket.socket] = []
        self._paused: dict[socket.socket, asyncio.TimerHandle] = {}
        # The tasks of unfinished handshakes, the oldest first.
        self._handshakes: dict[socket.socket, asyncio.Task[None]] = {}
        # True from the first cancelled handshake until none is left.
        self._crowded = False
        self._give_back_memory = give_back_memory
        self._none_left_said = -REPORT_EVERY

    async def listen(self, host: str, port: int, *, shared: bool = False) -> None:
        """Listen; `shared` lets other processes listen on the same port. Raises OSError."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            asyncio.Protocol, host, port, reuse_port=shared, start_serving=False
        )
        try:
            for bound in server.sockets:
                listening = socket.socket(fileno=os.dup(bound.fileno()))
                self._listening.append(listening)
                listening.setblocking(False)
                # Accepted connections inherit the options.
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                listening.listen(_BACKLOG)
        finally:
            server.close()
        for listening in self._listening:
            loop.add_reader(listening, self._accept, listening)

    @property
    def address(self) -> Any:
        """Return the socket address: host and port, and for IPv6 flow and scope."""
        return self._listening[0].getsockname()

    async def drain(self, seconds: float) -> None:
        """Accept waiting connections, stop listening, and wait up to `seconds` until all end."""
        for listening in self._listening:
            for _ in range(0, _BACKLOG, _AT_ONCE):
                if listening not in self._paused:
                    self._accept(listening)
        self._stop_listening()
        for _ in range(round(seconds / _DRAIN_STEP)):
            if not self._places.number:
                break
            await asyncio.sleep(_DRAIN_STEP)

    def close(self) -> None:
        """Stop listening, and cancel unfinished handshakes."""
        self._stop_listening()
        for task in self._handshakes.values():
            task.cancel()
        self._places.close()

    def _stop_listening(self) -> None:
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            loop.remove_reader(listening)
            if timer := self._paused.pop(listening, None):
                timer.cancel()
            listening.close()
        self._listening.clear()

    def _accept(self, listening: socket.socket) -> None:
        """Accept waiting connections, and close a connection that gets no place."""
        loop = asyncio.get_running_loop()
        for _ in range(_AT_ONCE):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                if exc.errno in _NONE_LEFT:
                    self._pause(listening, exc)
                    return
                continue  # the caller has already left
            give_back = self._places.take(address[0])
            if give_back is None:
                accepted.close()
                continue
            accepted.setblocking(False)
            opening = self._open(accepted, give_back)
            if sys.version_info >= (3, 12):
                task = asyncio.Task(opening, loop=loop, eager_start=True)
            else:
                task = loop.create_task(opening)
            if self.tls is not None and not task.done():
                self._bound_handshakes()
                self._handshakes[accepted] = task

    def _bound_handshakes(self) -> None:
        """Cancel the oldest handshake if there are too many."""
        if len(self._handshakes) >= _HANDSHAKES:
            self._handshakes.pop(next(iter(self._handshakes))).cancel()
            self._crowded = True

    async def _open(self, accepted: socket.socket, give_back: Callable[[], None]) -> None:
        """Serve a connection after its handshake."""

        def make() -> Any:
            connection = self._make()
            connection.ended = give_back
            return connection

        # If this fails, the transport closes the connection.
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                make,
                accepted,
                ssl=self.tls,
                ssl_handshake_timeout=self._handshake_timeout if self.tls else None,
            )
        except OSError:  # ssl.SSLError is a subclass
            give_back()
        except BaseException:
            give_back()
            raise
        finally:
            self._handshakes.pop(accepted, None)
            if self._crowded and not self._handshakes:
                self._crowded = False
                self._give_back_memory()

    def _pause(self, listening: socket.socket, exc: OSError) -> None:
        """Stop accepting for a while, and log the reason once a minute."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._places.refused["descriptors"] += 1
        self._paused[listening] = loop.call_later(_PAUSE, self._go_on, listening)
        if loop.time() - self._none_left_said >= REPORT_EVERY:
            self._none_left_said = loop.time()
            LOGGER.error("no connection can be accepted: %s", exc.strerror)

    def _go_on(self, listening: socket.socket) -> None:
        del self._paused[listening]
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)
