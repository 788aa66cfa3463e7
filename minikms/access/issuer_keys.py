"""The public keys of an identity provider: its JWK Set (RFC 7517), and when that is read anew."""

import asyncio
import contextlib
import logging
import ssl
import time
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

from minikms.addresses import is_loopback
from minikms.startup_errors import JwtError

LOGGER = logging.getLogger(__name__)

_MAX_BYTES: Final = 256 * 1024
_MAX_KEYS: Final = 64

# In seconds: for one reading; between two at least, whatever kids are asked for; and after which
# the set is read anew, so that a key that the provider has taken back is not trusted for good.
_TIMEOUT: Final = 5
_INTERVAL: Final = 60
_MAX_AGE: Final = 300

# What a key verifies, by its type and curve. What is not here, a symmetric key first of all, is
# passed over.
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
    """A public key, with the algorithms that it verifies, and no others (RFC 8725 section 3.1)."""

    kid: str | None
    algs: tuple[str, ...]
    public: Key


class IssuerKeys:
    """The keys of a JWK Set in a file or at a URL.

    It is read anew when a kid is asked for that it has not, at most once a minute, and when it is
    old. One reading goes on at a time, in a task of its own, for which only an unknown kid waits.
    A reading that fails changes nothing; `failed_reads` counts them.
    """

    def __init__(self, source: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read a file, or check a URL; raises JwtError."""
        self._source = source
        self._clock = clock
        self._url = _parse_url(source)
        self._tls = ssl.create_default_context()
        self._keys: list[IssuerKey] = []
        self._reading: asyncio.Task[None] | None = None
        self._begun = float("-inf")
        self.failed_reads = 0
        if not self._url:
            self._keys = _parse(_read_file(source))
            self._begun = clock()
            if not self._keys:
                raise JwtError("--jwt-jwks: It has no key that verifies signatures.")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask the URL for the first time, and leave no reading behind.

        A provider that does not answer yet is no reason not to start.
        """
        try:
            if self._url and (reading := self._begin()):
                await asyncio.wait([reading])
            yield
        finally:
            if self._reading:
                self._reading.cancel()
                await asyncio.wait([self._reading])

    async def find(self, alg: str, kid: str | None) -> Key | None:
        """The one key that has this kid, or any where there is none, and is used with `alg`."""
        if self._clock() - self._begun >= _MAX_AGE:
            self._begin()
        if not (found := self._named(kid)) and (reading := self._begin()):
            await asyncio.wait([reading])
            found = self._named(kid)
        fitting = [key.public for key in found if alg in key.algs]
        return fitting[0] if len(fitting) == 1 else None

    def _named(self, kid: str | None) -> list[IssuerKey]:
        return [key for key in self._keys if kid in (None, key.kid)]

    def _begin(self) -> asyncio.Task[None] | None:
        """The reading that is under way, begun now if the last one is long enough ago."""
        if self._reading and not self._reading.done():
            return self._reading
        if self._clock() - self._begun < _INTERVAL:
            return None
        self._begun = self._clock()
        self._reading = asyncio.create_task(self._read())
        return self._reading

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                if self._url:
                    content = await self._fetch(self._url)
                else:
                    content = await asyncio.to_thread(_read_file, self._source)
            self._keys = _parse(content)
        except TimeoutError:
            self._failed(f"--jwt-jwks: It does not answer within {_TIMEOUT} seconds.")
        except JwtError as exc:
            self._failed(str(exc))

    def _failed(self, why: str) -> None:
        self.failed_reads += 1
        LOGGER.warning("%s %d keys stay as they were.", why, len(self._keys))

    async def _fetch(self, url: URL) -> bytes:
        """What is at the URL; raises JwtError, which has nothing of it."""
        try:
            async with (
                # Nothing is unpacked, so that what is small when it arrives stays so.
                ClientSession(
                    connector=TCPConnector(ssl=self._tls),
                    headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                    auto_decompress=False,
                ) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise JwtError(f"--jwt-jwks: It answers {response.status}.")
                return await _read_body(response.content)
        except ClientConnectorError as exc:  # tells host, port, and what is wrong there
            raise JwtError(f"--jwt-jwks: {exc}.") from None
        except ClientError as exc:  # could tell the URL, or what the server sent
            raise JwtError(f"--jwt-jwks: It cannot be fetched: {type(exc).__name__}.") from None


def _parse_url(source: str) -> URL | None:
    """The URL that this is, None where it is a path; raises JwtError."""
    if not source.lower().startswith(("http:", "https:")):
        return None
    try:
        url = URL(source)
    except ValueError:
        raise JwtError("--jwt-jwks: The URL is not valid.") from None
    if not url.host or url.user is not None or url.password is not None:
        raise JwtError("--jwt-jwks: The URL needs a host, and no user or password.")
    if url.scheme == "http" and not is_loopback(url.host):
        # Whoever is on the way could put in keys of their own.
        raise JwtError("--jwt-jwks: A URL needs https, but for one of this machine's loopback.")
    return url


def _read_file(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return _limit(file.read(_MAX_BYTES + 1))
    except OSError as exc:
        raise JwtError(f"--jwt-jwks: {path} cannot be read: {exc.strerror}.") from None


async def _read_body(stream: StreamReader) -> bytes:
    body = b""
    async for chunk in stream.iter_any():
        body = _limit(body + chunk)
    return body


def _limit(content: bytes) -> bytes:
    if len(content) > _MAX_BYTES:
        raise JwtError(f"--jwt-jwks: It has more than {_MAX_BYTES} bytes.")
    return content


def _parse(content: bytes) -> list[IssuerKey]:
    """The keys of a JWK Set that can be used here; raises JwtError."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise JwtError("--jwt-jwks: It is not JSON.") from None
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise JwtError("--jwt-jwks: It is not a JWK Set.")
    if len(entries) > _MAX_KEYS:
        raise JwtError(f"--jwt-jwks: It has more than {_MAX_KEYS} keys.")
    keys = [key for entry in entries if (key := _import(entry))]
    LOGGER.info("--jwt-jwks was read: %d keys, %d of them of use", len(entries), len(keys))
    return keys


def _import(jwk: Any) -> IssuerKey | None:
    """A key of a set, None where it is none that signatures are verified by (RFC 7517 section 5).

    Neither is one whose private half was published with it.
    """
    if not isinstance(jwk, dict) or "d" in jwk or jwk.get("use", "sig") != "sig":
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", SecurityWarning)  # an RSA key of less than 2048 bits
        try:
            algs = _ALGORITHMS[jwk["kty"], jwk.get("crv")]
            key = import_key(jwk)
            key.check_key_op("verify")
        except (JoseError, SecurityWarning, UnsupportedAlgorithm, KeyError, TypeError, ValueError):
            return None
    algs = tuple(alg for alg in algs if key.alg in (None, alg))
    return IssuerKey(key.kid, algs, key) if algs else None
