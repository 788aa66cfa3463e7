"""Records, material and aliases of keys, profile by profile."""

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Final, Self

from aries_askar import Session

from minikms.errors import AliasNotFound, KeyExists, KeyNotFound, KeyUnreadable, ProfileProtected
from minikms.events import set_key_alg
from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord, KeyRef
from minikms.store.askar import DuplicateError, UndecryptableError, listed, new_raw_key
from minikms.store.database import Database, require_profile
from minikms.store.listing import KEY, KeyListing, label_tag, next_seq
from minikms.store.location import StoreKey, StoreLocation

LOGGER = logging.getLogger(__name__)

DEFAULT_PROFILE: Final = "default"

MATERIAL, ALIAS = "minikms.material", "minikms.alias"
DELETION: Final = "minikms.deletion"

# What a profile lets everybody have: category and name.
_PUBLISHED, _JWKS = "minikms.published", "jwks"

# How many keys are looked up at once whose deletion is due.
_DUE: Final = 1000


class KeyStore:
    """Keys in an Askar store. Every method is one session, and every change one transaction.

    All raise ProfileNotFound for a profile that is not there, StoreUnavailable where the database
    does not answer, and KeyUnreadable for a key that does not decrypt.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listing = KeyListing(database)
        self.keys_opened = 0

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

    @property
    def database(self) -> Database:
        """What it is kept in, with what else is kept there."""
        return self._database

    async def ping(self) -> None:
        """Return once the store has answered."""
        await self._database.ping()

    # Keys

    async def insert(
        self,
        profile: str,
        record: KeyRecord,
        material: Stored,
        aliases: Iterable[str] = (),
        *,
        take: bool = True,
    ) -> KeyRecord:
        """Store a new key whole, `aliases` included, and give its record.

        Without `take`, an alias that names another key stays there. Raises KeyExists and
        TooManyAliases, and then stores nothing.
        """

        async def work(session: Session) -> KeyRecord:
            with _new_key():
                await insert_material(session, record.kid, material)
                kept = replace(record, seq=await next_seq(session))
                for alias in aliases:
                    kept = await _with_alias(session, kept, alias, take=take)
                await session.insert(KEY, kept.kid, kept.to_bytes(), tags_of(kept))
            return kept

        try:
            return await self._database.run(profile, work, write=True)
        except KeyExists:
            if not await self.remove_due(profile, record.kid):
                raise
        return await self._database.run(profile, work, write=True)

    async def rotate(
        self,
        profile: str,
        kid: str,
        record: KeyRecord,
        material: Stored,
        permit: Callable[[KeyRecord], None],
    ) -> KeyRecord:
        """Store a new key in the place of another, and give its record.

        The other, of which `permit` sees the record, becomes `verify-only` and loses its aliases.
        Raises KeyNotFound and TooManyAliases.
        """

        async def work(session: Session) -> KeyRecord:
            old = await _fetch(session, kid)
            permit(old)
            with _new_key():
                await insert_material(session, record.kid, material)
                kept = replace(record.succeeding(old), seq=await next_seq(session))
                await session.insert(KEY, kept.kid, kept.to_bytes(), tags_of(kept))
            for alias in kept.aliases:
                await session.replace(ALIAS, alias, kept.kid)
            await _replace(session, old.succeeded())
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

        opened = await self._database.run(profile, work)
        self.keys_opened += 1
        return opened

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
        return await self._listing.page(
            profile, limit=limit, after=after, alg=alg, labels=tuple(labels)
        )

    async def bind_alias(self, profile: str, kid: str, alias: str) -> None:
        """Let `alias` name this key and no other; raises KeyNotFound and TooManyAliases."""

        async def work(session: Session) -> None:
            record = await _fetch(session, kid)
            named = await _with_alias(session, record, alias)
            if named is not record:
                await _replace(session, named)

        await self._database.run(profile, work, write=True)

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

    async def change(
        self, profile: str, kid: str, change: Callable[[KeyRecord], KeyRecord]
    ) -> KeyRecord:
        """Give a key the record that `change` makes of its own; raises KeyNotFound."""

        async def work(session: Session) -> KeyRecord:
            record = change(await _fetch(session, kid))
            await _replace(session, record)
            return record

        return await self._database.run(profile, work, write=True)

    async def delete(self, profile: str, kid: str) -> None:
        """Remove a key, its material and its aliases; raises KeyNotFound."""

        async def work(session: Session) -> None:
            await _remove(session, await _fetch(session, kid))

        await self._database.run(profile, work, write=True)

    async def schedule(self, profile: str, kid: str, deletes: int | None) -> KeyRecord:
        """Let a key be gone from `deletes` on, or stay, for None; raises KeyNotFound."""

        async def work(session: Session) -> KeyRecord:
            record = await _fetch(session, kid)
            if record.deletes is not None:
                await session.remove(DELETION, kid)
            record = replace(record, deletes=deletes)
            await insert_deletion(session, record)
            await _replace(session, record)
            return record

        return await self._database.run(profile, work, write=True)

    async def due(self, profile: str) -> list[str]:
        """Keys, up to a thousand, that are gone for everybody and yet to be removed."""

        async def work(session: Session) -> list[str]:
            until = {"~at": {"$lte": f"{time.time_ns():020d}"}}
            rows = listed(await session.fetch_all(DELETION, until, _DUE))
            if not rows:
                await require_profile(session)
            return [row.name for row in rows]

        return await self._database.run(profile, work)

    async def remove_due(self, profile: str, kid: str) -> bool:
        """Remove a key that is gone for everybody; False where it is not, or not there."""

        async def work(session: Session) -> bool:
            record = await _load(session, kid)
            if record is None or not record.is_gone:
                return False
            await _remove(session, record)
            return True

        return await self._database.run(profile, work, write=True)

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

    async def publish(self, profile: str, *, public: bool) -> None:
        """Let everybody have the profile's public keys, or only who may read its keys."""
        await self._database.run(profile, partial(publish, public=public), write=True)

    async def publishes(self, profile: str) -> bool:
        """Whether everybody may have the profile's public keys."""
        return await self._database.run(profile, publishes)

    async def profiles(self) -> list[str]:
        """The names of all profiles, sorted."""
        return await self._database.profiles()


async def publish(session: Session, *, public: bool) -> None:
    """Let everybody have the profile's public keys, or only who may read its keys."""
    await session.remove_all(_PUBLISHED)
    if public:
        await session.insert(_PUBLISHED, _JWKS, b"public")


async def publishes(session: Session) -> bool:
    """Whether everybody may have the profile's public keys."""
    if await session.fetch(_PUBLISHED, _JWKS) is not None:
        return True
    await require_profile(session)
    return False


def tags_of(record: KeyRecord) -> dict[str, str]:
    """What a record is searched by: Askar's tags, of which `~seq` alone is not encrypted."""
    labels = {label_tag(name): value for name, value in record.labels.items()}
    return {"~seq": record.seq, "alg": record.alg, **labels}


def deletion_tags(record: KeyRecord) -> dict[str, str]:
    """What the entry of a scheduled deletion is searched by, empty where there is none."""
    return {} if record.deletes is None else {"~at": f"{record.deletes:020d}"}


async def insert_deletion(session: Session, record: KeyRecord) -> None:
    """Keep when a key is deleted, where that is scheduled, so that it is found without a scan."""
    if record.deletes is not None:
        await session.insert(DELETION, record.kid, b"", deletion_tags(record))


async def insert_material(session: Session, kid: str, material: Stored) -> None:
    """Keep what an algorithm has packed."""
    if isinstance(material, bytes):
        await session.insert(MATERIAL, kid, material)
    else:
        await session.insert_key(kid, material)


async def material_of(session: Session, record: KeyRecord) -> Stored | None:
    """The material of a key, as its algorithm packed it; None where there is none."""
    with _readable_or_logged(record.kid):
        if record.material == "askar":
            key_entry = await session.fetch_key(record.kid)
            return key_entry.key if key_entry else None
        entry = await session.fetch(MATERIAL, record.kid)
        return entry.value if entry else None


@contextmanager
def _readable_or_logged(name: str) -> Iterator[None]:
    """Raise KeyUnreadable for what Askar cannot decrypt."""
    try:
        yield
    except UndecryptableError:
        LOGGER.error("what is stored of the key %s does not decrypt", name)
        raise KeyUnreadable() from None


@contextmanager
def _new_key() -> Iterator[None]:
    """Raise KeyExists where its kid has been taken."""
    try:
        yield
    except DuplicateError:
        raise KeyExists() from None


async def _load(session: Session, kid: str) -> KeyRecord | None:
    """The record that is stored, even of a key that is gone for everybody."""
    with _readable_or_logged(kid):
        entry = await session.fetch(KEY, kid)
    return None if entry is None else KeyRecord.from_bytes(entry.value)


async def _fetch(session: Session, kid: str) -> KeyRecord:
    record = await _load(session, kid)
    if record is None or record.is_gone:
        raise KeyNotFound()
    set_key_alg(kid, record.alg)
    return record


async def _find(session: Session, ref: KeyRef) -> KeyRecord:
    if ref.alias is None:
        return await _fetch(session, ref.kid or "")
    record, before = None, ""
    while (kid := await _named(session, ref.alias)) != before:
        record = await _load(session, kid)
        if record is not None and ref.alias in record.aliases:
            break
        before = kid  # it moved between the two look-ups, or the store is damaged
    if record is None or record.is_gone:  # an alias goes with its key
        raise AliasNotFound()
    return record


async def _named(session: Session, alias: str) -> str:
    with _readable_or_logged("that an alias names"):
        entry = await session.fetch(ALIAS, alias)
    if entry is None:
        raise AliasNotFound()
    kid: str = entry.value.decode()
    return kid


async def _with_alias(
    session: Session, record: KeyRecord, alias: str, *, take: bool = True
) -> KeyRecord:
    """The record once `alias` names its key, which is yet to be stored.

    Without `take` the record as it is, where the alias names another key.
    """
    entry = await session.fetch(ALIAS, alias)
    if entry is None:
        await session.insert(ALIAS, alias, record.kid)
    elif take and entry.value.decode() != record.kid:
        holder = await _load(session, entry.value.decode())
        if holder is None:
            raise KeyNotFound()
        await _replace(session, holder.without_alias(alias))
        await session.replace(ALIAS, alias, record.kid)
    else:
        return record
    return record.with_alias(alias)


async def _replace(session: Session, record: KeyRecord) -> None:
    await session.replace(KEY, record.kid, record.to_bytes(), tags_of(record))


async def _remove(session: Session, record: KeyRecord) -> None:
    for alias in record.aliases:
        await session.remove(ALIAS, alias)
    if record.material == "askar":
        await session.remove_key(record.kid)
    else:
        await session.remove(MATERIAL, record.kid)
    if record.deletes is not None:
        await session.remove(DELETION, record.kid)
    await session.remove(KEY, record.kid)
