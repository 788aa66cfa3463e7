"""A seal by a key in the Transit engine of HashiCorp Vault or OpenBao."""

import asyncio
import re
import ssl
from base64 import b64decode, b64encode
from typing import Final

import orjson
from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, TCPConnector
from yarl import URL

from minikms.basics.addresses import service_url
from minikms.basics.secret_files import read_secret
from minikms.seals.seal import Seal, SealFault, SealUnavailable, seal_options

_URI: Final = re.compile(r"vault-transit:(https?://[^/?#]+)(/[^?#]*)?/v1/([^?#]+)/keys/([^/?#]+)")
_TIMEOUT: Final = 5  # seconds
_MAX_BYTES: Final = 256 * 1024

_NOT_VAULT: Final = "Its answer is not in Vault's format."


class VaultTransit(Seal):
    """Encrypts by `POST /v1/MOUNT/encrypt/NAME`, with a token that is read from its file each time.

    An address without TLS must be loopback, since the answers contain the store key.
    """

    def __init__(self, uri: str) -> None:
        place, _, query = uri.partition("?")
        found = _URI.fullmatch(place)
        if not found:
            raise ValueError("It is vault-transit:URL/v1/MOUNT/keys/NAME?token-file=FILE.")
        options = seal_options(query, ("token-file", "ca-file", "namespace"))
        if "token-file" not in options:
            raise ValueError("It lacks token-file.")
        server, path, mount, self._key = found.groups()
        service_url(server)
        self._mount = f"{server}{path or ''}/v1/{mount}"
        self._token_file = options["token-file"]
        self._ca_file = options.get("ca-file")
        self._namespace = options.get("namespace")

    def seal(self, secret: bytes, associated_data: bytes) -> bytes:
        ciphertext = self._call("encrypt", "ciphertext", associated_data, plaintext=_base64(secret))
        return ciphertext.encode()

    def unseal(self, ciphertext: bytes, associated_data: bytes) -> bytes:
        sealed = ciphertext.decode("ascii", "replace")
        plaintext = self._call("decrypt", "plaintext", associated_data, ciphertext=sealed)
        try:
            return b64decode(plaintext, validate=True)
        except ValueError:
            raise SealUnavailable(_NOT_VAULT) from None

    def _call(self, operation: str, wanted: str, associated_data: bytes, **body: str) -> str:
        """Call the engine, and return a member of the answer."""
        headers = {"X-Vault-Token": read_secret(self._token_file, "token", SealUnavailable)}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        url = URL(f"{self._mount}/{operation}/{self._key}", encoded=True)
        body["associated_data"] = _base64(associated_data)
        try:
            status, content = asyncio.run(self._post(url, body, headers))
        except TimeoutError:
            raise SealUnavailable(f"It did not answer within {_TIMEOUT} seconds.") from None
        except ClientConnectorError as exc:  # names host, port and reason
            raise SealUnavailable(f"{exc}.") from None
        except ClientError as exc:  # may contain parts of the request
            raise SealUnavailable(f"The call fails: {type(exc).__name__}.") from None
        if status == 400:
            raise SealFault("It does not know the key, or refuses the ciphertext (400).")
        if status != 200:
            raise SealUnavailable(f"It answers {status}{_MEANINGS.get(status, '')}.")
        try:
            match orjson.loads(content):
                case {"data": {**members}} if isinstance(member := members.get(wanted), str):
                    return member
        except orjson.JSONDecodeError:
            pass
        raise SealUnavailable(_NOT_VAULT)

    async def _post(
        self, url: URL, body: dict[str, str], headers: dict[str, str]
    ) -> tuple[int, bytes]:
        """Send a body; return the status and the content of the answer."""
        try:
            tls = ssl.create_default_context(cafile=self._ca_file)
        except OSError as exc:  # includes ssl.SSLError
            raise SealUnavailable(f"The ca-file cannot be used: {exc.strerror}.") from None
        async with (
            ClientSession(
                connector=TCPConnector(ssl=tls), timeout=ClientTimeout(total=_TIMEOUT)
            ) as session,
            # A redirect would send the token to another server.
            session.post(url, json=body, headers=headers, allow_redirects=False) as response,
        ):
            content = b""
            while len(content) <= _MAX_BYTES and (part := await response.content.read(_MAX_BYTES)):
                content += part
            return response.status, content


_MEANINGS: Final = {
    403: ": the token is not valid, or may not use the key",
    404: ": it has no engine at this path",
    503: ": it is sealed, or not ready",
}


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
