"""Records, material and aliases of keys, profile by profile."""

import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any, Final, Self

from aries_askar import AskarError, AskarErrorCode, Entry, Session

from minikms.askar import new_raw_key
from minikms.database import Database, require_profile
from minikms.errors import (
    AliasNotFound,
    KeyExists,
    KeyNotFound,
    KeyUnreadable,
    ProfileProtected,
)
from minikms.location import StoreKey, StoreLocation
from minikms.protocol import Stored
from minikms.records import KeyRecord, KeyRef

LOGGER = logging.getLogger(__name__)

DEFAULT_PROFILE: Final = "default"

KEY, MATERIAL, ALIAS = "minikms.key", "minikms.material", "minikms.alias"

# How far row order and `~seq` may disagree where writers overlap: see docs/architecture.md.
_PAGE_MARGIN: Final = 500


class KeyStore:
    """Keys in an Askar store. Every method is one session, and every change one transaction.

    All raise ProfileNotFound for a profile that is not there, StoreUnavailable where the database
    does not answer, and KeyUnreadable for a key that does not decrypt.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._last_seq = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, location: StoreLocation, key: StoreKey) -> AsyncIterator[Self]:
        """The store that is there; raises StoreError."""
        async with Database.open(location, key) as database:
            yield cls(database)

    @classmethod
    @asynccontextmanager
    async def create(cls, location: StoreLocation, key: StoreKey) -> AsyncIterator[Self]:
        """A new store, with the default profile; raises StoreError."""
        async with Database.create(location, key) as database:
            await database.create_profile(DEFAULT_PROFILE)
            await database.finish()
            yield cls(database)

    @classmethod
    @asynccontextmanager
    async def open_memory(cls) -> AsyncIterator[Self]:
        """A new store in memory, under a raw key made here; gone at the end."""
        key = StoreKey(new_raw_key())
        async with cls.create(StoreLocation.parse("memory"), key) as store:
            yield store

    async def ping(self) -> None:
        """Return once the store has answered."""
        await self._database.ping()

    # Keys

    async def insert(
        self, profile: str, record: KeyRecord, material: Stored, aliases: Iterable[str] = ()
    ) -> KeyRecord:
        """Store a new key whole, `aliases` included, and give its record.

        Raises KeyExists, and then stores nothing.
        """

        async def work(session: Session) -> KeyRecord:
            try:
                if isinstance(material, bytes):
                    await session.insert(MATERIAL, record.kid, material)
                else:
                    await session.insert_key(record.kid, material)
                # After the first write, so that it orders like the commits that follow each other.
                kept = replace(record, seq=self._next_seq())
                await session.insert(KEY, kept.kid, kept.to_bytes(), tags_of(kept))
            except AskarError as exc:
                if exc.code is AskarErrorCode.DUPLICATE:
                    raise KeyExists() from None
                raise
            for alias in aliases:
                kept = await _bind(session, kept.kid, alias)
            return kept

        return await self._database.run(profile, work, write=True)

    async def record(self, profile: str, ref: KeyRef) -> KeyRecord:
        """The record of a key; raises KeyNotFound or AliasNotFound."""
        return await self._database.run(profile, lambda session: _find(session, ref))

    async def open_key(
        self, profile: str, ref: KeyRef, permit: Callable[[KeyRecord], object]
    ) -> tuple[KeyRecord, Stored]:
        """A key's record and its material; raises KeyNotFound or AliasNotFound.

        `permit` sees the record before the material is read, and raises where it must not be.
        """

        async def work(session: Session) -> tuple[KeyRecord, Stored]:
            record = await _find(session, ref)
            permit(record)
            material = await material_of(session, record)
            if material is None:  # deleted between the two look-ups
                raise KeyNotFound()
            return record, material

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

        `after` is the `seq` of the last record of the page before; `alg` keeps one algorithm,
        `labels` the keys that have all of them. One that does not decrypt is logged and left out.
        """
        wanted: list[dict[str, Any]] = [{"~seq": {"$gt": after}}]
        if alg is not None:
            wanted.append({"alg": alg})
        wanted.extend({_label_tag(name): value} for name, value in labels)
        query = {"$and": wanted}

        async def work(session: Session) -> list[KeyRecord]:
            rows = await session.fetch_all(KEY, query, limit + _PAGE_MARGIN, order_by="id")
            if not len(rows):
                await require_profile(session)
            # By index: Askar's iterator has no `__iter__`, which a comprehension asks for in 3.13.
            return [KeyRecord.from_bytes(rows[place].value) for place in range(len(rows))]

        try:
            records = await self._database.run(profile, work)
        except AskarError as exc:
            if exc.code is not AskarErrorCode.ENCRYPTION:
                raise
            entries = await self._readable(profile, query, 0, limit + _PAGE_MARGIN)
            records = [KeyRecord.from_bytes(entry.value) for entry in entries]
        records.sort(key=lambda record: record.seq)
        return records[:limit], len(records) > limit

    async def bind_alias(self, profile: str, kid: str, alias: str) -> None:
        """Let `alias` name this key, and no other any more; raises KeyNotFound."""
        await self._database.run(profile, lambda session: _bind(session, kid, alias), write=True)

    async def unbind_alias(self, profile: str, kid: str, alias: str) -> None:
        """Let `alias` name nothing; raises KeyNotFound, or AliasNotFound where it is not here."""

        async def work(session: Session) -> None:
            entry = await session.fetch(ALIAS, alias)
            record = await _fetch(session, kid)
            if entry is None or entry.value.decode() != kid:
                raise AliasNotFound()
            await session.remove(ALIAS, alias)
            await _replace(session, record.without_alias(alias))

        await self._database.run(profile, work, write=True)

    async def set_labels(self, profile: str, kid: str, labels: Mapping[str, str]) -> KeyRecord:
        """Give a key these labels in place of those that it has; raises KeyNotFound."""

        async def work(session: Session) -> KeyRecord:
            record = replace(await _fetch(session, kid), labels=labels)
            await _replace(session, record)
            return record

        return await self._database.run(profile, work, write=True)

    async def delete(self, profile: str, kid: str) -> None:
        """Remove a key, its material and its aliases; raises KeyNotFound."""

        async def work(session: Session) -> None:
            record = await _fetch(session, kid)
            for alias in record.aliases:
                await session.remove(ALIAS, alias)
            if record.material == "askar":
                await session.remove_key(kid)
            else:
                await session.remove(MATERIAL, kid)
            await session.remove(KEY, kid)

        await self._database.run(profile, work, write=True)

    async def _readable(
        self, profile: str, query: dict[str, Any], offset: int, limit: int
    ) -> list[Entry]:
        """Those records of a page that decrypt: Askar gives all of what is asked for or nothing."""
        try:
            return await self._database.scan(profile, KEY, query, offset, limit)
        except AskarError as exc:
            if exc.code is not AskarErrorCode.ENCRYPTION:
                raise
        if limit == 1:
            LOGGER.error("a key in the profile %r does not decrypt, and is not listed", profile)
            return []
        half = limit // 2
        first = await self._readable(profile, query, offset, half)
        return first + await self._readable(profile, query, offset + half, limit - half)

    # Profiles

    async def create_profile(self, name: str) -> None:
        """Make an empty profile; raises ProfileExists."""
        await self._database.create_profile(name)

    async def remove_profile(self, name: str) -> bool:
        """Remove a profile with all its keys; False where it is not there.

        Raises ProfileProtected for the default one.
        """
        if name == DEFAULT_PROFILE:
            raise ProfileProtected("The default profile cannot be deleted.")
        return await self._database.remove_profile(name)

    async def profiles(self) -> list[str]:
        """The names of all profiles, sorted."""
        return await self._database.profiles()

    def _next_seq(self) -> str:
        """A place in the order of creation: time in nanoseconds, never twice, and a random tail."""
        self._last_seq = max(time.time_ns(), self._last_seq + 1)
        return f"{self._last_seq:020d}{secrets.token_hex(4)}"


def tags_of(record: KeyRecord) -> dict[str, str]:
    """What a record is searched by: Askar's tags, of which `~seq` alone is not encrypted."""
    labels = {_label_tag(name): value for name, value in record.labels.items()}
    return {"~seq": record.seq, "alg": record.alg, **labels}


async def material_of(session: Session, record: KeyRecord) -> Stored | None:
    """The material of a key, as its algorithm packed it; None where there is none."""
    with _readable_or_logged(record.kid):
        if record.material == "askar":
            key_entry = await session.fetch_key(record.kid)
            return key_entry.key if key_entry else None
        entry = await session.fetch(MATERIAL, record.kid)
        return entry.value if entry else None


def _label_tag(name: str) -> str:
    return f"label:{name}"


@contextmanager
def _readable_or_logged(name: str) -> Iterator[None]:
    """Raise KeyUnreadable for what Askar cannot decrypt."""
    try:
        yield
    except AskarError as exc:
        if exc.code is not AskarErrorCode.ENCRYPTION:
            raise
        LOGGER.error("what is stored of the key %s does not decrypt", name)
        raise KeyUnreadable() from None


async def _fetch(session: Session, kid: str) -> KeyRecord:
    with _readable_or_logged(kid):
        entry = await session.fetch(KEY, kid)
    if entry is None:
        raise KeyNotFound()
    return KeyRecord.from_bytes(entry.value)


async def _find(session: Session, ref: KeyRef) -> KeyRecord:
    if ref.alias is None:
        return await _fetch(session, ref.kid or "")
    with _readable_or_logged("that an alias names"):
        entry = await session.fetch(ALIAS, ref.alias)
    if entry is None:
        raise AliasNotFound()
    return await _fetch(session, entry.value.decode())


async def _bind(session: Session, kid: str, alias: str) -> KeyRecord:
    entry = await session.fetch(ALIAS, alias)
    record = await _fetch(session, kid)
    if entry is None:
        await session.insert(ALIAS, alias, kid)
    elif entry.value.decode() != kid:
        holder = await _fetch(session, entry.value.decode())
        await _replace(session, holder.without_alias(alias))
        await session.replace(ALIAS, alias, kid)
    else:
        return record
    record = record.with_alias(alias)
    await _replace(session, record)
    return record


async def _replace(session: Session, record: KeyRecord) -> None:
    await session.replace(KEY, record.kid, record.to_bytes(), tags_of(record))
