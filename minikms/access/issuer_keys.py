"""An identity provider's public keys: a JWK Set (RFC 7517), reloaded when needed."""

import asyncio
import contextlib
import hashlib
import logging
import warnings
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import Key, import_key

from minikms.access.key_source import KeyReader, KeySource, load_object
from minikms.basics import clocks
from minikms.startup_errors import JwtError

LOGGER = logging.getLogger(__name__)

_MAX_KEYS: Final = 64

# The time limit of one read, in seconds.
_TIMEOUT: Final = 5
# The least seconds between two reads, whatever kids tokens name.
_INTERVAL: Final = 60
# The age in seconds at which the set is read again, so that keys withdrawn by the provider expire.
_MAX_AGE: Final = 300

# The uses of keys that verify signatures: RFC 7517 section 4.2, and in bundles SPIFFE Trust Domain
# and Bundle section 4.2.2.
_USES: Final = ("sig", "jwt-svid")

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
    """The keys of an issuer's JWK Set.

    The set is reloaded for an unknown kid, at most once a minute, and when it is old. One read runs
    at a time, in its own task; only tokens with an unknown kid wait for it. A failed read changes
    nothing; `failed_reads` counts them. `generation` counts the different sets that were read.
    """

    def __init__(self, source: KeySource, *, clock: Callable[[], float] = clocks.now) -> None:
        """Read a file, or check a URL; raises JwtError."""
        self._option = source.option
        self._clock = clock
        self._keys: list[IssuerKey] = []
        self._digest = b""
        self._read_task: asyncio.Task[None] | None = None
        self._started = float("-inf")
        self.failed_reads = self.generation = 0
        try:
            self._reader = KeyReader(source)
            if self._reader.url is None:
                self._take(self._reader.read_file())
                self._started = clock()
                if not self._keys:
                    raise JwtError("The JWK Set has no key that verifies signatures.")
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
        return self._start_read() if self._reader.url else None

    async def load(self) -> None:
        """Read the set now; raises JwtError."""
        self._started = self._clock()
        try:
            async with asyncio.timeout(_TIMEOUT):
                content = await self._reader.read()
        except TimeoutError:
            raise JwtError(f"The provider did not answer within {_TIMEOUT} seconds.") from None
        self._take(content)

    async def stop(self) -> None:
        """Cancel a read that still runs."""
        if self._read_task:
            self._read_task.cancel()
            await asyncio.wait([self._read_task])

    def are_still(self, generation: int) -> bool:
        """Tell whether the set is the one of `generation`; begin to reload an old set."""
        self._reload_if_old()
        return self.generation == generation

    async def find(self, alg: str, kid: str | None) -> Key | None:
        """Return the only key that verifies `alg` and has this kid, any kid for None, or None."""
        self._reload_if_old()
        if not (found := self._named(kid)) and (task := self._start_read()):
            await asyncio.wait([task])
            found = self._named(kid)
        fitting = [key.public for key in found if alg in key.algs]
        return fitting[0] if len(fitting) == 1 else None

    def _reload_if_old(self) -> None:
        if self._clock() - self._started >= _MAX_AGE:
            self._start_read()

    def _named(self, kid: str | None) -> list[IssuerKey]:
        return [key for key in self._keys if kid in (None, key.kid)]

    def _start_read(self) -> asyncio.Task[None] | None:
        """Return the running read; start one if the last one is old enough; else None."""
        if self._read_task and not self._read_task.done():
            return self._read_task
        if self._clock() - self._started < _INTERVAL:
            return None
        self._read_task = asyncio.create_task(self._read())
        return self._read_task

    async def _read(self) -> None:
        try:
            await self.load()
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
            self._option,
            len(keys) + ignored,
            len(keys),
        )

    def _failed(self, why: str) -> None:
        self.failed_reads += 1
        LOGGER.warning(
            "%s: %s The %d keys read before stay in use.",
            self._option,
            why,
            len(self._keys),
        )


def _parse(content: bytes) -> tuple[list[IssuerKey], int]:
    """Return the usable keys of a JWK Set, and the number of the others; raises JwtError."""
    entries = load_object(content, "JWK Set").get("keys")
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
    if not isinstance(jwk, dict) or "d" in jwk or jwk.get("use", "sig") not in _USES:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", SecurityWarning)  # such as an RSA key of less than 2048 bits
        try:
            algs = _ALGORITHMS[jwk["kty"], jwk.get("crv")]
            key = import_key({**jwk, "use": "sig"})
            key.check_key_op("verify")
        except (JoseError, SecurityWarning, UnsupportedAlgorithm, KeyError, TypeError, ValueError):
            return None
    algs = tuple(alg for alg in algs if key.alg in (None, alg))
    return IssuerKey(key.kid, algs, key) if algs else None
