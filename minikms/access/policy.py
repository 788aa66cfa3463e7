"""Who calls, and what they may do."""

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from minikms.access.newcomers import Newcomers
from minikms.access.tokens import CATEGORY, PREFIX, Token, TokenRecord, Tokens
from minikms.addresses import network_of
from minikms.errors import Forbidden, ProfileNotFound, TooManyAttempts, Unauthenticated
from minikms.startup_errors import AccessError
from minikms.store.cache import NOTHING, Bounds, Cache
from minikms.store.secret_files import read_secret

if TYPE_CHECKING:
    from minikms.access.jwt import JwtVerifier

SCOPES: Final = (
    "keys:read",
    "keys:write",
    "keys:export",
    "sign",
    "verify",
    "encrypt",
    "decrypt",
    "wrap",
    "derive",
    "mac",
    "random",
    "profiles",
    "admin",
)
"""What a caller may be let do; each route names the one that it needs."""

OPEN: Final = "open"
"""In the place of a scope: anybody may."""

_WINDOW: Final = 60.0  # in seconds
_MOST_ADDRESSES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and what they may do; `profiles` None stands for all of them."""

    name: str
    scopes: frozenset[str]
    profiles: frozenset[str] | None = None

    def require(self, scope: str) -> None:
        """Raise Forbidden where the caller may not do what needs this scope."""
        if scope not in self.scopes:
            raise Forbidden(scope)

    def permit(self, profile: str) -> None:
        """Raise ProfileNotFound for a profile that is not the caller's, as if it were not there."""
        if not self.covers((profile,)):
            raise ProfileNotFound()

    def covers(self, profiles: Collection[str] | None) -> bool:
        """Whether all these profiles are the caller's."""
        return self.profiles is None or (
            profiles is not None and self.profiles.issuperset(profiles)
        )


ANYBODY: Final = Caller("", frozenset(SCOPES))
"""A caller where nobody is asked for a token."""


class _Holder(NamedTuple):
    """Who holds a token."""

    record: TokenRecord
    caller: Caller


class TokenAccess:
    """Lets in who holds a token of the store, the operator's own one, or a JWT (RFC 6750)."""

    def __init__(
        self,
        tokens: Tokens,
        *,
        admin: Token | None = None,
        jwt: "JwtVerifier | None" = None,
        wrong_a_minute: int = 60,
        cache: Bounds = NOTHING,
    ) -> None:
        self._tokens = tokens
        self._jwt = jwt
        self._admin = None if admin is None else admin_record(admin)
        self._attempts = Attempts(wrong_a_minute)
        self._holders: Cache[_Holder] = Cache(tokens.counters, *cache)
        self._newcomers = Newcomers()

    async def caller(
        self,
        authorization: str,
        address: str,
        aside: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> Caller:
        """Who calls from `address`; raises Unauthenticated and TooManyAttempts.

        A token by which nobody was let in lately waits `aside`, in the queue of its address.
        """
        text = _token_of(authorization)
        if text is None:
            raise Unauthenticated("Send a token: Authorization: Bearer …")
        place = _place_of(text)
        if place in self._newcomers:
            with aside():
                async with self._newcomers.waiting(place, address) as lock:
                    known = await self._caller(text, place, lock)
        else:
            known = await self._caller(text, place, contextlib.nullcontext())
        if known is None:
            self._newcomers.refuse(place)
            self._attempts.count(address)
            raise Unauthenticated("The token is not valid.", invalid_token=True)
        self._newcomers.let_in(place)
        return known

    def known(self, authorization: str) -> Caller | None:
        """Who calls with a token that is in memory; None for whoever else."""
        scheme, _, text = authorization.partition(" ")
        if scheme != "Bearer":
            return None
        found = self._holders.get(_place_of(text))
        return None if found is None or found.record.expired else found.caller

    async def _caller(
        self, text: str, place: bytes, lock: AbstractAsyncContextManager[None]
    ) -> Caller | None:
        """Who calls with a token; None for nobody. What asks the store waits for `lock`."""
        if not text.startswith(PREFIX):
            return await self._subject(text)
        found = self._holders.get(place)
        if found is None:
            token = Token.parse(text)
            if token is None:
                return None
            async with lock:
                found = self._holders.get(place) or await self._read(token, place)
        return None if found is None or found.record.expired else found.caller

    async def _read(self, token: Token, place: bytes) -> _Holder | None:
        pending = self._holders.start_fill()
        found = await self._find(token)
        if found is not None:
            pending.fill(place, found, (CATEGORY, token.id))
        return found

    async def _find(self, token: Token) -> _Holder | None:
        record = self._admin
        if record is None or record.id != token.id:
            record = await self._tokens.find(token.id)
        if record is None or not record.fits(token):
            return None
        profiles = None if record.profiles is None else frozenset(record.profiles)
        return _Holder(record, Caller(record.name, frozenset(record.scopes), profiles))

    async def _subject(self, text: str) -> Caller | None:
        if self._jwt is None:
            return None
        try:
            claims = await self._jwt.verify(text)
        except Unauthenticated:
            return None
        return Caller(claims.subject, claims.scopes & frozenset(SCOPES), claims.profiles)


def _token_of(authorization: str) -> str | None:
    """The token that a caller brings (RFC 6750 section 2.1); None where it brings none."""
    scheme, _, text = authorization.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None


def _place_of(token: str) -> bytes:
    """Where it is remembered who holds a token: by what nobody makes one from."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


class Attempts:
    """Wrong tokens by address, minute by minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()
        self._until = 0.0

    def count(self, address: str) -> None:
        """Count one; raises TooManyAttempts where there are more than there may be."""
        now = time.monotonic()
        if now >= self._until:
            self._counts.clear()
            self._until = now + _WINDOW
        place = network_of(address)
        if len(self._counts) < _MOST_ADDRESSES or place in self._counts:
            self._counts[place] += 1
        if self._counts[place] > self._most:
            raise TooManyAttempts(retry_after=int(self._until - now) + 1)


def admin_record(token: Token) -> TokenRecord:
    """The record of a token that may do everything in every profile."""
    return TokenRecord(token.id, "admin", token.hash, SCOPES, None, 0)


def read_admin_token(file: str) -> Token:
    """The token in a file; raises AccessError."""
    token = Token.parse(read_secret(file, "token", AccessError))
    if token is None:
        raise AccessError(f"The token file {file} has no token as `minikms token generate` makes.")
    return token
