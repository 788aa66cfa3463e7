"""TLS in front of a PostgreSQL server, which the packaged server lacks."""

import contextlib
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from typing import Any

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_ASK_FOR_PASSWORD = b"R" + struct.pack("!ii", 8, 3)
_FIELDS = b"SFATAL\0VFATAL\0C28P01\0Mno\0\0"
_REFUSE = b"E" + struct.pack("!i", 4 + len(_FIELDS)) + _FIELDS


class TlsFront(socketserver.ThreadingTCPServer):
    """Answers connections to PostgreSQL on a loopback address, and records them.

    With a certificate it does TLS, and otherwise declines it. It passes connections on to the
    server at `target`; without one, it asks for the password in clear text and refuses it.
    """

    daemon_threads = True

    def __init__(self, target: int | None = None, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), _Connection)
        (self.host, self.port), self.target = self.server_address, target
        self.context: ssl.SSLContext | None = None
        self.passwords: list[str] = []
        self.startups: list[dict[str, str]] = []
        self.connections = self.plain = 0
        self.open: set[socket.socket] = set()

    def present(self, *certificate: str) -> None:
        """Use TLS with this certificate and key from now on, or no TLS."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
        if self.context:
            self.context.load_cert_chain(*certificate)

    def drop(self) -> None:
        """Close the connections that are open."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: clients that refuse the certificate close the connection."""


class _Connection(socketserver.BaseRequestHandler):
    server: TlsFront

    def handle(self) -> None:
        front = self.server
        front.connections += 1
        startup = _read(self.request, 8)
        if startup != _SSL_REQUEST:
            self._converse(self.request, startup)
        elif front.context:
            self.request.sendall(b"S")
            with front.context.wrap_socket(self.request, server_side=True) as connection:
                self._converse(connection, _read(connection, 8))
        else:
            self.request.sendall(b"N")
            self._converse(self.request, _read(self.request, 8))

    def _converse(self, connection: socket.socket, startup: bytes) -> None:
        front = self.server
        (size, _) = struct.unpack("!ii", startup)
        startup += _read(connection, size - 8)
        front.plain += not isinstance(connection, ssl.SSLSocket)
        words = startup[8:].decode().split("\0")
        front.startups.append(dict(zip(words[::2], words[1::2], strict=False)))
        if front.target is None:
            connection.sendall(_ASK_FOR_PASSWORD)
            (size,) = struct.unpack("!xi", _read(connection, 5))
            front.passwords.append(_read(connection, size - 4).decode().rstrip("\0"))
            connection.sendall(_REFUSE)
            return
        with socket.create_connection(("127.0.0.1", front.target)) as there:
            there.sendall(startup)
            front.open.add(there)
            back = threading.Thread(target=_forward, args=(there, connection), daemon=True)
            back.start()
            _forward(connection, there)
            back.join()
            front.open.discard(there)


def _read(connection: socket.socket, size: int) -> bytes:
    """Read exactly `size` bytes, and no byte of a TLS handshake behind them."""
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError
        data += more
    return data


def _forward(source: socket.socket, target: socket.socket) -> None:
    """Forward bytes, and then close both directions."""
    with contextlib.suppress(OSError, ValueError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            socket.socket.shutdown(end, socket.SHUT_RDWR)


@contextlib.contextmanager
def tls_front(target: int | None = None, host: str = "127.0.0.1") -> Iterator[TlsFront]:
    """A running front, closed at the end."""
    with TlsFront(target, host) as front:
        thread = threading.Thread(target=front.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield front
        finally:
            front.drop()
            front.shutdown()
            thread.join()
