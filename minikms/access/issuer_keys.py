"""An identity provider's public keys: a JWK Set (RFC 7517), reloaded when needed."""

import asyncio
import contextlib
import functools
import hashlib
import logging
import ssl
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

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


# The path of an issuer's configuration (OpenID Connect Discovery 1.0 section 4).
_CONFIGURATION: Final = "/.well-known/openid-configuration"

# In bytes: the largest token that is sent for the JWK Set.
_MAX_TOKEN: Final = 16 * 1024


class KeySource(NamedTuple):
    """The place of an issuer's JWK Set: a file, a URL, or with `discovery` the issuer's URL.

    In the last case, the issuer's configuration names the URL of the set. `ca` is a file of the
    CAs that are trusted, the system's if it is empty. The token in `token_file`, if there is one,
    is sent to the server of `place`. Messages begin with `option`.
    """

    place: str
    discovery: bool = False
    ca: str = ""
    token_file: str = ""
    option: str = "--jwt-jwks"


@dataclass(frozen=True, slots=True)
class IssuerKey:
    """A public key, and the algorithms that it may verify, no others (RFC 8725 section 3.1)."""

    kid: str | None
    algs: tuple[str, ...]
    public: Key


class IssuerKeys:
    """The keys of an issuer's JWK Set.

    The set is reloaded for an unknown kid, at most once a minute, and when it is old. One read runs
    at a time, in its own task; only tokens with an unknown kid wait for it. A failed read changes
    nothing; `failed_reads` counts them. `generation` counts the different sets that were read.
    """

    def __init__(self, source: KeySource, *, clock: Callable[[], float] = clocks.now) -> None:
        """Read a file, or check a URL; raises JwtError."""
        self._source = source
        self._clock = clock
        self._keys: list[IssuerKey] = []
        self._digest = b""
        self._read_task: asyncio.Task[None] | None = None
        self._started = float("-inf")
        self.failed_reads = self.generation = 0
        try:
            self._url = _parse_url(source)
            if not self._url:
                self._take(_read_file(source.place))
                self._started = clock()
                if not self._keys:
                    raise JwtError("The JWK Set has no key that verifies signatures.")
            if source.ca:
                _ = self._tls
        except JwtError as exc:
            raise JwtError(f"{source.option}: {exc}") from None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read the URL before the block; after the block, cancel a read that still runs.

        The service starts even if the provider does not answer.
        """
        try:
            if reading := self.start():
                await asyncio.wait([reading])
            yield
        finally:
            await self.stop()

    def start(self) -> asyncio.Task[None] | None:
        """Begin to read the URL, if there is one."""
        return self._start_read() if self._url else None

    async def stop(self) -> None:
        """Cancel a read that still runs."""
        if self._read_task:
            self._read_task.cancel()
            await asyncio.wait([self._read_task])

    def are_still(self, generation: int) -> bool:
        """Tell whether the set is the one of `generation`; begin to reload an old set."""
        if self._clock() - self._started >= _MAX_AGE:
            self._start_read()
        return self.generation == generation

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
                    content = await self._fetch_set(self._url)
                else:
                    content = await asyncio.to_thread(_read_file, self._source.place)
            self._take(content)
        except TimeoutError:
            self._failed(f"The provider did not answer within {_TIMEOUT} seconds.")
        except JwtError as exc:
            self._failed(str(exc))

    def _take(self, content: bytes) -> None:
        """Use the keys of a JWK Set from now on; raises JwtError."""
        keys, ignored = _parse(content)
        digest = hashlib.sha256(content).digest()
        if digest != self._digest:
            self._digest = digest
            self.generation += 1
        self._keys = keys
        LOGGER.info(
            "%s was read: %d keys, %d of them usable",
            self._source.option,
            len(keys) + ignored,
            len(keys),
        )

    def _failed(self, why: str) -> None:
        self.failed_reads += 1
        LOGGER.warning(
            "%s: %s The %d keys read before stay in use.",
            self._source.option,
            why,
            len(self._keys),
        )

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """The TLS context with the trusted CAs; a set in a file needs none. Raises JwtError."""
        try:
            return ssl.create_default_context(cafile=self._source.ca or None)
        except OSError as exc:  # also ssl.SSLError
            why = exc.strerror if exc.filename or not isinstance(exc, ssl.SSLError) else "no PEM"
            raise JwtError(f"The CA in {self._source.ca} cannot be read: {why}.") from None

    async def _fetch_set(self, url: URL) -> bytes:
        """Fetch the JWK Set, by the issuer's configuration with `discovery`; raises JwtError."""
        if not self._source.discovery:
            return await self._fetch(url, "JWK Set")
        place = self._source.place.removesuffix("/") + _CONFIGURATION
        document = _load(await self._fetch(URL(place), "configuration"), "configuration")
        if document.get("issuer") != self._source.place:
            raise JwtError("The configuration names another issuer.")
        try:
            jwks_uri = service_url(str(document.get("jwks_uri", "")))
        except ValueError as exc:
            raise JwtError(f"The jwks_uri of the configuration: {exc}") from None
        return await self._fetch(jwks_uri, "JWK Set")

    async def _headers(self, url: URL) -> dict[str, str]:
        """Return the headers of a request; raises JwtError if the token cannot be read."""
        # Without decompression, the limit of bytes applies to the received bytes.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        file = self._source.token_file
        if file and self._url is not None and url.origin() == self._url.origin():
            token = (await asyncio.to_thread(_read_file, file, _MAX_TOKEN)).strip()
            if not token.isascii() or not token.decode().isprintable() or not token:
                raise JwtError(f"{file} has no token.")
            headers["Authorization"] = f"Bearer {token.decode()}"
        return headers

    async def _fetch(self, url: URL, what: str) -> bytes:
        """Fetch the content of a URL; raises JwtError, which never quotes the content."""
        headers = await self._headers(url)
        try:
            async with (
                ClientSession(
                    connector=TCPConnector(ssl=self._tls), headers=headers, auto_decompress=False
                ) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                if response.status != 200:
                    raise JwtError(f"The provider answered {response.status}.")
                return await _read_body(response.content, what)
        except ClientConnectorError as exc:  # names host, port and reason
            raise JwtError(f"{exc}.") from None
        except ClientError as exc:  # may contain the URL or content of the answer
            raise JwtError(f"The {what} cannot be fetched: {type(exc).__name__}.") from None


def _parse_url(source: KeySource) -> URL | None:
    """Parse the URL of a source; None if it is a path. Raises JwtError."""
    if not (source.discovery or source.place.lower().startswith(("http:", "https:"))):
        return None
    try:
        return service_url(source.place)
    except ValueError as exc:
        raise JwtError(str(exc)) from None


def _read_file(path: str, most: int = _MAX_BYTES) -> bytes:
    try:
        return read_small_file(path, most).content
    except OSError as exc:
        raise JwtError(f"{path} cannot be read: {exc.strerror}.") from None


async def _read_body(stream: StreamReader, what: str) -> bytes:
    try:
        await stream.readexactly(_MAX_BYTES + 1)
    except asyncio.IncompleteReadError as exc:
        return exc.partial
    raise JwtError(f"The {what} has more than {_MAX_BYTES} bytes.")


def _load(content: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object; raises JwtError."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise JwtError(f"The {what} is not JSON.") from None
    return document if isinstance(document, dict) else {}


def _parse(content: bytes) -> tuple[list[IssuerKey], int]:
    """Return the usable keys of a JWK Set, and the number of the others; raises JwtError."""
    entries = _load(content, "JWK Set").get("keys")
    if not isinstance(entries, list):
        raise JwtError("The document is not a JWK Set.")
    if len(entries) > _MAX_KEYS:
        raise JwtError(f"The JWK Set has more than {_MAX_KEYS} keys.")
    keys = [key for entry in entries if (key := _import(entry))]
    return keys, len(entries) - len(keys)


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
