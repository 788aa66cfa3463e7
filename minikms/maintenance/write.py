"""Writes the contents of another store unchanged into a new store."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from types import MappingProxyType
from typing import Self

from minikms.access.token_record import TokenRecord
from minikms.errors import KeyExists, ProfileExists, StoreUnavailable
from minikms.maintenance.inspect import OWN
from minikms.plugin.protocol import Stored
from minikms.profile_settings import DEFAULT_PROFILE, ProfileSettings
from minikms.records import KeyRecord
from minikms.startup_errors import AbsentStoreError
from minikms.store import (
    ALIAS,
    TOKENS,
    Database,
    DuplicateError,
    Entry,
    StoreKey,
    StoreLocation,
    Transaction,
    alias_entry,
    token_entries,
)
from minikms.store.internals import (
    ARRIVING,
    DAY_USES,
    LAST_USES,
    LONG_TIMEOUT,
    SINCE,
    Arrival,
    ProviderObjects,
    insert_key,
    publish,
    require_current,
    use_tags,
)
from minikms.versions import KeyVersions


class StoreWriter:
    """Writes the contents of a store; each method is one transaction.

    Calls may be slow. All raise ProfileNotFound and StoreUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.directory = database.directory
        self.objects = ProviderObjects(database)

    @classmethod
    @asynccontextmanager
    async def create(
        cls,
        location: StoreLocation,
        key: StoreKey,
        earlier: bytes = b"",
        kept: Collection[str] = (),
    ) -> AsyncIterator[Self]:
        """Create a store; it is marked as finished if the block succeeds. Raises StoreError.

        `earlier` is the mark of an interrupted copy. The profiles with Askar's names `kept` stay.
        """
        async with Database.create(
            location, key, timeout=LONG_TIMEOUT, earlier=earlier, kept=kept
        ) as database:
            yield cls(database)
            await database.finish()
            await database.renew_statistics()

    @classmethod
    @asynccontextmanager
    async def open_or_create(
        cls,
        location: StoreLocation,
        key: StoreKey,
        earlier: bytes = b"",
        kept: Collection[str] = (),
    ) -> AsyncIterator[Self]:
        """Open a store, which may be in use, or create it with the default profile.

        The arguments are those of `create`. Raises StoreError.
        """
        async with AsyncExitStack() as stack:
            try:
                opening = Database.open(location, key, timeout=LONG_TIMEOUT)
                database = await stack.enter_async_context(opening)
            except AbsentStoreError:
                creating = cls.create(location, key, earlier, kept)
                writer = await stack.enter_async_context(creating)
                yield writer
                with suppress(ProfileExists):
                    await writer.directory.create(DEFAULT_PROFILE)
                return
            require_current(database.layout, location)
            yield cls(database)
            await database.renew_statistics()

    @property
    def mark(self) -> bytes:
        """The mark of the unfinished store, with which another process can continue."""
        return self._database.mark

    async def empty_own(self) -> None:
        """Remove what an interrupted copy has stored besides profiles."""

        async def work(session: Transaction) -> None:
            for category in (*OWN, TOKENS, ARRIVING):
                await session.remove_all(category)
            if await session.fetch(LAST_USES, SINCE) is not None:
                await session.remove(LAST_USES, SINCE)

        await self._database.run_own(work, write=True)

    @asynccontextmanager
    async def arriving(self, profile: str) -> AsyncIterator["ProfileWriter"]:
        """Make a profile, which is erased unless the block finishes it; raises ProfileExists."""
        arrival = await self._database.arrivals.begin(profile)
        try:
            yield ProfileWriter(self._database, arrival)
        finally:
            with suppress(StoreUnavailable):  # the next arrival of this name erases it
                await self._database.arrivals.drop(arrival)

    async def insert_own(self, entries: Sequence[Entry]) -> None:
        """Insert entries of audit logs."""

        async def work(session: Transaction) -> None:
            for entry in entries:
                await session.insert(entry.category, entry.name, entry.value, dict(entry.tags))

        await self._database.run_own(work, write=True)

    async def insert_tokens(self, records: Sequence[TokenRecord]) -> None:
        """Insert tokens in this order of creation, with the times of their last uses."""
        await self._database.run_own(partial(_insert_tokens, records=records), write=True)

    async def insert(
        self,
        profile: str,
        keys: Sequence[tuple[KeyRecord, Stored]],
        versions: Mapping[str, KeyVersions] = MappingProxyType({}),
    ) -> None:
        """Insert keys into a profile in the directory; see `ProfileWriter.insert`."""
        work = partial(_insert_keys, keys=keys, versions=versions)
        # A key with a thousand aliases takes PostgreSQL seconds.
        await self._database.write(profile, work, timeout=LONG_TIMEOUT)

    async def set_last_seq(self, profile: str, place: int) -> None:
        """Let new keys of a profile in the directory come after `place`."""
        await self._database.write(profile, partial(_set_place, place=place))

    async def insert_uses_noted_since(self, value: bytes) -> None:
        """Insert the time since when uses are noted, unless the store has one."""

        async def work(session: Transaction) -> None:
            if await session.fetch(LAST_USES, SINCE) is None:
                await session.insert(LAST_USES, SINCE, value)

        await self._database.run_own(work, write=True)


class ProfileWriter:
    """Writes the contents of a profile that nobody sees before it is finished.

    All methods raise StoreUnavailable, and ProfileNotFound if another process has begun to write a
    profile of this name.
    """

    def __init__(self, database: Database, arrival: Arrival) -> None:
        self._database = database
        self._arrival = arrival

    @property
    def id(self) -> str | None:
        """The id of the profile."""
        return self._arrival.id

    @property
    def askar_profile(self) -> str:
        """Askar's name of the profile."""
        return self._arrival.askar_profile

    async def insert(
        self,
        keys: Sequence[tuple[KeyRecord, Stored]],
        versions: Mapping[str, KeyVersions] = MappingProxyType({}),
    ) -> None:
        """Insert all keys or none, with the place, aliases and scheduled deletion of their records.

        `versions` has the versions of aliases; others have one version. Raises KeyExists for a kid
        or an alias that exists.
        """
        work = partial(_insert_keys, keys=keys, versions=versions)
        await self._database.arrivals.write(self._arrival, work)

    async def insert_day_uses(self, entries: Sequence[Entry]) -> None:
        """Insert the uses in a day of keys."""

        async def work(session: Transaction) -> None:
            for entry in entries:
                await session.insert(DAY_USES, entry.name, entry.value)

        await self._database.arrivals.write(self._arrival, work)

    async def publish(self) -> None:
        """Make the profile's public keys public to everybody."""
        await self._database.arrivals.write(self._arrival, partial(publish, public=True))

    async def set_last_seq(self, place: int) -> None:
        """Let new keys come after `place` in the order of creation."""
        await self._database.arrivals.write(self._arrival, partial(_set_place, place=place))

    async def insert_last_uses(self, entries: Mapping[str, bytes]) -> None:
        """Insert the last uses of the profile's keys, if there are some."""
        if not entries:
            return

        async def work(session: Transaction) -> None:
            for number, value in entries.items():
                name = f"{self.askar_profile}/{number}"
                await session.insert(LAST_USES, name, value, use_tags(self.askar_profile))

        await self._database.run_own(work, write=True)

    async def finish(self, settings: ProfileSettings, tokens: Sequence[TokenRecord] = ()) -> None:
        """Let callers see the profile, with these tokens; raises ProfileExists."""
        work = partial(_insert_tokens, records=tokens)
        await self._database.arrivals.finish(self._arrival, settings, work)


async def _insert_tokens(session: Transaction, records: Sequence[TokenRecord]) -> None:
    for each in records:
        used, seq = each.last_used or 0, await token_entries.next_seq(session)
        tags = token_entries.token_tags(each.profiles, each.expires, seq, used)
        await session.insert(TOKENS, each.id, each.to_bytes(), tags)


async def _insert_keys(
    session: Transaction,
    keys: Sequence[tuple[KeyRecord, Stored]],
    versions: Mapping[str, KeyVersions],
) -> None:
    for record, material in keys:
        try:
            await insert_key(session, record, material)
            for alias in record.aliases:
                named = versions.get(alias) or KeyVersions({1: record.kid})
                await session.insert(ALIAS, alias_entry(alias), named.to_bytes())
        except (DuplicateError, KeyExists):
            raise KeyExists(f"The key {record.kid} or one of its aliases already exists.") from None


async def _set_place(session: Transaction, place: int) -> None:
    session.place = place
