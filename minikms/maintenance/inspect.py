"""What a store has in it, as it is found: for tools that copy a store and check it."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Self

from aries_askar import AskarError, AskarErrorCode, KeyAlg, Session
from aries_askar.store import KeyEntryList

from minikms.access.tokens import CATEGORY as TOKEN
from minikms.audit.heads import CHAIN, HEAD, SIGNING_KEY
from minikms.errors import KeyExists, KeyUnreadable, ProfileNotFound
from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord
from minikms.store.askar import DuplicateError, UndecryptableError
from minikms.store.database import BATCH, Database, Directory
from minikms.store.keys import (
    ALIAS,
    DELETION,
    MATERIAL,
    insert_deletion,
    insert_material,
    publish,
    publishes,
    tags_of,
)
from minikms.store.listing import KEY, last_seq, set_last_seq
from minikms.store.location import StoreKey, StoreLocation

ASKAR_KEY: Final = "askar"

# What the store's own profile has besides the directory. Heads come before what they need, which
# is therefore there for each of them, whatever is made meanwhile.
_OWN: Final = (HEAD, CHAIN, SIGNING_KEY, TOKEN)


@dataclass(frozen=True)
class StoredKey:
    """What is kept under a kid, whether it fits together or not.

    `record` is None where there is none, and where there is one (`recorded`) that cannot be read.
    `materials` is by category; `aliases` has the kid of each that the record lists or that was
    asked for, None where there is no such entry; `deletion` the tags of the entry of its scheduled
    deletion, None where there is none. What does not decrypt is in none of them: `unreadable` has
    it, by category and name.
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
        """Whether some material of it does not decrypt."""
        return any(category in (ASKAR_KEY, MATERIAL) for category, _ in self.unreadable)

    @property
    def stored(self) -> Stored | None:
        """The material that its record says it has."""
        return self.materials.get(material_category(self.record)) if self.record else None


@dataclass(frozen=True)
class Own:
    """An entry of the store's own: a token, or what belongs to audit logs."""

    category: str
    name: str
    value: bytes = field(repr=False)
    tags: Mapping[str, Any]


class StoreInspector:
    """Everything in a store, profile by profile; every method is one session.

    What takes long waits long, too. All raise ProfileNotFound for a profile that is not there,
    KeyUnreadable for one that does not decrypt, and StoreUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    @asynccontextmanager
    async def open(cls, location: StoreLocation, key: StoreKey) -> AsyncIterator[Self]:
        """The store that is there; raises StoreError."""
        async with Database.open(location, key, patient=True) as database:
            yield cls(database)

    @classmethod
    @asynccontextmanager
    async def create(cls, location: StoreLocation, key: StoreKey) -> AsyncIterator[Self]:
        """A new store, which counts as there once the block has ended well; raises StoreError."""
        async with Database.create(location, key, patient=True) as database:
            yield cls(database)
            await database.finish()

    @property
    def layout(self) -> int:
        """The layout of what is in the store."""
        return self._database.layout

    async def rekey(self, key: StoreKey) -> None:
        """Let another key open the store from now on; raises StoreError for what is none."""
        await self._database.rekey(key)

    # Profiles

    async def profiles(self) -> list[str]:
        """The names of all profiles, sorted; raises KeyUnreadable where one cannot be read."""
        directory = await self._database.directory()
        if directory.unreadable:
            raise KeyUnreadable("The directory of profiles does not decrypt as a whole.")
        return sorted(directory.homes)

    async def directory(self) -> Directory:
        """All that the directory of profiles says."""
        return await self._database.directory()

    async def homes(self) -> set[str]:
        """Askar's names of all its profiles but the store's own."""
        return await self._database.homes()

    async def home(self, profile: str) -> str | None:
        """Askar's name of a profile, of which there is never another; None where it is gone."""
        try:
            return await self._database.home(profile)
        except ProfileNotFound:
            return None

    async def flaw(self, profile: str, home: str) -> str | None:
        """What keeps a profile from being used at all, in a few words."""
        try:
            owner = await self._database.owner(profile)
        except KeyUnreadable:
            return "it does not decrypt"
        except AskarError as exc:
            if exc.code not in (AskarErrorCode.ENCRYPTION, AskarErrorCode.NOT_FOUND):
                raise
            owner = None
        if owner == profile or await self.home(profile) != home:
            return None
        if home in await self.homes():
            return "its marker is missing or does not decrypt: nothing can be written"
        return "Askar has no profile for it"

    async def create_profile(self, name: str) -> None:
        """Make an empty profile; raises ProfileExists."""
        await self._database.create_profile(name)

    async def remove_profile(self, name: str) -> None:
        """Remove a profile with all that is in it."""
        await self._database.remove_profile(name)

    async def publishes(self, profile: str) -> bool:
        """Whether everybody may have the profile's public keys."""
        return await self._database.run(profile, publishes)

    async def publish(self, profile: str) -> None:
        """Let everybody have the profile's public keys."""
        await self._database.run(profile, partial(publish, public=True), write=True)

    # What concerns all of the store

    async def own(self) -> AsyncGenerator[list[Own], None]:
        """Tokens, and what belongs to audit logs, in batches; raises KeyUnreadable."""
        for category in _OWN:
            async for batch in self._database.batches(None, category):
                if None in batch:
                    raise KeyUnreadable(f"An entry of {category} does not decrypt.")
                yield [Own(row.category, row.name, row.value, row.tags) for row in batch if row]

    async def insert_own(self, entries: Sequence[Own]) -> None:
        """Store tokens, and what belongs to audit logs."""

        async def work(session: Session) -> None:
            for entry in entries:
                await session.insert(entry.category, entry.name, entry.value, dict(entry.tags))

        await self._database.run_own(work, write=True)

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
        """How many records, aliases and materials there are, of which each record has one."""

        async def work(session: Session) -> int:
            return 2 * await session.count(KEY) + await session.count(ALIAS)

        return await self._database.run(profile, work)

    async def records(self, profile: str) -> AsyncGenerator[list[KeyRecord | None], None]:
        """All records as they are at one moment, in batches; None for what cannot be read."""
        async for batch in self._database.batches(profile, KEY):
            yield [None if row is None else _parsed(row.value) for row in batch]

    async def kids(self, profile: str) -> AsyncGenerator[list[str | None], None]:
        """The kids of all records, in batches; None for what does not decrypt."""
        async for batch in self._database.batches(profile, KEY):
            yield [None if row is None else row.name for row in batch]

    async def aliases(self, profile: str) -> AsyncGenerator[list[tuple[str, str] | None], None]:
        """All aliases and their kids, in batches; None for what cannot be read."""
        async for batch in self._database.batches(profile, ALIAS):
            yield [None if row is None else (row.name, row.value.decode()) for row in batch]

    async def deletions(self, profile: str) -> AsyncGenerator[list[str | None], None]:
        """The kids of all scheduled deletions, in batches; None for what does not decrypt."""
        async for batch in self._database.batches(profile, DELETION):
            yield [None if row is None else row.name for row in batch]

    async def materials(self, profile: str) -> AsyncGenerator[list[tuple[str, str | None]], None]:
        """The kids of all material, in batches, each with its category.

        None for what does not decrypt, and for all Askar keys of an algorithm of which one does
        not: Askar gives them at once.
        """
        async for batch in self._database.batches(profile, MATERIAL):
            yield [(MATERIAL, None if row is None else row.name) for row in batch]
        for alg in KeyAlg:
            try:
                keys = await self._database.run(profile, partial(_askar_keys, alg=alg))
            except UndecryptableError:
                yield [(ASKAR_KEY, None)]
                continue
            for start in range(0, len(keys), BATCH):
                places = range(start, min(start + BATCH, len(keys)))
                yield [(ASKAR_KEY, keys[place].name) for place in places]

    async def find(self, profile: str, kids: Sequence[str]) -> list[KeyRecord | None]:
        """The record of each kid; None where there is none, or none that can be read."""

        async def work(session: Session) -> list[KeyRecord | None]:
            entries = [await _read(session, KEY, kid, []) for kid in kids]
            return [_parsed(entry.value) if entry else None for entry in entries]

        return await self._database.run(profile, work)

    async def look(
        self,
        profile: str,
        kids: Sequence[str],
        aliases: Iterable[str] = (),
        *,
        exclusively: bool = False,
    ) -> list[StoredKey]:
        """All that is kept under each kid, and whether `aliases` name it.

        `exclusively` lets nobody write meanwhile; otherwise parts may be of different moments.
        """

        async def work(session: Session) -> list[StoredKey]:
            return [await _kept(session, kid, aliases) for kid in kids]

        return await self._database.run(profile, work, write=exclusively)

    async def insert(self, profile: str, keys: Sequence[tuple[KeyRecord, Stored]]) -> None:
        """Store keys as their records say, with place, aliases and scheduled deletion, or none.

        Raises KeyExists for what is there already.
        """

        async def work(session: Session) -> None:
            for record, material in keys:
                try:
                    await insert_material(session, record.kid, material)
                    await session.insert(KEY, record.kid, record.to_bytes(), tags_of(record))
                    for alias in record.aliases:
                        await session.insert(ALIAS, alias, record.kid)
                    await insert_deletion(session, record)
                except DuplicateError:
                    raise KeyExists(
                        f"The key {record.kid} or an alias of it is there already."
                    ) from None

        await self._database.run(profile, work, write=True)

    async def last_seq(self, profile: str) -> int:
        """The place in the order of creation that was given away last; 0 before the first."""
        try:
            return await self._database.run(profile, last_seq)
        except UndecryptableError:
            raise KeyUnreadable("The order in which keys were made does not decrypt.") from None

    async def set_last_seq(self, profile: str, place: int) -> None:
        """Let keys that are made from now on come after `place`."""

        async def work(session: Session) -> None:
            await set_last_seq(session, place, first=not await last_seq(session))

        await self._database.run(profile, work, write=True)


def material_category(record: KeyRecord) -> str:
    """Where the material of a key is, as its record says."""
    return ASKAR_KEY if record.material == "askar" else MATERIAL


async def _askar_keys(session: Session, alg: KeyAlg) -> KeyEntryList:
    return await session.fetch_all_keys(alg=alg)


async def _kept(session: Session, kid: str, aliases: Iterable[str]) -> StoredKey:
    unreadable: list[tuple[str, str]] = []
    entry = await _read(session, KEY, kid, unreadable)
    record = _parsed(entry.value) if entry else None
    materials: dict[str, Stored] = {}
    if key_entry := await _read(session, ASKAR_KEY, kid, unreadable):
        materials[ASKAR_KEY] = key_entry.key
    if material := await _read(session, MATERIAL, kid, unreadable):
        materials[MATERIAL] = material.value
    names = dict.fromkeys((*(record.aliases if record else ()), *aliases))
    deletion = await _read(session, DELETION, kid, unreadable)
    holders = {name: await _read(session, ALIAS, name, unreadable) for name in names}
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
    session: Session, category: str, name: str, unreadable: list[tuple[str, str]]
) -> Any:
    """An entry or Askar key; None where there is none, and where it goes to `unreadable`."""
    fetch = session.fetch_key(name) if category == ASKAR_KEY else session.fetch(category, name)
    try:
        return await fetch
    except UndecryptableError:
        unreadable.append((category, name))
        return None


def _parsed(value: bytes) -> KeyRecord | None:
    """A record, None where these bytes are none that this version knows."""
    try:
        record = KeyRecord.from_bytes(value)
    except (ValueError, TypeError, LookupError):
        return None
    return record if record.seq.isdecimal() else None
