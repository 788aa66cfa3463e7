"""The tokens of callers in the store."""

import logging
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from minikms.access.token_record import Token, TokenRecord
from minikms.basics.noted_uses import NotedUses
from minikms.errors import (
    KeyUnreadable,
    ProfileNotFound,
    TokenNotFound,
    TooManyTokens,
    Unauthenticated,
)
from minikms.events import CURRENT, set_token
from minikms.key_bounds import SECOND
from minikms.store import (
    TOKENS,
    ChangeCounters,
    Database,
    Entry,
    Session,
    TagFilter,
    Transaction,
    UndecryptableError,
    token_entries,
)

LOGGER = logging.getLogger(__name__)

# In nanoseconds. A stored time may be earlier than the true time by this much.
_CLOSE: Final = 60 * SECOND

# Records that a page reads per batch; other calls run between batches.
_READ: Final = 64


class Tokens:
    """The tokens of a store, kept in a profile that callers cannot use.

    `uses` has the times of last uses that are not stored yet, by token id.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_placed = False
        self.uses = NotedUses(self._write)

    @property
    def counters(self) -> ChangeCounters:
        """Return the change counters, which show that a token has been revoked."""
        return self._database.counters

    async def create(
        self,
        name: str,
        scopes: tuple[str, ...],
        profiles: Iterable[str] | None = None,
        expires: int | None = None,
        *,
        maker: str = "",
        known: Mapping[str, str] = MappingProxyType({}),
        most: int | None = None,
    ) -> tuple[Token, TokenRecord]:
        """Create a token; the record does not contain its secret.

        `maker` is the id of the caller's stored token, empty without one. `known` has the ids of
        the caller's profiles: the new token is valid in these profiles, not in profiles that were
        recreated under their names. A profile may have at most `most` tokens; expired tokens are
        removed to make room. Raises Unauthenticated if the caller's token was revoked meanwhile,
        TooManyTokens, and ProfileFrozen.
        """
        token = Token.new()
        now = time.time_ns()
        named = None if profiles is None else tuple(profiles)
        ids = {each: known.get(each) or await self._id_of(each) for each in named or ()}
        record = TokenRecord(token.id, name, token.hash, scopes, named, now, expires, ids=ids)
        set_token(token.id)
        if most is not None:
            await self.place_all()

        async def work(session: Transaction) -> None:
            if maker and await session.fetch(TOKENS, maker, for_update=True) is None:
                raise Unauthenticated("The token is not valid.", invalid_token=True)
            await self._database.directory.require_unfrozen(session, named or ())
            if most is not None:
                for profile in named or ():
                    await require_room(session, profile, most)
            tags = token_entries.token_tags(named, expires, await token_entries.next_seq(session))
            await session.insert(TOKENS, record.id, record.to_bytes(), tags)

        await self._database.run_own(work, write=True)
        return token, record

    async def _id_of(self, profile: str) -> str | None:
        """Return the id of a profile, empty if the profile cannot be used."""
        try:
            return (await self._database.directory.tenancy(profile)).id
        except (ProfileNotFound, KeyUnreadable):
            return ""

    async def profiles_of(self, record: TokenRecord) -> dict[str, str | None] | None:
        """Return the profiles that a token may use, each with its id; None for all.

        A profile that does not exist has no id: the token may create it. Profiles recreated under
        these names, perhaps by other tenants, are left out.
        """
        if record.profiles is None:
            return None
        found: dict[str, str | None] = {}
        for name in record.profiles:
            bound = record.ids.get(name)
            try:
                tenancy = await self._database.directory.tenancy(name)
            except ProfileNotFound:
                if not bound:
                    found[name] = None
            except KeyUnreadable:
                found[name] = None  # the profile cannot be used
            else:
                if tenancy.admits(bound, record.created):
                    found[name] = tenancy.id
        return found

    async def find(self, token_id: str) -> TokenRecord | None:
        """Return the record of a token by its id, or None."""

        async def work(session: Session) -> TokenRecord | None:
            entry = await session.fetch(TOKENS, token_id)
            return None if entry is None else TokenRecord.from_bytes(entry.value)

        return await self._database.run_own(work)

    async def page(
        self, profiles: Collection[str] | None, limit: int, after: str = ""
    ) -> tuple[list[TokenRecord], bool]:
        """List up to `limit` records in order of creation, and tell whether there are more.

        Lists only tokens whose profiles are all in `profiles`; None lists all tokens. `after`
        is the `seq` of the previous page's last record. Last uses are accurate to a few minutes.
        """
        await self.place_all()
        if profiles is not None and not profiles:
            return [], False
        filters = [] if profiles is None else [token_entries.of_profiles(profiles)]
        found: list[TokenRecord] = []
        while len(found) <= limit:
            read = min(limit + 1 - len(found), _READ)
            # Omits tokens without a place.
            query = {"$and": [*filters, token_entries.after_place(after)]}

            async def work(
                session: Session, query: TagFilter = query, read: int = read
            ) -> list[TokenRecord]:
                rows = await session.fetch_all(TOKENS, query, read, order_by="id")
                return [self._listed(row) for row in rows]

            some = await self._database.run_own(work)
            for record in some:
                after = record.seq
                if profiles is None or _is_within(record, profiles):
                    found.append(record)
            if len(some) < read:
                break
        return found[:limit], len(found) > limit

    async def naming(self, profile: str) -> list[TokenRecord]:
        """Read the records of all tokens that name a profile; raises UndecryptableError."""

        async def work(session: Session) -> list[TokenRecord]:
            named = token_entries.of_profiles([profile])
            rows = await session.fetch_all(TOKENS, named, order_by="id")
            return [self._listed(row) for row in rows]

        return await self._database.run_own(work)

    async def all_rows(self) -> AsyncIterator[list[tuple[TokenRecord, Mapping[str, Any]] | None]]:
        """Yield the records of all tokens with their tags, in batches, in stored order.

        None stands for an entry that does not decrypt.
        """
        async for batch in self._database.batches(None, TOKENS):
            yield [None if row is None else (self._listed(row), row.tags) for row in batch]

    async def all_records(self) -> AsyncIterator[TokenRecord]:
        """Yield the records of all tokens; raises KeyUnreadable if one does not decrypt."""
        async for batch in self.all_rows():
            for row in batch:
                if row is None:
                    raise KeyUnreadable("The entry of a token does not decrypt.")
                yield row[0]

    def _listed(self, row: Entry) -> TokenRecord:
        record, tags = TokenRecord.from_bytes(row.value), row.tags
        last = max(_last_use(tags), self.uses.times.get(record.id, 0))
        return replace(record, last_used=last or None, seq=token_entries.seq_in(tags))

    async def place_all(self, *, again: bool = False) -> None:
        """Add tags to tokens of version 0.3.0 and earlier, once per process.

        With `again`, also repair tags that such a version has overwritten since.
        """
        if self._is_placed and not again:
            return
        outer = CURRENT.set(None)  # this work is not part of the call
        try:
            while await self._database.run_own(_has_unplaced):
                await self._database.run_own(_place_some, write=True)
        except UndecryptableError:
            LOGGER.error("the entry of a token does not decrypt, so that some are not listed")
        finally:
            CURRENT.reset(outer)
        self._is_placed = True

    async def _write(self, uses: Mapping[str, int]) -> None:
        ids = sorted(uses)  # all processes lock PostgreSQL rows in the same order
        together = token_entries.TOGETHER
        for start in range(0, len(ids), together):
            await self._write_some({each: uses[each] for each in ids[start : start + together]})

    async def _write_some(self, uses: Mapping[str, int]) -> None:
        async def work(session: Transaction) -> None:
            for token_id, at in uses.items():
                entry = await session.fetch(TOKENS, token_id, for_update=True)
                if entry is None:
                    continue
                tags = entry.tags
                if at - _last_use(tags) >= _CLOSE:
                    tags = tags | {token_entries.LAST_USE: str(at)}
                    await session.replace(TOKENS, token_id, entry.value, tags, cached=False)

        await self._database.run_own(work, write=True)

    async def revoke(self, token_id: str) -> None:
        """Revoke a token by deleting it; raises TokenNotFound."""
        set_token(token_id)

        async def work(session: Transaction) -> None:
            if await session.fetch(TOKENS, token_id, for_update=True) is None:
                raise TokenNotFound()
            await session.remove(TOKENS, token_id)

        await self._database.run_own(work, write=True)


async def require_room(session: Transaction, profile: str, most: int) -> None:
    """Raise TooManyTokens if a profile has `most` unexpired tokens; remove expired ones.

    The current time decides which are expired.
    """
    if await token_entries.count(session, profile) < most:
        return
    expired = token_entries.expired_at(time.time_ns())
    over = {"$and": [token_entries.of_profiles([profile]), expired]}
    if await session.count(TOKENS, over):
        await session.remove_all(TOKENS, over)
    if await token_entries.count(session, profile) >= most:
        raise TooManyTokens(f"The profile has at most {most:,} tokens.")


async def _has_unplaced(session: Session) -> int:
    return await session.count(TOKENS, token_entries.UNPLACED)


async def _place_some(session: Transaction) -> None:
    unplaced, together = token_entries.UNPLACED, token_entries.TOGETHER
    for row in await session.fetch_all(TOKENS, unplaced, together, order_by="id"):
        record = TokenRecord.from_bytes(row.value)
        last, value = _last_use(row.tags), row.value
        seq = await token_entries.next_seq(session)
        tags = token_entries.token_tags(record.profiles, record.expires, seq, last)
        # Removed and inserted, since listings need rows in the order of their places.
        await session.remove(TOKENS, row.name)
        await session.insert(TOKENS, row.name, value, tags)


def _is_within(record: TokenRecord, profiles: Collection[str]) -> bool:
    """Tell whether all of a token's profiles are among these."""
    return record.profiles is not None and all(name in profiles for name in record.profiles)


def _last_use(tags: Mapping[str, Any]) -> int:
    """Return the stored time of a token's last use, 0 if none is known."""
    return int(tags.get(token_entries.LAST_USE, 0))
