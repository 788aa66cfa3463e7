"""An identity provider's public keys: a JWK Set (RFC 7517), reloaded when needed."""

import asyncio
import contextlib
import functools
import logging
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from aiohttp import ClientConnectorError, ClientError, ClientSession, StreamReader, TCPConnector
from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key, import_key
from yarl import URL

from minikms.basics import clocks
from minikms.basics.addresses import service_url
from minikms.basics.small_files import read_small_file
from minikms.startup_errors import JwtError

LOGGER = logging.getLogger(__name__)

_MAX_BYTES: Final = 256 * 1024
_MAX_KEYS: Final = 64

# The time limit of one read, in seconds.
_TIMEOUT: Final = 5
# The least seconds between two reads, whatever kids tokens name.
_INTERVAL: Final = 60
# The age in seconds at which the set is read again, so that keys withdrawn by the provider expire.
_MAX_AGE: Final = 300

# The algorithms that keys verify, by key type and curve. Other keys, above all symmetric ones, are
# ignored.
_ALGORITHMS: Final = {
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),
    ("OKP", "Ed448"): ("EdDSA", "Ed448"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("EC", "secp256k1"): ("ES256K",),
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
}
ALGORITHMS: Final = frozenset(name for names in _ALGORITHMS.values() for name in names)


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key, and the algorithms that it may verify, no others (RFC 8725 section 3.1)."""

    kid: str | None
    algs: tuple[str, ...]
    public: Key


class IssuerKeys:
    """The keys of a JWK Set in a file or at a URL.

    The set is reloaded for an unknown kid, at most once a minute, and when it is old. One read runs
    at a time, in its own task; only tokens with an unknown kid wait for it. A failed read changes
    nothing; `failed_reads` counts them.
    """

    def __init__(self, source: str, *, clock: Callable[[], float] = clocks.now) -> None:
        """Read a file, or check a URL; raises JwtError."""
        self._source = source
        self._clock = clock
        self._url = _parse_url(source)
        self._keys: list[IssuerKey] = []
        self._read_task: asyncio.Task[None] | None = None
        self._started = float("-inf")
        self.failed_reads = 0
        if not self._url:
            self._keys = _parse(_read_file(source))
            self._started = clock()
            if not self._keys:
                raise JwtError("--jwt-jwks: The JWK Set has no key that verifies signatures.")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read the URL before the block; after the block, cancel a read that still runs.

        The service starts even if the provider does not answer.
        """
        try:
            if self._url and (task := self._start_read()):
                await asyncio.wait([task])
            yield
        finally:
            if self._read_task:
                self._read_task.cancel()
                await asyncio.wait([self._read_task])

    async def find(self, alg: str, kid: str | None) -> Key | None:
        """Return the only key that verifies `alg` and has this kid, any kid for None, or None."""
        if self._clock() - self._started >= _MAX_AGE:
            self._start_read()
        if not (found := self._named(kid)) and (task := self._start_read()):
            await asyncio.wait([task])
            found = self._named(kid)
        fitting = [key.public for key in found if alg in key.algs]
        return fitting[0] if len(fitting) == 1 else None

    def _named(self, kid: str | None) -> list[IssuerKey]:
        return [key for key in self._keys if kid in (None, key.kid)]

    def _start_read(self) -> asyncio.Task[None] | None:
        """Return the running read; start one if the last one is old enough; else None."""
        if self._read_task and not self._read_task.done():
            return self._read_task
        if self._clock() - self._started < _INTERVAL:
            return None
        self._started = self._clock()
        self._read_task = asyncio.create_task(self._read())
        return self._read_task

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                if self._url:
                    content = await self._fetch(self._url)
                else:
                    content = await asyncio.to_thread(_read_file, self._source)
            self._keys = _parse(content)
        except TimeoutError:
            self._failed(f"--jwt-jwks: The provider did not answer within {_TIMEOUT} seconds.")
        except JwtError as exc:
            self._failed(str(exc))

    def _failed(self, why: str) -> None:
        self.failed_reads += 1
        LOGGER.warning("%s The %d keys read before stay in use.", why, len(self._keys))

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """The TLS context, which trusts the system's certificates; a set in a file needs none."""
        return ssl.create_default_context()

    async def _fetch(self, url: URL) -> bytes:
        """Fetch the content of the URL; raises JwtError, which never quotes the content."""
        try:
            async with (
                # Without decompression, the limit of bytes applies to the received bytes.
                ClientSession(
                    connector=TCPConnector(ssl=self._tls),
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                    auto_decompress=False,
                ) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise JwtError(f"--jwt-jwks: The provider answered {response.status}.")
                return await _read_body(response.content)
        except ClientConnectorError as exc:  # names host, port and reason
            raise JwtError(f"--jwt-jwks: {exc}.") from None
        except ClientError as exc:  # may contain the URL or content of the answer
            raise JwtError(
                f"--jwt-jwks: The JWK Set cannot be fetched: {type(exc).__name__}."
            ) from None


def _parse_url(source: str) -> URL | None:
    """Parse a URL; None if `source` is a path. Raises JwtError."""
    if not source.lower().startswith(("http:", "https:")):
        return None
    try:
        return service_url(source)
    except ValueError as exc:
        raise JwtError(f"--jwt-jwks: {exc}") from None


def _read_file(path: str) -> bytes:
    try:
        return read_small_file(path, _MAX_BYTES).content
    except OSError as exc:
        raise JwtError(f"--jwt-jwks: {path} cannot be read: {exc.strerror}.") from None


async def _read_body(stream: StreamReader) -> bytes:
    try:
        await stream.readexactly(_MAX_BYTES + 1)
    except asyncio.IncompleteReadError as exc:
        return exc.partial
    raise JwtError(f"--jwt-jwks: The JWK Set has more than {_MAX_BYTES} bytes.")


def _parse(content: bytes) -> list[IssuerKey]:
    """Return the usable keys of a JWK Set; raises JwtError."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise JwtError("--jwt-jwks: The JWK Set is not JSON.") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise JwtError("--jwt-jwks: The document is not a JWK Set.")
    if len(entries) > _MAX_KEYS:
        raise JwtError(f"--jwt-jwks: The JWK Set has more than {_MAX_KEYS} keys.")
    keys = [key for entry in entries if (key := _import(entry))]
    LOGGER.info("--jwt-jwks was read: %d keys, %d of them usable", len(entries), len(keys))
    return keys


def _import(jwk: Any) -> IssuerKey | None:
    """Import a JWK; None if it does not verify signatures (RFC 7517 section 5).

    A key published with its private part is also ignored.
    """
    if not isinstance(jwk, dict) or "d" in jwk or jwk.get("use", "sig") != "sig":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", SecurityWarning)  # such as an RSA key of less than 2048 bits
        try:
            algs = _ALGORITHMS[jwk["kty"], jwk.get("crv")]
            key = import_key(jwk)
            key.check_key_op("verify")
        except (JoseError, SecurityWarning, UnsupportedAlgorithm, KeyError, TypeError, ValueError):
            return None
    algs = tuple(alg for alg in algs if key.alg in (None, alg))
    return IssuerKey(key.kid, algs, key) if algs else None
