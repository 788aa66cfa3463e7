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
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple, Self

import base58
import orjson

from minikms.errors import TokenNotFound, Unauthenticated
from minikms.events import set_token
from minikms.store.counters import ChangeCounters
from minikms.store.database import Database
from minikms.store.directory import TOKENS
from minikms.store.sessions import Session, Transaction

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
    since the epoch.
    """

    id: str
    name: str
    hash: str = field(repr=False)
    scopes: tuple[str, ...]
    profiles: tuple[str, ...] | None
    created: int
    expires: int | None = None

    def fits(self, token: Token) -> bool:
        """Compare the hash of `token` with this record's, in constant time."""
        return hmac.compare_digest(self.hash, token.hash)

    @property
    def expired(self) -> bool:
        return self.expires is not None and self.expires <= time.time_ns()

    def to_bytes(self) -> bytes:
        return orjson.dumps(asdict(self))

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        data: dict[str, Any] = orjson.loads(value)
        data["scopes"] = tuple(data["scopes"])
        if data["profiles"] is not None:
            data["profiles"] = tuple(data["profiles"])
        return cls(**data)


class Tokens:
    """The tokens of a store, kept in a profile that callers cannot reach."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        """All records, the oldest first."""

        async def work(session: Session) -> list[TokenRecord]:
            rows = await session.fetch_all(TOKENS)
            return [TokenRecord.from_bytes(row.value) for row in rows]

        return sorted(await self._database.run_own(work), key=lambda record: record.created)

    async def revoke(self, token_id: str) -> None:
        """Delete a token, which ends its validity; raises TokenNotFound."""
        set_token(token_id)

        async def work(session: Transaction) -> None:
            if await session.fetch(TOKENS, token_id, for_update=True) is None:
                raise TokenNotFound()
            await session.remove(TOKENS, token_id)

        await self._database.run_own(work, write=True)
