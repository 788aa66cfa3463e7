"""The listening ports and their TLS certificates."""

import logging
import ssl
from functools import partial
from typing import Final

from cryptography import x509

from minikms.basics.small_files import read_small_file
from minikms.config import Config
from minikms.http.acceptor import Acceptor
from minikms.http.places import Places, room_for
from minikms.http.proxies import is_one_of, parse_proxies
from minikms.http.server import KmsRunner
from minikms.serve.ports import cannot_listen
from minikms.startup_errors import TlsError

_MOST_PEM: Final = 1024 * 1024  # bytes

LOGGER = logging.getLogger("minikms")


def places_of(config: Config) -> Places:
    """Return the connection limits that all listeners of a process share."""
    return Places(
        room_for(config.max_connections),
        config.max_connections_per_address,
        partial(is_one_of, networks=parse_proxies(config.trusted_proxy)),
    )


class Listener(Acceptor):
    """Accepts connections for a runner, with TLS if the configuration names a certificate.

    Used instead of aiohttp's site, which cannot change its TLS and does not limit connections.
    `expires` is the end of the certificate's validity in seconds since the epoch, 0 without one.
    """

    def __init__(
        self, config: Config, runner: KmsRunner, places: Places, host: str, port: int
    ) -> None:
        """Read the certificates; raises TlsError."""
        super().__init__(
            lambda: runner.server(),  # type: ignore[misc]  # set by setup
            places,
            read_certificates(config),
            config.header_timeout,
            lambda: runner.server.give_back_memory(),  # type: ignore[union-attr]
        )
        self.expires = _expiry(config)
        self._config = config
        self._host, self._port = host, port

    async def start(self, *, shared: bool) -> None:
        """Listen; with `shared`, other processes may use the same port.

        Raises ListenError.
        """
        try:
            await self.listen(self._host, self._port, shared=shared)
        except OSError as exc:
            raise cannot_listen(self._host, self._port, exc) from None

    def renew(self) -> None:
        """Reload the certificates for new connections; bad files change nothing.

        They go into a new context: a session of the old context could be resumed without a check of
        the client's certificate against the CA that is trusted now. (`SSLContext.sni_callback` has
        that fault: sessions stay with the context that a connection began under.)
        """
        try:
            self.tls, self.expires = read_certificates(self._config), _expiry(self._config)
        except TlsError as exc:
            LOGGER.error("the old certificates stay in use: %s", exc)
        else:
            LOGGER.info("the certificates were read again")


def read_certificates(config: Config) -> ssl.SSLContext | None:
    """Make the configured TLS context, None without TLS; raises TlsError."""
    cert, key, client_ca = config.tls_cert, config.tls_key, config.tls_client_ca
    if not cert:
        if key or client_ca:
            raise TlsError("--tls-key and --tls-client-ca need --tls-cert.")
        return None
    for file in filter(None, (cert, key, client_ca)):
        try:
            read_small_file(file, _MOST_PEM)
        except OSError as exc:  # OpenSSL's own error does not name the file
            raise TlsError(f"{file} cannot be read: {exc.strerror}.") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # OpenSSL sends two session tickets, and each takes 4% of a handshake. Go's servers send one.
    context.num_tickets = 1
    try:
        # OpenSSL would prompt for the password of an encrypted key if none were given.
        context.load_cert_chain(cert, key or None, password="")  # nosec B106  # not a password
    except ssl.SSLError:
        files = f"{cert} and {key} do" if key else f"{cert} does"
        raise TlsError(
            f"{files} not contain a certificate and its own unencrypted key, in PEM."
        ) from None
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError:
            raise TlsError(f"{client_ca} does not contain a CA certificate, in PEM.") from None
    return context


def _expiry(config: Config) -> float:
    """Return the end of the certificate's validity, 0 without TLS; raises TlsError."""
    if not config.tls_cert:
        return 0.0
    try:
        chain = read_small_file(config.tls_cert, _MOST_PEM).content
        return x509.load_pem_x509_certificates(chain)[0].not_valid_after_utc.timestamp()
    except OSError as exc:  # it was removed meanwhile
        raise TlsError(f"{config.tls_cert} cannot be read: {exc.strerror}.") from None
    except ValueError:  # OpenSSL accepts forms that the library rejects
        return 0.0
