"""What is in a store, whether it fits together or not: for tools that copy and verify stores."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeVar

from minikms.access.tokens import CATEGORY as TOKEN
from minikms.audit.heads import CHAIN, HEAD, SIGNING_KEY
from minikms.errors import KeyUnreadable, ProfileNotFound
from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord
from minikms.store.askar_errors import UndecryptableError
from minikms.store.database import Database
from minikms.store.directory import DirectoryListing
from minikms.store.entries import ALIAS, DELETION, KEY, MATERIAL, publishes
from minikms.store.location import StoreKey, StoreLocation
from minikms.store.permits import LONG_TIMEOUT
from minikms.store.rows import BATCH
from minikms.store.sessions import Session

ResultT = TypeVar("ResultT")

# The category that stands for keys of Askar's, which have none.
ASKAR_KEY: Final = "askar"

# The categories of the store's own profile besides its directory. A head refers to a chain and to
# the signing key; read first, it finds both, whatever is inserted meanwhile.
_OWN: Final = (HEAD, CHAIN, SIGNING_KEY, TOKEN)


@dataclass(frozen=True)
class StoredKey:
    """All entries of a kid.

    `record` is None where there is none, and where there is one (`recorded`) that cannot be read.
    `materials` is by category; `aliases` has the kid of each that the record lists or that was
    asked for, None where there is no such entry; `deletion` has the tags of the scheduled deletion,
    None where there is none. What does not decrypt is in `unreadable` alone, by category and name.
    """

    kid: str
    recorded: bool
    record: KeyRecord | None
    tags: Mapping[str, Any]
    materials: Mapping[str, Stored] = field(repr=False)
    aliases: Mapping[str, str | None]
    deletion: Mapping[str, Any] | None
    unreadable: tuple[tuple[str, str], ...]

    @property
    def unreadable_materials(self) -> bool:
        """Whether some material does not decrypt."""
        return any(category in (ASKAR_KEY, MATERIAL) for category, _ in self.unreadable)

    @property
    def stored(self) -> Stored | None:
        """The material of the kind that the record names."""
        return self.materials.get(material_category(self.record)) if self.record else None


@dataclass(frozen=True)
class OwnEntry:
    """An entry of the store's own profile: of a token, or of audit logs."""

    category: str
    name: str
    value: bytes = field(repr=False)
    tags: Mapping[str, Any]


class StoreInspector:
    """Reads everything in a store, profile by profile; every method is one session.

    Calls may take long. All raise ProfileNotFound for a profile that does not exist, KeyUnreadable
    for one that does not decrypt, and StoreUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    @asynccontextmanager
    async def open(cls, location: StoreLocation, key: StoreKey) -> AsyncIterator[Self]:
        """Open a store; raises StoreError."""
        async with Database.open(location, key, timeout=LONG_TIMEOUT) as database:
            yield cls(database)

    @property
    def layout(self) -> int:
        """The layout of what is in the store."""
        return self._database.layout

    # Profiles

    async def profiles(self) -> list[str]:
        """The names of all profiles, sorted; raises KeyUnreadable where one does not decrypt."""
        directory = await self.directory()
        if directory.unreadable:
            raise KeyUnreadable("The directory of profiles does not decrypt as a whole.")
        return sorted(directory.askar_profiles)

    async def directory(self) -> DirectoryListing:
        """All that the directory of profiles says."""
        return await self._database.directory.listing()

    async def askar_profiles(self) -> set[str]:
        """Askar's names of all its profiles but the store's own."""
        return await self._database.directory.askar_profiles()

    async def askar_profile(self, profile: str) -> str | None:
        """Askar's name of a profile, which is never used again; None where there is none."""
        try:
            return await self._database.directory.askar_profile(profile)
        except ProfileNotFound:
            return None

    async def fault(self, profile: str, askar_profile: str) -> str | None:
        """What keeps a profile from being used at all, in a few words."""
        try:
            owner = await self._database.owner(profile)
        except KeyUnreadable:
            return "it does not decrypt"
        if owner == profile or await self.askar_profile(profile) != askar_profile:
            return None
        if askar_profile in await self.askar_profiles():
            return "its marker is missing or does not decrypt: nothing can be written"
        return "Askar has no profile for it"

    async def publishes(self, profile: str) -> bool:
        """Whether everybody may read the profile's public keys."""
        return await self._database.run(profile, publishes)

    # The store's own profile

    async def own(self) -> AsyncGenerator[list[OwnEntry], None]:
        """The entries of tokens and of audit logs, in batches; raises KeyUnreadable."""
        for category in _OWN:
            async for batch in self._database.batches(None, category):
                if None in batch:
                    raise KeyUnreadable(f"An entry of {category} does not decrypt.")
                yield [
                    OwnEntry(row.category, row.name, row.value, row.tags) for row in batch if row
                ]

    # Keys

    async def count(self, profile: str, algs: Iterable[str]) -> dict[str, int]:
        """How many keys of each of these algorithms there are, and of all others under ``""``."""

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

        return await self._database.run(profile, work)

    async def entries(self, profile: str) -> int:
        """How many records, aliases and materials there are, with one material for each record."""

        async def work(session: Session) -> int:
            return 2 * await session.count(KEY) + await session.count(ALIAS)

        return await self._database.run(profile, work)

    async def records(self, profile: str) -> AsyncGenerator[list[KeyRecord | None], None]:
        """All records as they are now, in batches; None for one that cannot be read."""
        async for batch in self._database.batches(profile, KEY):
            yield [None if row is None else _parsed(row.value) for row in batch]

    async def kids(self, profile: str) -> AsyncGenerator[list[str | None], None]:
        """The kids of all records, in batches; None for one that does not decrypt."""
        async for batch in self._database.batches(profile, KEY):
            yield [None if row is None else row.name for row in batch]

    async def aliases(self, profile: str) -> AsyncGenerator[list[tuple[str, str] | None], None]:
        """All aliases and their kids, in batches; None for one that does not decrypt."""
        async for batch in self._database.batches(profile, ALIAS):
            yield [None if row is None else (row.name, row.value.decode()) for row in batch]

    async def deletions(self, profile: str) -> AsyncGenerator[list[str | None], None]:
        """The kids of all scheduled deletions, in batches; None for one that does not decrypt."""
        async for batch in self._database.batches(profile, DELETION):
            yield [None if row is None else row.name for row in batch]

    async def materials(self, profile: str) -> AsyncGenerator[list[tuple[str, str | None]], None]:
        """The category and the kid of all material, in batches.

        The kid is None for material that does not decrypt, and once for all of Askar's keys of an
        algorithm of which one does not.
        """
        async for batch in self._database.batches(profile, MATERIAL):
            yield [(MATERIAL, None if row is None else row.name) for row in batch]
        async for kids in self._database.key_names(profile):
            if kids is None:
                yield [(ASKAR_KEY, None)]
                continue
            for start in range(0, len(kids), BATCH):
                yield [(ASKAR_KEY, kid) for kid in kids[start : start + BATCH]]

    async def find(self, profile: str, kids: Sequence[str]) -> list[KeyRecord | None]:
        """The record of each kid; None where there is none that can be read."""

        async def work(session: Session) -> list[KeyRecord | None]:
            entries = [await _read(session.fetch(KEY, kid), (KEY, kid), []) for kid in kids]
            return [_parsed(entry.value) if entry else None for entry in entries]

        return await self._database.run(profile, work)

    async def inspect(
        self,
        profile: str,
        kids: Sequence[str],
        aliases: Iterable[str] = (),
        *,
        exclusively: bool = False,
    ) -> list[StoredKey]:
        """All entries of each kid, and those of `aliases`.

        With `exclusively` nobody writes meanwhile; otherwise entries may be of different moments.
        """

        async def work(session: Session) -> list[StoredKey]:
            return [await _stored_key(session, kid, aliases) for kid in kids]

        return await self._database.run(profile, work, write=exclusively)

    async def last_seq(self, profile: str) -> int:
        """The last place in the order of creation that was assigned; 0 before the first."""
        try:
            return await self._database.run(profile, Session.last_place)
        except UndecryptableError:
            raise KeyUnreadable("The order in which keys were made does not decrypt.") from None


def material_category(record: KeyRecord) -> str:
    """The category of a key's material, as its record says."""
    return ASKAR_KEY if record.material == "askar" else MATERIAL


async def _stored_key(session: Session, kid: str, aliases: Iterable[str]) -> StoredKey:
    unreadable: list[tuple[str, str]] = []
    entry = await _read(session.fetch(KEY, kid), (KEY, kid), unreadable)
    record = _parsed(entry.value) if entry else None
    materials: dict[str, Stored] = {}
    if key := await _read(session.fetch_key(kid), (ASKAR_KEY, kid), unreadable):
        materials[ASKAR_KEY] = key
    if material := await _read(session.fetch(MATERIAL, kid), (MATERIAL, kid), unreadable):
        materials[MATERIAL] = material.value
    names = dict.fromkeys((*(record.aliases if record else ()), *aliases))
    deletion = await _read(session.fetch(DELETION, kid), (DELETION, kid), unreadable)
    holders = {
        name: await _read(session.fetch(ALIAS, name), (ALIAS, name), unreadable) for name in names
    }
    return StoredKey(
        kid,
        recorded=entry is not None or (KEY, kid) in unreadable,
        record=record,
        tags=entry.tags if entry else {},
        materials=materials,
        aliases={
            name: holder.value.decode() if holder else None
            for name, holder in holders.items()
            if (ALIAS, name) not in unreadable
        },
        deletion=deletion.tags if deletion else None,
        unreadable=tuple(unreadable),
    )


async def _read(
    fetch: Awaitable[ResultT | None], name: tuple[str, str], unreadable: list[tuple[str, str]]
) -> ResultT | None:
    """The result of `fetch`; None where it does not decrypt, and then `name` is in `unreadable`."""
    try:
        return await fetch
    except UndecryptableError:
        unreadable.append(name)
        return None


def _parsed(value: bytes) -> KeyRecord | None:
    """The record in these bytes, None where this version can read none in them."""
    try:
        record = KeyRecord.from_bytes(value)
    except (ValueError, TypeError, LookupError):
        return None
    return record if record.seq.isdecimal() else None
