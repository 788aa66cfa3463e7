"""The only module that opens Askar sessions: records, material and aliases, profile by profile."""

import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from types import MethodType
from typing import Any, Final, Self

from aries_askar import AskarError, AskarErrorCode, Session, Store, bindings

from minikms.errors import (
    AliasNotFound,
    KeyExists,
    KeyNotFound,
    ProfileExists,
    ProfileNotFound,
    ProfileProtected,
    StoreUnavailable,
)
from minikms.protocol import Stored
from minikms.records import KeyRecord, KeyRef

DEFAULT_PROFILE: Final = "default"
MEMORY_URI: Final = "sqlite://:memory:"

_KEY, _MATERIAL, _ALIAS = "minikms.key", "minikms.material", "minikms.alias"

# How far row order and `~seq` may disagree where writers overlap: see docs/architecture.md.
_PAGE_MARGIN: Final = 500


class KeyStore:
    """Keys in an Askar store. Every method is one session, and every change one transaction.

    All raise ProfileNotFound for a profile that is not there, and StoreUnavailable where the
    database does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last_seq = 0

    @classmethod
    @asynccontextmanager
    async def open_memory(cls) -> AsyncIterator[Self]:
        """A new store in memory, under a raw key made here; gone at the end."""
        _take_error_codes_from_callbacks()
        store = await Store.provision(
            MEMORY_URI, "raw", Store.generate_raw_key(), profile=DEFAULT_PROFILE
        )
        try:
            yield cls(store)
        finally:
            await store.close()

    async def ping(self) -> None:
        """Return once the store has answered."""
        async with self._session(DEFAULT_PROFILE) as session:
            await session.fetch(_KEY, "")

    # Keys

    async def insert(
        self, profile: str, record: KeyRecord, material: Stored, alias: str | None = None
    ) -> KeyRecord:
        """Store a new key whole, `alias` included, and give its record.

        Raises KeyExists, and then stores nothing.
        """
        async with self._session(profile, write=True) as session:
            try:
                if isinstance(material, bytes):
                    await session.insert(_MATERIAL, record.kid, material)
                else:
                    await session.insert_key(record.kid, material)
                # After the first write, so that it orders like the commits that follow each other.
                record = replace(record, seq=self._next_seq())
                await session.insert(_KEY, record.kid, record.to_bytes(), _tags(record))
            except AskarError as exc:
                if exc.code is AskarErrorCode.DUPLICATE:
                    raise KeyExists() from None
                raise
            return record if alias is None else await _bind(session, record.kid, alias)

    async def record(self, profile: str, ref: KeyRef) -> KeyRecord:
        """The record of a key; raises KeyNotFound or AliasNotFound."""
        async with self._session(profile) as session:
            return await _find(session, ref)

    async def open_key(
        self, profile: str, ref: KeyRef, permit: Callable[[KeyRecord], object]
    ) -> tuple[KeyRecord, Stored]:
        """A key's record and its material; raises KeyNotFound or AliasNotFound.

        `permit` sees the record before the material is read, and raises where it must not be.
        """
        async with self._session(profile) as session:
            record = await _find(session, ref)
            permit(record)
            material: Stored | None
            if record.material == "askar":
                key_entry = await session.fetch_key(record.kid)
                material = key_entry.key if key_entry else None
            else:
                entry = await session.fetch(_MATERIAL, record.kid)
                material = entry.value if entry else None
        if material is None:  # deleted between the two look-ups
            raise KeyNotFound()
        return record, material

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
        `labels` the keys that have all of them.
        """
        wanted: list[dict[str, Any]] = [{"~seq": {"$gt": after}}]
        if alg is not None:
            wanted.append({"alg": alg})
        wanted.extend({_label_tag(name): value} for name, value in labels)
        query = {"$and": wanted}
        async with self._session(profile) as session:
            rows = await session.fetch_all(_KEY, query, limit + _PAGE_MARGIN, order_by="id")
            # By index: Askar's iterator has no `__iter__`, which a comprehension asks for in 3.13.
            records = [KeyRecord.from_bytes(rows[place].value) for place in range(len(rows))]
        records.sort(key=lambda record: record.seq)
        return records[:limit], len(records) > limit

    async def bind_alias(self, profile: str, kid: str, alias: str) -> None:
        """Let `alias` name this key, and no other any more; raises KeyNotFound."""
        async with self._session(profile, write=True) as session:
            await _bind(session, kid, alias)

    async def unbind_alias(self, profile: str, kid: str, alias: str) -> None:
        """Let `alias` name nothing; raises KeyNotFound, or AliasNotFound where it is not here."""
        async with self._session(profile, write=True) as session:
            entry = await session.fetch(_ALIAS, alias, for_update=True)
            record = await _fetch(session, kid, for_update=True)
            if entry is None or entry.value.decode() != kid:
                raise AliasNotFound()
            await session.remove(_ALIAS, alias)
            await _replace(session, record.without_alias(alias))

    async def set_labels(self, profile: str, kid: str, labels: Mapping[str, str]) -> KeyRecord:
        """Give a key these labels in place of those that it has; raises KeyNotFound."""
        async with self._session(profile, write=True) as session:
            record = replace(await _fetch(session, kid, for_update=True), labels=labels)
            await _replace(session, record)
        return record

    async def delete(self, profile: str, kid: str) -> None:
        """Remove a key, its material and its aliases; raises KeyNotFound."""
        async with self._session(profile, write=True) as session:
            record = await _fetch(session, kid, for_update=True)
            for alias in record.aliases:
                await session.remove(_ALIAS, alias)
            if record.material == "askar":
                await session.remove_key(kid)
            else:
                await session.remove(_MATERIAL, kid)
            await session.remove(_KEY, kid)

    # Profiles

    async def create_profile(self, name: str) -> None:
        """Make an empty profile; raises ProfileExists."""
        try:
            await self._store.create_profile(name)
        except AskarError as exc:
            if exc.code is AskarErrorCode.DUPLICATE:
                raise ProfileExists(f"The profile {name!r} already exists.") from None
            raise await self._explain(exc) from exc

    async def remove_profile(self, name: str) -> bool:
        """Remove a profile with all its keys; False where it is not there.

        Raises ProfileProtected for the default one.
        """
        if name == DEFAULT_PROFILE:
            raise ProfileProtected("The default profile cannot be deleted.")
        try:
            removed: bool = await self._store.remove_profile(name)
        except AskarError as exc:
            raise await self._explain(exc) from exc
        return removed

    async def profiles(self) -> list[str]:
        """The names of all profiles, sorted."""
        try:
            return sorted(await self._store.list_profiles())
        except AskarError as exc:
            raise await self._explain(exc) from exc

    # Sessions and their errors

    @asynccontextmanager
    async def _session(self, profile: str, *, write: bool = False) -> AsyncIterator[Session]:
        """A session on a profile; with `write`, a transaction that commits at the end."""
        store = self._store
        opener = store.transaction(profile) if write else store.session(profile)
        try:
            async with opener as session:
                yield session
                if write:
                    await session.commit()  # type: ignore[no-untyped-call]
        except AskarError as exc:
            raise await self._explain(exc, profile) from exc

    async def _explain(self, exc: AskarError, profile: str | None = None) -> Exception:
        """What a failed call means to its caller, from the state of the store by now.

        A session that outlives its profile fails in whatever way the database has for that.
        """
        if exc.code in (AskarErrorCode.BACKEND, AskarErrorCode.BUSY, AskarErrorCode.NOT_FOUND):
            try:
                known = profile is None or profile in await self._store.list_profiles()
            except AskarError:
                return StoreUnavailable()
            if not known:
                return ProfileNotFound()
            if exc.code is not AskarErrorCode.NOT_FOUND:
                return StoreUnavailable()
        return exc

    def _next_seq(self) -> str:
        """A place in the order of creation: time in nanoseconds, never twice, and a random tail."""
        self._last_seq = max(time.time_ns(), self._last_seq + 1)
        return f"{self._last_seq:020d}{secrets.token_hex(4)}"


def _tags(record: KeyRecord) -> dict[str, str]:
    labels = {_label_tag(name): value for name, value in record.labels.items()}
    return {"~seq": record.seq, "alg": record.alg, **labels}


def _label_tag(name: str) -> str:
    return f"label:{name}"


async def _fetch(session: Session, kid: str, *, for_update: bool = False) -> KeyRecord:
    entry = await session.fetch(_KEY, kid, for_update=for_update)
    if entry is None:
        raise KeyNotFound()
    return KeyRecord.from_bytes(entry.value)


async def _find(session: Session, ref: KeyRef) -> KeyRecord:
    if ref.alias is None:
        return await _fetch(session, ref.kid or "")
    entry = await session.fetch(_ALIAS, ref.alias)
    if entry is None:
        raise AliasNotFound()
    return await _fetch(session, entry.value.decode())


async def _bind(session: Session, kid: str, alias: str) -> KeyRecord:
    # The alias first: whoever moves it waits here, not halfway.
    entry = await session.fetch(_ALIAS, alias, for_update=True)
    record = await _fetch(session, kid, for_update=True)
    if entry is None:
        await session.insert(_ALIAS, alias, kid)
    elif entry.value.decode() != kid:
        holder = await _fetch(session, entry.value.decode(), for_update=True)
        await _replace(session, holder.without_alias(alias))
        await session.replace(_ALIAS, alias, kid)
    else:
        return record
    record = record.with_alias(alias)
    await _replace(session, record)
    return record


async def _replace(session: Session, record: KeyRecord) -> None:
    await session.replace(_KEY, record.kid, record.to_bytes(), _tags(record))


def _take_error_codes_from_callbacks() -> None:
    """Give each failed call of Askar's its own error code.

    Askar 0.5.0's wrapper reads the code from the last error of the whole process, so that calls
    that fail at once get each other's; the callback's own argument is right every time.
    """
    library = bindings.get_library().loaded
    codes, unknown = {code.value: code for code in AskarErrorCode}, AskarErrorCode.UNEXPECTED

    # Called in threads of Askar's own, where coverage does not see it.
    def handle(self: Any, callback_id: int, error: int, result: Any = None) -> None:
        loop, future, _name = self._callbacks.pop(callback_id)
        exc = AskarError(codes.get(error, unknown), "Askar refused the call") if error else None
        loop.call_soon_threadsafe(self._fulfill_future, future, result, exc)

    library._handle_callback = MethodType(handle, library)  # type: ignore[method-assign]
