"""Authentication and authorization of callers, by tokens and scopes."""

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from minikms.access.callers import CERTIFICATE, SCOPES, Caller
from minikms.access.token_queues import TokenQueues
from minikms.access.token_record import PREFIX, Token, TokenRecord
from minikms.access.tokens import Tokens
from minikms.basics.addresses import network_of
from minikms.basics.secret_files import read_secret
from minikms.errors import TooManyAttempts, Unauthenticated
from minikms.startup_errors import AccessError
from minikms.store import NOTHING, PROFILE, TOKENS, Bounds, Cache

if TYPE_CHECKING:
    from minikms.access.identities import Identities

_WINDOW: Final = 60.0  # in seconds
_MOST_ADDRESSES: Final = 10_000
# The shared name of further addresses, once the maximum is counted.
_OTHERS: Final = ""

# Bytes of all cached tokens.
_MEMORY: Final = 32 * 1024 * 1024
# Bytes of a cached token with its scopes.
_EACH: Final = 2048
# Bytes of each profile of a cached token.
_EACH_PROFILE: Final = 256


@dataclass(slots=True)
class _CachedToken:
    """A token's caller, and the last period in which its use was noted.

    `is_current` tells whether the issuer of a JWT still vouches for the caller.
    """

    caller: Caller
    is_current: Callable[[], bool] | None = None
    period: int = 0

    @property
    def is_valid(self) -> bool:
        """False once the token has expired, or its issuer no longer vouches for it."""
        if self.caller.expired:
            return False
        return self.is_current is None or self.is_current()


class TokenAccess:
    """Authenticates callers by tokens of the store, the operator's token, or JWTs (RFC 6750)."""

    def __init__(
        self,
        tokens: Tokens,
        *,
        admin: Token | None = None,
        identities: "Identities | None" = None,
        wrong_per_minute: int = 60,
        cache: Bounds = NOTHING,
    ) -> None:
        self._tokens = tokens
        self.identities = identities
        self._admin = admin and TokenRecord(admin.id, "admin", admin.hash, SCOPES, None, 0)
        self._wrong_tokens = WrongTokens(wrong_per_minute)
        bounds = cache._replace(memory=_MEMORY)
        self._cache: Cache[_CachedToken] = Cache(tokens.counters, bounds, _weight)
        self._queues = TokenQueues()

    @property
    def logins(self) -> Mapping[tuple[str, str], int]:
        """The numbers of verified JWTs and client certificates, by role and outcome."""
        return {} if self.identities is None else self.identities.logins.numbers

    async def authenticate(
        self,
        authorization: str,
        address: str,
        aside: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> Caller:
        """Return the caller with this Authorization header.

        Raises Unauthenticated and TooManyAttempts. A token that was not accepted recently waits in
        the queue of `address`, inside the context `aside`.
        """
        text = _bearer_token(authorization)
        if text is None:
            raise Unauthenticated("Send a token: Authorization: Bearer …")
        token_hash = _hash_of(text)
        if self._queues.must_wait(token_hash):
            with aside():
                async with self._queues.waiting(token_hash, address) as lock:
                    caller = await self._authenticate(text, token_hash, lock, address)
        else:
            unlocked = contextlib.nullcontext()
            caller = await self._authenticate(text, token_hash, unlocked, address)
        if caller is None:
            self._queues.forget(token_hash)
            self._wrong_tokens.count(address)
            raise Unauthenticated("The token is not valid.", invalid_token=True)
        self._queues.accept(token_hash)
        return caller

    def authenticate_cached(self, authorization: str) -> Caller | None:
        """Return the caller with this Authorization header if the token is cached; else None."""
        scheme, _, text = authorization.partition(" ")
        if scheme != "Bearer":
            return None
        found = self._cache.get(_hash_of(text))
        if found is None or not found.is_valid:
            return None
        if found.period != self._tokens.uses.period:
            self._note_use(found)
        return found.caller

    def _note_use(self, found: _CachedToken) -> None:
        """Note the first use of a token in this period."""
        found.period = self._tokens.uses.period
        if found.caller.token:  # the operator's token is not in the store
            self._tokens.uses.times[found.caller.token] = time.time_ns()

    async def _authenticate(
        self,
        text: str,
        token_hash: bytes,
        lock: AbstractAsyncContextManager[None],
        address: str,
    ) -> Caller | None:
        """Return a token's caller, None for an invalid token; reads the store only under `lock`."""
        found = self._cache.get(token_hash)
        if not text.startswith(PREFIX):
            if found is None or not found.is_valid:
                found = await self._identify(text, token_hash, address)
            return None if found is None else found.caller
        if found is None:
            token = Token.parse(text)
            if token is None:
                return None
            async with lock:
                found = self._cache.get(token_hash) or await self._read(token, token_hash)
        if found is None or not found.is_valid:
            return None
        if found.period != self._tokens.uses.period:
            self._note_use(found)
        return found.caller

    async def _read(self, token: Token, token_hash: bytes) -> _CachedToken | None:
        pending = self._cache.start_fill()
        known = await self._find(token)
        if known is None:
            return None
        record, found = known
        # A profile that was deleted and recreated under its name is not the token's profile.
        profiles = [(PROFILE, name) for name in record.profiles or ()]
        pending.fill((token_hash,), found, (TOKENS, token.id), *profiles)
        return found

    async def drop_stale(self) -> None:
        """Drop revoked tokens from the cache, where they would stay if nobody sends them again."""
        await self._cache.drop_stale()

    async def _find(self, token: Token) -> tuple[TokenRecord, _CachedToken] | None:
        record, stored = self._admin, ""
        if record is None or record.id != token.id:
            record, stored = await self._tokens.find(token.id), token.id
        if record is None or not record.fits(token):
            return None
        profiles = await self._tokens.profiles_of(record)
        if record.profiles and not profiles:
            return None
        caller = Caller(
            record.name,
            frozenset(record.scopes),
            None if profiles is None else frozenset(profiles),
            stored,
            record.created or None,
            record.expires,
            {name: known for name, known in (profiles or {}).items() if known},
        )
        return record, _CachedToken(caller)

    async def _identify(self, text: str, token_hash: bytes, address: str) -> _CachedToken | None:
        """Verify a JWT, and cache its caller; None if it is not valid."""
        if self.identities is None:
            return None
        pending = self._cache.start_fill()
        try:
            identity = await self.identities.identify(text, address)
        except Unauthenticated:
            return None
        found = _CachedToken(*identity)
        pending.fill((token_hash,), found)
        return found

    def in_role(self, token: str, role: str) -> str:
        """Return a token for one role of a JWT; a token of the store is returned as it is."""
        if self.identities is None or token.startswith(PREFIX):
            return token
        return self.identities.in_role(token, role)

    def of_certificate(self, certificate: bytes, authorization: str) -> Caller | None:
        """Return the caller of a verified client certificate in DER, None if it has no role.

        A token in the header counts instead of the certificate, unless it is one of `in_role`.
        """
        role = None
        if authorization:
            role, _, rest = (_bearer_token(authorization) or "").partition(".")
            if rest != CERTIFICATE:
                return None
        identities = self.identities
        return None if identities is None else identities.of_certificate(certificate, role)


def _weight(found: _CachedToken) -> int:
    """Return the size of a cached token in bytes."""
    caller = found.caller
    return _EACH + len(caller.name) + _EACH_PROFILE * len(caller.profiles or ())


def _bearer_token(authorization: str) -> str | None:
    """Return the token in an Authorization header (RFC 6750 section 2.1), or None."""
    scheme, _, text = authorization.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


def _hash_of(token: str) -> bytes:
    """Hash a token to its key in the cache, which does not reveal the token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class WrongTokens:
    """Counts the wrong tokens from each address per minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()
        self._until = 0.0

    def count(self, address: str) -> None:
        """Count a wrong token from an address; raises TooManyAttempts over the limit."""
        now = time.monotonic()
        if now >= self._until:
            self._counts.clear()
            self._until = now + _WINDOW
        network = network_of(address)
        if len(self._counts) >= _MOST_ADDRESSES and network not in self._counts:
            network = _OTHERS
        self._counts[network] += 1
        if self._counts[network] > self._most:
            raise TooManyAttempts(retry_after=int(self._until - now) + 1)


def read_admin_token(file: str) -> Token:
    """Read the token in a file; raises AccessError."""
    token = Token.parse(read_secret(file, "token", AccessError))
    if token is None:
        raise AccessError(
            f"The token file {file} must have a token made by `minikms token generate`."
        )
    return token
