"""Where callers connect: the port, and the certificates that it is served under."""

import asyncio
import logging
import os
import socket
import ssl
from typing import Any, Final

from minikms.config import Config
from minikms.errors import TlsError
from minikms.web.server import KmsRunner

# Connections that wait to be accepted; the kernel has a limit of its own (net.core.somaxconn).
_BACKLOG: Final = 1024

LOGGER = logging.getLogger("minikms")


class Listener:
    """Accepts connections for a runner, over TLS where the configuration names a certificate.

    Not aiohttp's site, whose TLS stays as it is for good.
    """

    def __init__(self, config: Config, runner: KmsRunner) -> None:
        """Read the certificates; raises TlsError."""
        self._config = config
        self._runner = runner
        self._tls = read_certificates(config)
        self._servers: list[asyncio.Server] = []

    async def start(self, *, shared: bool) -> None:
        """Listen; `shared` lets other processes do so on the same port."""
        where = {"host": self._config.host, "port": self._config.port, "reuse_port": shared}
        self._servers = [await self._listen(self._tls, **where)]

    @property
    def address(self) -> Any:
        """Host and port, and for IPv6 what belongs to them."""
        return self._servers[0].sockets[0].getsockname()

    async def renew(self) -> None:
        """Read the certificates anew, for connections from now on; bad ones change nothing.

        The same sockets, so that no caller is turned away, but under a context that knows nothing
        of the one before: a session of that one could be resumed without its client's certificate
        being looked at, whatever CA is trusted by now. (It is what `SSLContext.sni_callback` would
        do: sessions stay with the context that a connection began under.)
        """
        renewed: list[asyncio.Server] = []
        try:
            tls = read_certificates(self._config)
            for server in self._servers:
                for listening in server.sockets:
                    again = socket.socket(fileno=os.dup(listening.fileno()))
                    renewed.append(await self._listen(tls, sock=again))
        except (TlsError, OSError) as exc:
            LOGGER.error("the certificates stay as they were: %s", exc)
            replaced = renewed
        else:
            LOGGER.info("the certificates were read anew")
            replaced, self._servers = self._servers, renewed
        for server in replaced:
            server.close()

    def close(self) -> None:
        """Accept no more."""
        for server in self._servers:
            server.close()

    async def _listen(self, tls: ssl.SSLContext | None, **where: Any) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(
            self._runner.server,  # type: ignore[arg-type]
            ssl=tls,
            ssl_handshake_timeout=self._config.header_timeout if tls else None,
            backlog=_BACKLOG,
            **where,
        )


def read_certificates(config: Config) -> ssl.SSLContext | None:
    """What callers' handshakes go by, None where there is no TLS; raises TlsError."""
    cert, key, client_ca = config.tls_cert, config.tls_key, config.tls_client_ca
    if not cert:
        if key or client_ca:
            raise TlsError("--tls-key and --tls-client-ca need --tls-cert.")
        return None
    for file in filter(None, (cert, key, client_ca)):
        try:
            open(file, "rb").close()
        except OSError as exc:  # which does not tell the file where OpenSSL opens it
            raise TlsError(f"{file} cannot be read: {exc.strerror}.") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Of a key that is encrypted nobody is asked the password.
        context.load_cert_chain(cert, key or None, password="")  # nosec B106  # it is no password
    except ssl.SSLError:
        what = f"{cert} and {key} do not have" if key else f"{cert} does not have"
        raise TlsError(f"{what} a certificate and its own unencrypted key, in PEM.") from None
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError:
            raise TlsError(f"{client_ca} does not have the certificate of a CA, in PEM.") from None
    return context
