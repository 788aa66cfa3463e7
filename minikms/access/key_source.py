"""The place of an issuer's JWK Set, and how its content is read: from a file, or by HTTPS."""

import asyncio
import functools
import ssl
from typing import Any, Final, NamedTuple

import orjson
from aiohttp import ClientConnectorError, ClientError, ClientSession, StreamReader, TCPConnector
from yarl import URL

from minikms.basics.addresses import service_url
from minikms.basics.small_files import read_small_file
from minikms.startup_errors import JwtError

_MAX_BYTES: Final = 256 * 1024

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

    @property
    def is_url(self) -> bool:
        """False if the place is the path of a file."""
        return self.discovery or self.place.lower().startswith(("http:", "https:"))


class KeyReader:
    """Reads the content of a JWK Set; `url` is None if it is in a file."""

    def __init__(self, source: KeySource) -> None:
        """Check the URL and the CAs; raises JwtError."""
        self._source = source
        self.url = _parse_url(source)
        if source.ca:
            _ = self._tls

    def read_file(self) -> bytes:
        """Read the file; raises JwtError."""
        return _read_file(self._source.place)

    async def read(self) -> bytes:
        """Read the file in a thread, or fetch the URL; raises JwtError."""
        if self.url is None:
            return await asyncio.to_thread(self.read_file)
        return await self._fetch_set(self.url)

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """The TLS context with the trusted CAs; a set in a file needs none. Raises JwtError."""
        try:
            return ssl.create_default_context(cafile=self._source.ca or None)
        except OSError as exc:  # also ssl.SSLError
            why = "it has no PEM" if isinstance(exc, ssl.SSLError) else exc.strerror
            raise JwtError(f"The CA in {self._source.ca} cannot be read: {why}.") from None

    async def _fetch_set(self, url: URL) -> bytes:
        """Fetch the JWK Set, by the issuer's configuration with `discovery`; raises JwtError."""
        if not self._source.discovery:
            return await self._fetch(url, "JWK Set")
        place = self._source.place.removesuffix("/") + _CONFIGURATION
        document = load_object(await self._fetch(URL(place), "configuration"), "configuration")
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
        if file and self.url is not None and url.origin() == self.url.origin():
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
    if not source.is_url:
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


def load_object(content: bytes, what: str) -> dict[str, Any]:
    """Parse a JSON object; raises JwtError."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise JwtError(f"The {what} is not JSON.") from None
    return document if isinstance(document, dict) else {}
