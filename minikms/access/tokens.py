"""Tokens of callers: their format, and their records in the store.

`mkms_ID_SECRET`: 16 hexadecimal digits that identify it, and base58check of 32 random bytes, whose
checksum of four bytes lets secret scanners recognise it. The store keeps the SHA-256 of the
secret, which is random and long enough to need no slow hash.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, NamedTuple, Self

import base58
import orjson

from minikms.errors import TokenNotFound, Unauthenticated
from minikms.events import set_token
from minikms.noted_uses import NotedUses
from minikms.records import SECOND
from minikms.store.counters import ChangeCounters
from minikms.store.database import Database
from minikms.store.directory import TOKENS
from minikms.store.sessions import Entry, Session, Transaction

# The tag of a token's entry with the time of its last use in nanoseconds. It is not in the record:
# no cache shows it, so its change is not one that caches have to follow.
_LAST_USE: Final = "used"

# Nanoseconds by which a stored time may be too early, and tokens that one transaction writes.
_CLOSE: Final = 60 * SECOND
_TOGETHER: Final = 64

PREFIX: Final = "mkms_"
ID_PATTERN: Final = r"^[0-9a-f]{16}\Z"

_FORM: Final = re.compile(r"mkms_([0-9a-f]{16})_([1-9A-HJ-NP-Za-km-z]{36,50})\Z")


class Token(NamedTuple):
    """A token as its holder has it."""

    id: str
    secret: bytes

    @classmethod
    def new(cls) -> Self:
        return cls(secrets.token_hex(8), secrets.token_bytes(32))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse a token; None if `text` is not one."""
        found = _FORM.match(text)
        if found is None:
            return None
        try:
            secret = base58.b58decode_check(found[2])
        except ValueError:
            return None
        return cls(found[1], secret) if len(secret) == 32 else None

    def reveal(self) -> str:
        """The token as text; show it once, to its holder alone."""
        return f"{PREFIX}{self.id}_{base58.b58encode_check(self.secret).decode()}"

    def __repr__(self) -> str:
        return f"Token({self.id!r})"

    @property
    def hash(self) -> str:
        """The SHA-256 of the secret, as stored."""
        return hashlib.sha256(self.secret).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """The stored facts of a token: the name of its holder, and its permissions.

    `profiles` None means all profiles, `expires` None means never; times are in nanoseconds
    since the epoch. `last_used` is the time of its last use, None if none is known; it is kept
    beside the record, and only `list_all` reads it.
    """

    id: str
    name: str
    hash: str = field(repr=False)
    scopes: tuple[str, ...]
    profiles: tuple[str, ...] | None
    created: int
    expires: int | None = None
    last_used: int | None = None

    def fits(self, token: Token) -> bool:
        """Compare the hash of `token` with this record's, in constant time."""
        return hmac.compare_digest(self.hash, token.hash)

    @property
    def expired(self) -> bool:
        return self.expires is not None and self.expires <= time.time_ns()

    def to_bytes(self) -> bytes:
        members = asdict(self)
        del members["last_used"]
        return orjson.dumps(members)

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        data: dict[str, Any] = orjson.loads(value)
        data["scopes"] = tuple(data["scopes"])
        if data["profiles"] is not None:
            data["profiles"] = tuple(data["profiles"])
        return cls(**data)


class Tokens:
    """The tokens of a store, kept in a profile that callers cannot reach.

    `uses` are the uses that are not stored yet, by the ids of tokens.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.uses = NotedUses[str]()

    @property
    def counters(self) -> ChangeCounters:
        """The change counters that show when a token has been revoked."""
        return self._database.counters

    async def create(
        self,
        name: str,
        scopes: tuple[str, ...],
        profiles: tuple[str, ...] | None = None,
        expires: int | None = None,
        *,
        maker: str = "",
    ) -> tuple[Token, TokenRecord]:
        """Create a token; the record does not contain its secret.

        `maker` is the id of the caller's stored token, empty without one. Raises Unauthenticated if
        that token was revoked in the meantime.
        """
        token = Token.new()
        now = time.time_ns()
        record = TokenRecord(token.id, name, token.hash, scopes, profiles, now, expires)
        set_token(token.id)

        async def work(session: Transaction) -> None:
            if maker and await session.fetch(TOKENS, maker, for_update=True) is None:
                raise Unauthenticated("The token is not valid.", invalid_token=True)
            await session.insert(TOKENS, record.id, record.to_bytes())

        await self._database.run_own(work, write=True)
        return token, record

    async def find(self, token_id: str) -> TokenRecord | None:
        """The record of a token by its id, or None."""

        async def work(session: Session) -> TokenRecord | None:
            entry = await session.fetch(TOKENS, token_id)
            return None if entry is None else TokenRecord.from_bytes(entry.value)

        return await self._database.run_own(work)

    async def list_all(self) -> list[TokenRecord]:
        """All records, the oldest first, with the times of last uses, true to some minutes."""

        async def work(session: Session) -> list[TokenRecord]:
            rows = await session.fetch_all(TOKENS)
            return [self._with_last_use(row) for row in rows]

        return sorted(await self._database.run_own(work), key=lambda record: record.created)

    def _with_last_use(self, row: Entry) -> TokenRecord:
        record = TokenRecord.from_bytes(row.value)
        last = max(_last_use(row), self.uses.times.get(record.id, 0))
        return replace(record, last_used=last or None)

    async def write_last_uses(self) -> None:
        """Store the times of uses since the last call, as `NotedUses.store` does."""
        await self.uses.store(self._write)

    async def _write(self, uses: Mapping[str, int]) -> None:
        ids = sorted(uses)  # processes lock rows of PostgreSQL in one order
        for start in range(0, len(ids), _TOGETHER):
            await self._write_some({each: uses[each] for each in ids[start : start + _TOGETHER]})

    async def _write_some(self, uses: Mapping[str, int]) -> None:
        async def work(session: Transaction) -> None:
            for token_id, at in uses.items():
                entry = await session.fetch(TOKENS, token_id, for_update=True)
                if entry is not None and at - _last_use(entry) >= _CLOSE:
                    tags = {_LAST_USE: str(at)}
                    await session.replace(TOKENS, token_id, entry.value, tags, cached=False)

        await self._database.run_own(work, write=True)

    async def revoke(self, token_id: str) -> None:
        """Delete a token, which ends its validity; raises TokenNotFound."""
        set_token(token_id)

        async def work(session: Transaction) -> None:
            if await session.fetch(TOKENS, token_id, for_update=True) is None:
                raise TokenNotFound()
            await session.remove(TOKENS, token_id)

        await self._database.run_own(work, write=True)


def _last_use(entry: Entry) -> int:
    """The stored time of a token's last use, 0 if none is known."""
    return int(entry.tags.get(_LAST_USE, 0))
