"""The keys of a store, profile by profile."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple, Self, TypeVar

from minikms.errors import (
    KeyExists,
    KeyNotFound,
    KeyUnreadable,
    ProfileNotFound,
    ProfileProtected,
    StatementTimeout,
    StoreUnavailable,
)
from minikms.key_requests import AliasBinding, KeyRef
from minikms.plugin.protocol import Stored
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.rules import looser_approval
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.sequence import CONTENTS, seq_of
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.askar.stores import new_raw_key
from minikms.store.cache import NOTHING, Bounds, Cache
from minikms.store.categories import KEY, PROFILE, TOKENS
from minikms.store.connections.calls import LONG_TIMEOUT
from minikms.store.database import Database
from minikms.store.keys.aliases import Aliases, add_alias, bind_aliases
from minikms.store.keys.approvals import Approvals, GuardedUse, take_approval
from minikms.store.keys.checks import CheckVersions
from minikms.store.keys.deletions import Deletions
from minikms.store.keys.due_entries import due_before
from minikms.store.keys.entries import (
    KEPT_TAG,
    DueKey,
    fetch_record,
    find_named,
    find_record,
    insert_key,
    insert_keys,
    load_record,
    material_of,
    replace_scheduled,
    require_published,
    require_room,
)
from minikms.store.keys.listing import KeyListing
from minikms.store.keys.provider_objects import ProviderObjects
from minikms.store.keys.rotation import Rotations, after_next, end_schedule
from minikms.store.sweeps import Sweeps

ResultT = TypeVar("ResultT")

# The largest number of records that a shared session reads for one call.
_FEW: Final = 4

# The number of keys in PostgreSQL from which they are estimated, not counted.
_MANY: Final = 10_000

# With more profiles, the keys of PostgreSQL are counted together.
_SEVERAL: Final = 100

# The number of profiles whose numbers of keys are remembered. Where a notice of a change may be
# lost, none is.
_REMEMBERED: Final = Bounds(100_000)

# Seconds for which the deletion of a profile erases its contents before it answers.
_ERASING: Final = 2.0


class Totals(NamedTuple):
    """The numbers of keys and profiles of a store, and the keys of its largest profile."""

    keys: int
    profiles: int
    largest: int


class KeyStore:
    """Keys in an Askar store, with a part for each subject, such as their `aliases`.

    Each method is one session, and each change one transaction. All raise ProfileNotFound,
    StoreUnavailable, and KeyUnreadable for a key that does not decrypt.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.directory = database.directory
        self.deletions = Deletions(database)
        self.rotations = Rotations(database, self.deletions)
        self.aliases = Aliases(database, self.deletions)
        self.listing = KeyListing(database, self.deletions)
        self.objects = ProviderObjects(database)
        self.approvals = Approvals(database)
        self.sweeps = Sweeps(database)
        self.keys_opened = 0
        self._total = _MANY  # keys at the last count; as many before the first one
        bounds = NOTHING if database.counters.needs_ttl else _REMEMBERED
        self._numbers: Cache[int] = Cache(database.counters, bounds)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, location: StoreLocation, key: StoreKey, *, serving: bool = False
    ) -> AsyncIterator[Self]:
        """Open a store; raises StoreError. See `Database.open` for `serving`."""
        async with Database.open(location, key, serving=serving) as database:
            yield cls(database)

    @classmethod
    @asynccontextmanager
    async def create(cls, location: StoreLocation, key: StoreKey) -> AsyncIterator[Self]:
        """Make a store with the default profile; raises StoreError."""
        async with Database.create(location, key) as database:
            await database.directory.create(DEFAULT_PROFILE)
            await database.finish()
            yield cls(database)

    @classmethod
    @asynccontextmanager
    async def open_memory(cls) -> AsyncIterator[Self]:
        """Make a store in memory under a new raw key; it ends with the block."""
        key = StoreKey(new_raw_key())
        async with cls.create(StoreLocation.parse("memory"), key) as store:
            yield store

    @property
    def database(self) -> Database:
        """The database, which also has the entries of tokens and audit logs."""
        return self._database

    async def ping(self) -> None:
        """Return once the store has answered."""
        await self._database.ping()

    async def totals(self) -> Totals:
        """Count the keys, the profiles, and the keys of the largest profile.

        Keys of many profiles in PostgreSQL are counted together, by a connection of its own. Many
        keys are estimated, with the tokens, since a count would read a row for each. Otherwise, a
        session counts the keys of each profile that has changed since the last count. There, the
        keys of a profile that is removed meanwhile, or does not decrypt, do not count. If keys are
        counted together, the largest profile is estimated by its share of all entries.
        """
        names, together = await self.directory.names(), None
        if self._total >= _MANY or len(names) > _SEVERAL:
            together = await self._database.number_of_keys(_MANY)
        if together is None:
            keys = largest = 0
            for name in names:
                with suppress(ProfileNotFound, KeyUnreadable):
                    number = await self._number_of_keys(name)
                    keys, largest = keys + number, max(largest, number)
        else:
            keys, share = together
            if keys < _MANY:
                tokens = await self._database.run_own(partial(Session.count, category=TOKENS))
                keys = max(keys - tokens, 0)
            largest = round(keys * (1 / len(names) if share is None else share))
        self._total = keys
        return Totals(keys, len(names), largest)

    async def _number_of_keys(self, profile: str) -> int:
        number = self._numbers.get(profile)
        if number is None:
            pending = self._numbers.start_fill()
            count = partial(Session.count, category=KEY)
            number = await self._database.run(profile, count, timeout=LONG_TIMEOUT)
            pending.fill((profile,), number, (PROFILE, profile), (CONTENTS, profile))
        return number

    # Keys

    async def insert(
        self,
        profile: str,
        record: KeyRecord,
        material: Stored,
        aliases: Iterable[str] = (),
        *,
        binding: AliasBinding = "move",
        is_unique: bool = False,
        keep: bool = False,
        check: CheckVersions | None = None,
        kept: bool = False,
    ) -> KeyRecord:
        """Store a new key with its `aliases`; return its record.

        With `check`, it is the next version of its one alias, which must exist. `check` is called
        before the change, with the newest record and the versions; if it raises, nothing is stored.
        The newest key is not rotated any more. With `kept`, rotations leave earlier versions of the
        aliases enabled. See `add_alias` for `binding`. `is_unique` says that the kid cannot exist,
        which saves a read. With `keep`, an existing key with this kid gets the aliases, and its
        record is returned.
        Raises KeyExists, AliasExists, TooManyKeys, TooManyAliases and TooLargeRecord, and then
        stores nothing.
        """

        async def work(session: Transaction) -> KeyRecord:
            newest = None
            # Before anything is written, since others share the transaction.
            if check is not None:
                newest, versions = await find_named(session, *aliases)
                check(newest, versions)
            existing = None if is_unique else await load_record(session, record.kid)
            if existing is not None:
                if not keep or existing.is_gone:
                    raise KeyExists()
                existing.require_same(record)
                return await bind_aliases(session, existing, aliases, binding)
            require_published(session, record)
            if session.settings.max_keys is not None:
                await require_room(session)
            stored = record
            for alias in aliases:
                stored = await add_alias(
                    session, stored, alias, binding, kept=kept or newest is not None
                )
            if newest is not None and newest.has_succession:  # the new key has it now
                await end_schedule(session, newest.kid)
            stored = replace(stored, seq=seq_of(session.next_place()))
            await insert_key(session, stored, material)
            return stored

        try:
            return await self._database.write(profile, work)
        except KeyExists:
            if not (await self.deletions.remove_due(profile, record.kid) or keep):
                raise
        return await self._database.write(profile, work)

    async def insert_all(
        self, profile: str, keys: Sequence[tuple[KeyRecord, Stored]]
    ) -> list[KeyRecord]:
        """Store new keys, all or none, and give their records; each has an audit line.

        Raises TooManyKeys.
        """
        work = partial(insert_keys, keys=keys)
        return await self._database.write(profile, work, timeout=LONG_TIMEOUT)

    async def record(self, profile: str, ref: KeyRef) -> KeyRecord:
        """The record of a key; raises KeyNotFound or AliasNotFound."""
        found = await self.deletions.read(profile, lambda session: find_record(session, ref))
        return found.drop_material()

    async def existing(self, profile: str, kids: Sequence[str]) -> set[str]:
        """The `kids` that exist."""

        async def work(session: Session) -> set[str]:
            return {kid for kid in kids if await load_record(session, kid) is not None}

        return await self._database.read(profile, work)

    async def open_key(
        self, profile: str, ref: KeyRef, permit: Callable[[KeyRecord], ResultT]
    ) -> tuple[ResultT, Stored]:
        """The result of `permit` for a key, and its material; raises KeyNotFound or AliasNotFound.

        `permit` is called with the record before the material is opened, and may raise.
        """

        async def work(session: Session) -> tuple[ResultT, Stored]:
            record = await find_record(session, ref)
            permitted = permit(record)
            material = await material_of(session, record)
            if material is None:  # an Askar key, deleted between the two reads
                raise KeyNotFound()
            record.drop_material()
            return permitted, material

        opened = await self.deletions.read(profile, work)
        self.keys_opened += 1
        return opened

    async def records(self, profile: str, kids: Sequence[str]) -> list[KeyRecord | None]:
        """The record of each kid; None for a key that does not exist, or whose deletion is due."""

        async def work(session: Session) -> list[KeyRecord | None]:
            return [await load_record(session, kid) for kid in kids]

        if len(kids) <= _FEW:
            found = await self._database.read(profile, work)
        else:
            found = await self._database.run(profile, work, timeout=LONG_TIMEOUT)
        gone = [record for record in found if record is not None and record.is_gone]
        due = [DueKey(each.kid, each.deletes) for each in gone if each.deletes]
        await self.deletions.record(profile, due)
        return [
            None if record is None or record in gone else record.drop_material() for record in found
        ]

    async def change(
        self, profile: str, kid: str, change: Callable[[KeyRecord], KeyRecord]
    ) -> KeyRecord:
        """Replace a key's record by the result of `change`.

        Raises KeyNotFound, and UnapprovedError for a looser rule `approval`.
        """

        async def work(session: Transaction) -> KeyRecord:
            before = await fetch_record(session, kid)
            record = await after_next(session, change(before))
            if (looser := looser_approval(before.rules, record.rules)) is not None:
                use = GuardedUse("change", ({"approval": looser.document()},))
                await take_approval(session, before, use)
            if record.publish_ahead != before.publish_ahead:
                require_published(session, record)
            await replace_scheduled(session, before, record)
            return record

        return await self.deletions.write(profile, work)

    async def list_due(self, profile: str, end: int) -> None:
        """List the hours until `end` in which keys of a profile are due, in nanoseconds."""
        work = partial(due_before, end=end)
        times = await self._database.run(profile, work, timeout=LONG_TIMEOUT)
        await self._database.due_hours.add(profile, times)

    # Profiles

    async def remove_profile(self, name: str) -> bool:
        """Remove a profile with all its keys; False if it does not exist.

        It is gone for callers at once. `DueDeletions` erases the contents of a large one. Raises
        ProfileProtected for the default one, and while it has keys that are deleted only with an
        approval.
        """
        if name == DEFAULT_PROFILE:
            raise ProfileProtected("The default profile cannot be deleted.")
        kept = partial(Session.count, category=KEY, tag_filter=KEPT_TAG)
        with suppress(ProfileNotFound, KeyUnreadable):  # an undecryptable one can be removed
            if await self._database.run(name, kept):
                raise ProfileProtected("It has keys that are deleted only with an approval.")
        removed = await self.directory.remove(name)
        if removed is None:
            return False
        try:
            until = time.monotonic() + _ERASING
            if await self.objects.of_removed(removed) or not (  # their objects first
                await self.directory.removals.erase(removed, until)
            ):
                self._database.note_removed_profile()
        except StatementTimeout:  # another try, soon or by the next sweep, may be quicker
            self._database.note_removed_profile()
        except StoreUnavailable as exc:  # the profile is gone for callers
            raise StoreUnavailable(unknown=True) from exc
        return True
