"""Records, material and aliases of keys, profile by profile.

It is over 300 lines, since every change of a key is a method of one class.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final, Self, TypeAlias, TypeVar

from minikms.errors import (
    AliasNotFound,
    KeyExists,
    KeyNotFound,
    KeyUnreadable,
    ProfileNotFound,
    ProfileProtected,
    StoreUnavailable,
)
from minikms.events import CURRENT, AuditEvent, set_key, set_keys
from minikms.plugin.protocol import Stored
from minikms.profile_settings import ProfileSettings
from minikms.records import DEFAULT_PROFILE, AliasBinding, KeyRecord, KeyRef, State
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.sequence import seq_of
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.askar.stores import new_raw_key
from minikms.store.categories import ALIAS, DELETION, KEY
from minikms.store.connections.calls import LONG_TIMEOUT
from minikms.store.database import Database
from minikms.store.keys.day_leases import lease_uses
from minikms.store.keys.entries import (
    DueError,
    DueKey,
    add_alias,
    alias_entry,
    bind_aliases,
    delete_key,
    deletion_tags,
    due_filter,
    fetch_record,
    find_named,
    find_record,
    find_versions,
    insert_key,
    load_record,
    material_of,
    publish,
    publishes,
    remove_key,
    remove_versions,
    replace_record,
    require_room,
    schedule,
    set_rotation,
    time_of_deletion,
    versions_of,
)
from minikms.store.keys.listing import KeyListing, read_back
from minikms.store.keys.provider_objects import ProviderObjects
from minikms.store.keys.rotation import (
    NotDueError,
    Successor,
    due_rotations,
    postpone,
    replace_due_key,
    replace_key,
)
from minikms.store.profiles.marker import require_profile
from minikms.store.profiles.tenancy import Tenancy
from minikms.store.writes import Work
from minikms.versions import KeyVersions

# The number of keys due for deletion that one call reads.
_DUE: Final = 1000

ResultT = TypeVar("ResultT")

# The number of records that one call reads in a session that others wait for.
_FEW: Final = 4

# The number of keys that one transaction records as due.
_RECORDED: Final = 100

# Called with the record of a key before anything is done with it; raises to refuse.
Check: TypeAlias = Callable[[KeyRecord], object]

# Called with the record of the newest version of an alias and its versions; raises to refuse.
CheckVersions: TypeAlias = Callable[[KeyRecord, KeyVersions], object]


def no_check(_: KeyRecord) -> None:
    """Accept every record."""


def no_check_of_versions(_: KeyRecord, __: KeyVersions) -> None:
    """Accept every record with its versions."""


class KeyStore:
    """Keys in an Askar store. Every method is one session, and every change one transaction.

    All raise ProfileNotFound for a profile that does not exist, StoreUnavailable if the database
    does not answer, and KeyUnreadable for a key that does not decrypt.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listing = KeyListing(database)
        self.objects = ProviderObjects(database)
        self.keys_opened = 0
        self._on_ended: Callable[[str | None, Iterable[str]], None] = lambda _, __: None

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
        """Make a store in memory under a new raw key, which ends with the block."""
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

    async def totals(self) -> tuple[int, int]:
        """Count the keys and the profiles, in a session for each profile.

        The keys of a profile that is removed meanwhile, or does not decrypt, do not count.
        """
        names, keys = await self.profiles(), 0
        for name in names:
            with suppress(ProfileNotFound, KeyUnreadable):
                keys += await self._database.run(name, _count_keys, timeout=LONG_TIMEOUT)
        return keys, len(names)

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
        """Store a new key with its `aliases`, and give its record.

        With `check`, it is the next version of its one alias, which must exist; `check` gets the
        newest record and the versions before, and may raise. The newest key is not rotated any
        more. With `kept`, rotations leave earlier versions of the aliases enabled.
        See `add_alias` for `binding`. `is_unique` says that the kid cannot exist, which saves a
        read. With `keep`, an existing key with this kid gets the aliases, and its record is given.
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
            if session.settings.max_keys is not None:
                await require_room(session)
            stored = record
            for alias in aliases:
                stored = await add_alias(
                    session, stored, alias, binding, kept=kept or newest is not None
                )
            if newest is not None and newest.rotates is not None:  # the schedule is the name's
                left = await fetch_record(session, newest.kid)
                await replace_record(session, left.rotating(None))
                await set_rotation(session, left.kid, None)
            stored = replace(stored, seq=seq_of(session.next_place()))
            await insert_key(session, stored, material)
            return stored

        try:
            return await self._database.write(profile, work)
        except KeyExists:
            if not (await self.remove_due(profile, record.kid) or keep):
                raise
        return await self._database.write(profile, work)

    async def insert_all(
        self, profile: str, keys: Sequence[tuple[KeyRecord, Stored]]
    ) -> list[KeyRecord]:
        """Store new keys, all or none, and give their records; each has an audit line.

        Raises TooManyKeys.
        """

        async def work(session: Transaction) -> list[KeyRecord]:
            if session.settings.max_keys is not None:
                await require_room(session, len(keys))
            stored: list[KeyRecord] = []
            for record, material in keys:
                stored.append(replace(record, seq=seq_of(session.next_place())))
                await insert_key(session, stored[-1], material)
            set_keys((key.kid, key.alg) for key in stored)
            return stored

        return await self._database.write(profile, work, timeout=LONG_TIMEOUT)

    async def rotate(
        self,
        profile: str,
        ref: KeyRef,
        successor: Successor,
        check: CheckVersions | None = None,
    ) -> KeyRecord:
        """Store the `successor` of a key, and give its record.

        The old key becomes `verify-only` and loses its aliases. `successor` gives the new key for
        the record of the old one, within the transaction, and may raise. With `check`, the old key
        stays enabled, and the alias of `ref` keeps the numbers of its versions; `check` gets these
        before, with the record, and may raise. Raises KeyNotFound, AliasNotFound, TooManyKeys,
        TooManyAliases and TooLargeRecord.
        """

        async def work(session: Transaction) -> KeyRecord:
            old = await find_record(session, ref)
            set_key(old.kid, old.alg)
            named = await versions_of(session, old)
            if check is not None:
                alias = ref.alias or ""
                check(old, named[alias])
                named[alias] = replace(named[alias], kept=True)
                named[alias].require_room(len(old.aliases))
            return await replace_key(session, old, successor, named, enabled=check is not None)

        return await self._write(profile, work)

    async def rotate_due(self, profile: str, kid: str, successor: Successor) -> KeyRecord:
        """Store the `successor` of a key whose scheduled rotation is due, as `rotate` does.

        Raises NotDueError, NotRotatableError, TooManyAliases and TooLargeRecord.
        """
        return await self._database.write(
            profile, lambda session: replace_due_key(session, kid, successor)
        )

    async def due_rotations(self, profile: str) -> list[str]:
        """The kids of up to a thousand keys whose scheduled rotation is due."""
        return await self._database.run(profile, due_rotations)

    async def postpone_rotation(self, profile: str, kid: str, until: int) -> None:
        """Leave a key out of `due_rotations` until a time in nanoseconds."""
        await self._database.write(profile, partial(postpone, kid=kid, until=until))

    async def record(self, profile: str, ref: KeyRef) -> KeyRecord:
        """The record of a key; raises KeyNotFound or AliasNotFound."""
        found = await self._read(profile, lambda session: find_record(session, ref))
        return found.drop_material()

    async def existing(self, profile: str, kids: Sequence[str]) -> set[str]:
        """The `kids` that exist."""

        async def work(session: Session) -> set[str]:
            return {kid for kid in kids if await load_record(session, kid) is not None}

        return await self._read(profile, work)

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

        opened = await self._read(profile, work)
        self.keys_opened += 1
        return opened

    async def last_place(self, profile: str) -> int:
        """The last place in the order of creation that was assigned; 0 before the first."""

        async def work(session: Session) -> int:
            last = await session.last_place()
            if not last:
                await require_profile(session)
            return last

        return await self._database.run(profile, work)

    async def read_back(self, profile: str, end: int) -> tuple[list[tuple[KeyRecord, Stored]], int]:
        """Some keys up to a place in the order of creation, newest first, with their material.

        The place before them is returned too, 0 at the end. Keys that are disabled, scheduled for
        deletion or cannot be read are left out.
        """

        async def work(session: Session) -> tuple[list[tuple[KeyRecord, Stored]], int]:
            records, start = await read_back(session, end)
            keys = []
            for record in records:
                if record.current_state != "disabled":
                    with suppress(KeyUnreadable):  # it is logged
                        material = await material_of(session, record)
                        if material is not None:
                            keys.append((record.drop_material(), material))
            return keys, start

        return await self._database.run(profile, work)

    async def page(
        self,
        profile: str,
        *,
        limit: int,
        after: str = "",
        alg: str | None = None,
        labels: Iterable[tuple[str, str]] = (),
    ) -> tuple[list[KeyRecord], bool]:
        """Up to `limit` records in order of creation, and whether there are more.

        `after` is the `seq` of the last record of the page before. `alg` is the one algorithm to
        list; a key must have all `labels`. A record that does not decrypt is logged and left out.
        """
        page = await self._listing.page(
            profile, limit=limit, after=after, alg=alg, labels=tuple(labels)
        )
        await self._record_due(profile, page.due)
        return page.records, page.more

    async def bind_alias(
        self, profile: str, kid: str, alias: str, binding: AliasBinding = "move"
    ) -> None:
        """Let `alias` name this key and no other.

        Raises KeyNotFound, and the errors of `add_alias`.
        """

        async def work(session: Transaction) -> None:
            record = await fetch_record(session, kid)
            await bind_aliases(session, record, [alias], binding)

        await self._write(profile, work)

    async def unbind_alias(self, profile: str, kid: str | None, alias: str) -> None:
        """Remove an alias of a key, or of the key that has it if `kid` is None.

        Raises KeyNotFound, or AliasNotFound if the key does not have it.
        """

        async def work(session: Transaction) -> None:
            name = alias_entry(alias)
            if kid is None:
                record = await find_record(session, KeyRef(alias=alias))
            else:
                record = await fetch_record(session, kid)
                if (await find_versions(session, alias)).latest_kid != kid:
                    raise AliasNotFound()
            set_key(record.kid, record.alg)
            await session.remove(ALIAS, name)
            await replace_record(session, record.without_alias(alias).released())

        await self._write(profile, work)

    async def versions(self, profile: str, alias: str) -> KeyVersions:
        """The versions of an alias; raises AliasNotFound."""
        return await self._database.read(profile, partial(find_versions, alias=alias))

    async def records(self, profile: str, kids: Sequence[str]) -> list[KeyRecord | None]:
        """The record of each kid; None if the key does not exist or its deletion is due."""

        async def work(session: Session) -> list[KeyRecord | None]:
            return [await load_record(session, kid) for kid in kids]

        if len(kids) <= _FEW:
            found = await self._read(profile, work)
        else:
            found = await self._database.run(profile, work, timeout=LONG_TIMEOUT)
        gone = [record for record in found if record is not None and record.is_gone]
        due = [DueKey(each.kid, each.deletes) for each in gone if each.deletes]
        await self._record_due(profile, due)
        return [
            None if record is None or record in gone else record.drop_material() for record in found
        ]

    async def change_versions(
        self,
        profile: str,
        alias: str,
        change: Callable[[KeyRecord, KeyVersions], KeyVersions],
        *,
        may_delete: bool = False,
    ) -> KeyVersions:
        """Store the versions of an alias that `change` makes of them, which may raise.

        Keys of versions that it leaves out are removed, as by `remove_name`. Raises AliasNotFound
        and Forbidden.
        """

        async def work(session: Transaction) -> KeyVersions:
            record, before = await find_named(session, alias)
            set_key(record.kid, record.alg)
            after = change(record, before)
            if after == before:
                return after
            after = replace(after, kept=True)
            left_out = {*before.kids.values()} - {*after.kids.values()}
            deletes = time_of_deletion(session, may_delete=may_delete) if left_out else None
            await session.replace(ALIAS, alias_entry(alias), after.to_bytes())
            await remove_versions(session, record, left_out, deletes)
            return after

        return await self._write(profile, work, timeout=LONG_TIMEOUT)

    async def remove_name(
        self, profile: str, alias: str, check: CheckVersions, *, may_delete: bool = False
    ) -> KeyRecord:
        """Remove an alias with the keys of all its versions, and give the record of the newest.

        A key that another alias has among its versions stays, and is removed with that one. `check`
        is called first, and may raise. Raises AliasNotFound. The settings of the profile apply as
        in `delete`; the alias stays with its key until that is removed.
        """

        async def work(session: Transaction) -> KeyRecord:
            deletes = time_of_deletion(session, may_delete=may_delete)
            record, versions = await find_named(session, alias)
            set_key(record.kid, record.alg)
            check(record, versions)
            left = record.without_alias(alias).released()
            is_last = not (left.aliases or left.named_by)
            kids, stays = {*versions.kids.values()} - {record.kid}, is_last and deletes is not None
            await remove_versions(session, record, kids, deletes, keep_name=stays)
            if not is_last:
                await session.remove(ALIAS, alias_entry(alias))
                await replace_record(session, left)
            else:
                await delete_key(session, record, deletes)
            return record

        return await self._write(profile, work, timeout=LONG_TIMEOUT)

    async def change(
        self, profile: str, kid: str, change: Callable[[KeyRecord], KeyRecord]
    ) -> KeyRecord:
        """Replace a key's record by the one that `change` makes of it; raises KeyNotFound."""

        async def work(session: Transaction) -> KeyRecord:
            before = await fetch_record(session, kid)
            record = change(before)
            if record.rotates != before.rotates:
                await set_rotation(session, kid, record.rotates)
            await replace_record(session, record)
            return record

        return await self._write(profile, work)

    async def delete(self, profile: str, ref: KeyRef, *, may_delete: bool = False) -> KeyRecord:
        """Remove a key, its material and its aliases, and give its record.

        A key of a provider is gone for callers at once, and `remove_due` removes it. If the profile
        requires a delay, the deletion is scheduled, and the record has its time. Raises KeyNotFound
        and AliasNotFound, and Forbidden if the profile requires the scope `keys:delete`, which the
        caller has with `may_delete`.
        """

        async def work(session: Transaction) -> KeyRecord:
            deletes = time_of_deletion(session, may_delete=may_delete)
            record = await find_record(session, ref)
            set_key(record.kid, record.alg)
            return await delete_key(session, record, deletes)

        return await self._write(profile, work)

    async def schedule(
        self,
        profile: str,
        ref: KeyRef,
        deletes: int | None,
        *,
        state: State | None = None,
        check: Check = no_check,
        may_delete: bool = False,
    ) -> KeyRecord:
        """Schedule a key's deletion for `deletes`, or cancel it for None, and give its record.

        Its state becomes `state`, or stays for None. `check` is called with its record first, and
        may raise. Raises KeyNotFound and AliasNotFound. The settings of the profile apply as in
        `delete`.
        """

        async def work(session: Transaction) -> KeyRecord:
            due = deletes
            if due is not None:
                due = max(due, time_of_deletion(session, may_delete=may_delete) or 0)
            record = await find_record(session, ref)
            set_key(record.kid, record.alg)
            check(record)
            return await schedule(session, replace(record, state=state or record.state), due)

        return await self._write(profile, work)

    async def lease_uses(self, profile: str, kid: str, most: int, needed: int) -> tuple[int, int]:
        """Lease uses of a key that has `most` in a day, as `store.uses.lease_uses` does."""

        async def work(session: Transaction) -> tuple[int, int]:
            return await lease_uses(session, kid, most, needed)

        outer = CURRENT.set(None)  # the call is recorded when it is done
        try:
            return await self._database.write(profile, work)
        finally:
            CURRENT.reset(outer)

    def on_ended(self, call: Callable[[str | None, Iterable[str]], None]) -> None:
        """Let `call` be called with a profile and the kids of deleted keys of providers in it.

        None stands for removed profiles that have keys of providers.
        """
        self._on_ended = call
        self._database.on_ended(call)

    async def due(self, profile: str, *, besides: int = 0) -> list[str]:
        """The kids of up to a thousand keys whose deletion is due, `besides` so many more."""

        async def work(session: Session) -> list[str]:
            rows = await session.fetch_all(DELETION, due_filter(), _DUE + besides)
            if not rows:
                await require_profile(session)
            return [row.name for row in rows]

        return await self._database.run(profile, work)

    async def remove_due(
        self,
        profile: str,
        kid: str,
        object_id: str | None = None,
        destruction: AuditEvent | None = None,
    ) -> bool:
        """Remove a key whose deletion is due; False if it is not due or does not exist.

        A key of a provider is removed only by the identifier of its object, which is gone or stays.
        The event of its `destruction` is recorded with the removal.
        """

        async def work(session: Transaction) -> None:
            record = await load_record(session, kid)
            if record is None or not record.is_gone or record.object_id != object_id:
                raise NotDueError  # so that the event of the call is not recorded as a success
            await remove_key(session, record)
            if destruction is not None:
                session.events.append(destruction)

        try:
            await self._database.write(profile, work)
        except NotDueError:
            return False
        return True

    async def _read(self, profile: str, work: Callable[[Session], Awaitable[ResultT]]) -> ResultT:
        try:
            return await self._database.read(profile, work)
        except DueError as due:
            await self._record_due(profile, [due.key])
            raise due.error from None

    async def _write(
        self, profile: str, work: Work[ResultT], timeout: float | None = None
    ) -> ResultT:
        try:
            return await self._database.write(profile, work, timeout=timeout)
        except DueError as due:
            await self._record_due(profile, [due.key])
            raise due.error from None

    async def _record_due(self, profile: str, due: Sequence[DueKey]) -> None:
        """Record deletions as due, before the caller learns that the keys are gone.

        A key is gone once its deletion is due, but stays in the store until it is removed. If the
        clock goes back meanwhile, it must stay gone: in other processes, and after a restart. So
        it is scheduled for the beginning of time, which every version takes for due.
        """
        outer = CURRENT.set(None)  # the call did not ask for this change
        try:
            for start in range(0, len(due), _RECORDED):
                few = due[start : start + _RECORDED]

                async def work(session: Transaction, few: Sequence[DueKey] = few) -> None:
                    for kid, deletes in few:
                        now = await load_record(session, kid)
                        if now is not None and now.deletes == deletes:  # and not restored meanwhile
                            record = replace(now, deletes=0)
                            await session.replace(DELETION, kid, b"", deletion_tags(record))
                            await replace_record(session, record)

                await self._database.write(profile, work)
        finally:
            CURRENT.reset(outer)

    # Profiles

    async def create_profile(self, name: str, maker: str = "") -> None:
        """Make an empty profile by the token with the id `maker`; raises ProfileExists."""
        await self._database.directory.create(name, maker=maker)

    async def remove_profile(self, name: str) -> bool:
        """Remove a profile with all its keys; False if it does not exist.

        Raises ProfileProtected for the default one.
        """
        if name == DEFAULT_PROFILE:
            raise ProfileProtected("The default profile cannot be deleted.")
        directory = self._database.directory
        removed = await directory.remove(name)
        if removed is None:
            return False
        try:
            if await self.objects.of_removed(removed):
                self._on_ended(None, ())  # their objects first
            else:
                await directory.removals.erase(removed)
        except StoreUnavailable as exc:  # the profile is gone for callers
            raise StoreUnavailable(unknown=True) from exc
        return True

    async def publish(self, profile: str, *, public: bool) -> None:
        """Let everybody read the profile's public keys, or only callers who may read its keys."""
        await self._database.write(profile, partial(publish, public=public))

    async def publishes(self, profile: str) -> bool:
        """Tell whether everybody may read the profile's public keys."""
        return await self._database.run(profile, publishes)

    async def profiles(self) -> list[str]:
        """The names of all profiles, sorted."""
        return await self._database.directory.names()

    async def tenancy(self, name: str) -> Tenancy:
        """The id of a profile, and the time of its creation."""
        return await self._database.directory.tenancy(name)

    async def settings(self) -> dict[str, ProfileSettings]:
        """The settings of all profiles, by name, sorted."""
        return await self._database.directory.all_settings()

    async def change_settings(self, profile: str, changes: Mapping[str, Any]) -> ProfileSettings:
        """Change settings of a profile, and return all of them."""
        return await self._database.directory.change(profile, changes)


async def _count_keys(session: Session) -> int:
    return await session.count(KEY)
