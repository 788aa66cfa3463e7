"""Reads a store's contents, damaged or not, for commands that copy and verify stores."""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from minikms.access.tokens import Tokens
from minikms.audit.heads import CHAIN, HEAD, SIGNING_KEY
from minikms.basics.background import at_once
from minikms.errors import AliasNotFound, KeyUnreadable, ProfileNotFound
from minikms.maintenance.stored_key import (
    StoredKey,
    parsed,
    read_material,
    read_stored_key,
)
from minikms.plugin.protocol import Stored
from minikms.profile_settings import NO_SETTINGS, ProfileSettings
from minikms.records import KeyRecord
from minikms.store import (
    ALIAS,
    KEY,
    PROFILE,
    Database,
    Entry,
    Session,
    StoreKey,
    StoreLocation,
    UndecryptableError,
)
from minikms.store.internals import (
    DAY_USES,
    LAST_USES,
    LONG_TIMEOUT,
    SINCE,
    DirectoryListing,
    ProviderObjects,
    find_versions,
    require_current,
    use_tags,
)
from minikms.versions import KeyVersions

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

# Categories of the store's own profile that a copy contains unchanged. Heads come first: a head
# refers to a chain and to the signing key, which are then there whatever is inserted meanwhile.
OWN: Final = (HEAD, CHAIN, SIGNING_KEY)


@dataclass(frozen=True)
class StoredRecord:
    """The entry of a record; `record` is None if it cannot be read."""

    kid: str
    record: KeyRecord | None
    tags: Mapping[str, Any]


class StoreInspector:
    """Reads everything in a store, profile by profile; each method is one session.

    Reads that need no care for damaged entries go to its `database`.
    Calls may be slow. All raise ProfileNotFound for a profile that does not exist, KeyUnreadable
    for one that does not decrypt, and StoreUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.tokens = Tokens(database)
        self.objects = ProviderObjects(database)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, location: StoreLocation, key: StoreKey, *, any_layout: bool = False
    ) -> AsyncIterator[Self]:
        """Open a store, of this version's layout unless `any_layout`; raises StoreError."""
        async with Database.open(location, key, timeout=LONG_TIMEOUT) as database:
            if not any_layout:
                require_current(database.layout, location)
            yield cls(database)

    # Profiles

    async def profiles(self) -> list[str]:
        """List the names of all profiles, sorted; raises KeyUnreadable if one does not decrypt."""
        directory = await self.directory()
        if directory.unreadable:
            raise KeyUnreadable("The directory of profiles does not decrypt as a whole.")
        return sorted(directory.askar_profiles)

    async def directory(self) -> DirectoryListing:
        """Read all entries of the directory of profiles."""
        batches = self.database.batches(None, PROFILE)
        return DirectoryListing.of([row async for batch in batches for row in batch])

    async def askar_profile(self, profile: str) -> str | None:
        """Look up Askar's name of a profile in the directory, or None."""
        try:
            return await self.database.directory.askar_profile(profile)
        except ProfileNotFound:
            return None

    async def settings(self, profile: str) -> ProfileSettings:
        """Read the settings of a profile; default settings if it does not exist."""
        try:
            return await self.database.directory.settings_of(profile)
        except ProfileNotFound:
            return NO_SETTINGS

    async def fault(self, profile: str, askar_profile: str) -> str | None:
        """Describe why a profile cannot be used at all; None if it can."""
        directory = self.database.directory
        with suppress(KeyUnreadable, ProfileNotFound):
            # A look-up is enough for a profile that can be used, and is known to later calls.
            await directory.tenancy(profile)
            if directory.known(profile) == askar_profile:
                return None
        try:
            owner = await directory.owner(askar_profile)
        except KeyUnreadable:
            return "it does not decrypt"
        if owner == (profile, True) or await self.askar_profile(profile) != askar_profile:
            return None
        if owner is not None:
            name = owner[0] if owner[0] != profile else f"an earlier {profile}"
            return f"Askar's profile for it belongs to {name}: rows were exchanged in the database"
        if askar_profile in await directory.askar_profiles():
            return "its marker is missing or does not decrypt: nothing can be written"
        return "Askar has no profile for it"

    async def usable(self, profile: str) -> str | None:
        """Look up Askar's name of a profile, None if it does not exist; raises KeyUnreadable."""
        askar_profile = await self.askar_profile(profile)
        if askar_profile is not None and (fault := await self.fault(profile, askar_profile)):
            raise KeyUnreadable(f"Profile {profile}: {fault}.")
        return askar_profile

    def at_once(
        self,
        jobs: int,
        work: Callable[[ItemT], Coroutine[Any, Any, ResultT]],
        items: Iterable[ItemT],
    ) -> AsyncGenerator[ResultT, None]:
        """Yield the results of `work` for items, which may be slow, as they come.

        At most `jobs` at a time, and fewer than connections: each may hold one while it waits for
        another one.
        """
        return at_once(max(min(jobs, self.database.pool.connections - 1), 1), work, items)

    # The store's own profile

    async def own(self) -> AsyncGenerator[list[Entry], None]:
        """Yield the entries of audit logs, in batches; raises KeyUnreadable."""
        for category in OWN:
            async for batch in self.database.batches(None, category):
                if None in batch:
                    raise KeyUnreadable(f"An entry of {category} does not decrypt.")
                yield [row for row in batch if row]

    # Keys

    async def count(self, profile: str, algs: Iterable[str]) -> dict[str, int]:
        """Count the keys of each of these algorithms, and of all others as ``""``."""

        async def work(session: Session) -> dict[str, int]:
            left = await session.count(KEY)
            counts: dict[str, int] = {}
            for alg in algs:
                if left <= 0:
                    return counts
                counts[alg] = await session.count(KEY, {"alg": alg})
                left -= counts[alg]
            if left > 0:
                others = {"$not": {"alg": {"$in": list(counts)}}}
                counts[""] = await session.count(KEY, others) if counts else left
            return counts

        return await self.database.run(profile, work)

    async def entries(self, profile: str) -> int:
        """Count the records and aliases."""

        async def work(session: Session) -> int:
            return await session.count(KEY) + await session.count(ALIAS)

        return await self.database.run(profile, work)

    async def records(
        self, profile: str, *, in_order: bool = True
    ) -> AsyncGenerator[list[StoredRecord | None], None]:
        """Yield all records as of now, in batches; None for one that does not decrypt.

        They are in the order of creation; without `in_order`, the first comes sooner.
        """
        async for batch in self.database.batches(profile, KEY, in_order=in_order):
            yield [
                None if row is None else StoredRecord(row.name, parsed(row.value), row.tags)
                for row in batch
            ]

    async def versions(self, profile: str, records: Sequence[KeyRecord]) -> dict[str, KeyVersions]:
        """Return the versions of each alias that the records of these keys name."""

        async def work(session: Session) -> dict[str, KeyVersions]:
            found = {}
            for record, alias in ((each, alias) for each in records for alias in each.aliases):
                try:
                    versions = await find_versions(session, alias)
                except KeyUnreadable:
                    raise KeyUnreadable(f"The alias {alias} does not decrypt.") from None
                except AliasNotFound:  # removed meanwhile
                    versions = KeyVersions({1: record.kid})
                found[alias] = versions.as_of(record.kid)
            return found

        return await self.database.run(profile, work)

    async def material(self, profile: str, records: Sequence[KeyRecord]) -> list[Stored | None]:
        """Read the material of keys whose records were read before.

        None if it is missing or unreadable, or if the key was deleted, even if it was recreated.
        """

        async def material(session: Session, record: KeyRecord) -> Stored | None:
            if record.sealed or record.material == "none":  # of the same moment
                return await read_material(session, record)
            now = await _record(session, record.kid)
            if now is None or now.seq != record.seq:
                return None
            return await read_material(session, now)

        async def work(session: Session) -> list[Stored | None]:
            return [await material(session, record) for record in records]

        return await self.database.run(profile, work)

    async def find(self, profile: str, kids: Sequence[str]) -> list[KeyRecord | None]:
        """Read the record of each kid; None if missing or unreadable."""

        async def work(session: Session) -> list[KeyRecord | None]:
            return [await _record(session, kid) for kid in kids]

        return await self.database.run(profile, work)

    async def inspect(
        self,
        profile: str,
        kids: Sequence[str],
        aliases: Iterable[str] = (),
        *,
        exclusively: bool = False,
    ) -> list[StoredKey]:
        """Read all entries of each kid, and the entries of `aliases`, as named by `alias_entry`.

        With `exclusively`, nobody writes meanwhile; otherwise entries may be of different moments.
        """

        async def work(session: Session) -> list[StoredKey]:
            return [await read_stored_key(session, kid, aliases) for kid in kids]

        return await self.database.run(profile, work, write=exclusively)

    async def day_uses(self, profile: str) -> AsyncGenerator[list[Entry], None]:
        """Yield the uses in a day of keys, in batches, without entries that do not decrypt."""
        async for batch in self.database.batches(profile, DAY_USES, in_order=False):
            yield [row for row in batch if row]

    async def last_uses(self, askar_profile: str) -> dict[str, bytes]:
        """Read the last-use entries of a profile's keys, by the numbers in their names."""

        async def work(session: Session) -> dict[str, bytes]:
            with suppress(UndecryptableError):  # keys are copied anyway
                rows = await session.fetch_all(LAST_USES, use_tags(askar_profile))
                return {row.name.rpartition("/")[2]: row.value for row in rows}
            return {}

        return await self.database.run_own(work)

    async def uses_noted_since(self) -> bytes | None:
        """Read the stored time since when uses are noted; None if they are not noted."""

        async def work(session: Session) -> bytes | None:
            entry = await session.fetch(LAST_USES, SINCE)
            return None if entry is None else entry.value

        return await self.database.run_own(work)

    async def last_seq(self, profile: str) -> int:
        """Read the last assigned place in the order of creation; 0 before the first."""
        try:
            return await self.database.run(profile, Session.last_place)
        except UndecryptableError:
            raise KeyUnreadable("The counter for the order of keys does not decrypt.") from None


async def _record(session: Session, kid: str) -> KeyRecord | None:
    """Parse a record; None if missing or unreadable."""
    try:
        entry = await session.fetch(KEY, kid)
    except UndecryptableError:
        return None
    return None if entry is None else parsed(entry.value)
