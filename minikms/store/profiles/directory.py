"""The directory of profiles: the Askar profile of each tenant.

Askar's profiles have names that look random (store/profiles/tenancy.py). In each process, Askar
keeps the keys of profiles by name, and would go on using an old key after another process has
removed the profile and made it again. So a name of Askar's is never used twice.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, Self, TypeGuard, TypeVar

from aries_askar import AskarError, AskarErrorCode, Store
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from minikms import clocks
from minikms.errors import (
    AuditUnavailable,
    KeyUnreadable,
    ProfileExists,
    ProfileNotFound,
    StoreUnavailable,
)
from minikms.events import CURRENT, set_profile_id
from minikms.profile_settings import NO_SETTINGS, ProfileSettings
from minikms.store.askar.errors import DuplicateError, UndecryptableError
from minikms.store.askar.layout import SYSTEM
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.askar.slots import slot_of
from minikms.store.categories import LAST_USES, PROFILE, SELF, SEQUENCE
from minikms.store.connections.calls import LONG_TIMEOUT, StoreCalls
from minikms.store.connections.counters import ChangeCounters
from minikms.store.connections.rows import all_rows
from minikms.store.profiles.tenancy import Tenancy, fits, new_name
from minikms.store.profiles.tokens import TOGETHER, bind_token, revoke, tokens_of

ResultT = TypeVar("ResultT")

_REMOVED: Final = b"-"

# In an entry of the directory, Askar's name of the profile ends here, and its settings begin.
_SETTINGS: Final = b"\n"

# Seconds for which a profile is known on PostgreSQL, from its last check on.
_TTL: Final = 5.0

# No counter has this value; they begin at 0.
_NEVER: Final = -1

# The number of names that are read from Askar's entries, 20 µs each, before other calls go on.
_NAMES: Final = 100

# In the marker `self`, the name of the profile ends here, and its sealing key begins.
_NAME_END: Final = b"\n"

# Its tag with the time of creation, in nanoseconds since the epoch.
_CREATED: Final = "created"


class StaleProfileError(Exception):
    """The tenant's Askar profile, as it was known, no longer exists."""


class DirectoryListing(NamedTuple):
    """All entries of the directory: Askar's name of each profile.

    `removed` has the profiles whose removal was interrupted; `unreadable` counts the entries that
    do not decrypt.
    """

    askar_profiles: dict[str, str]
    removed: dict[str, str]
    unreadable: int


class RemovedProfile(NamedTuple):
    """A removed profile, whose contents remain: the name that it had, and Askar's name of it."""

    name: str
    askar_profile: str

    @property
    def entry(self) -> str:
        """The name of its entry in the directory; no name of a profile has a space."""
        return f"{self.name} {self.askar_profile}"

    @classmethod
    def of(cls, entry: str) -> Self:
        """The removed profile with an entry of this name."""
        name, _, askar_profile = entry.partition(" ")
        return cls(name, askar_profile)


class _Known(NamedTuple):
    """A profile as this process knows it.

    `store` is the Askar store that was asked, since a reopened one reads its rows of profiles
    again. It is current while the counter in `slot` has the value `counter`. Reading it began at
    `read`.
    """

    store: Store
    askar_profile: str
    tenancy: Tenancy
    slot: int
    counter: int
    read: float


class _Marker(NamedTuple):
    """The entry `self` of a profile: the profile's name, its sealing key, its time of creation."""

    owner: str
    sealing_key: bytes
    created: int


class ProfileDirectory:
    """Makes, removes and looks up profiles by the names that tenants use.

    `settings` has the settings of the profiles that have some, as this process knows them, and
    `calls_per_second` the ones of that name. They are current if the profile is `known`.
    """

    def __init__(self, calls: StoreCalls, counters: ChangeCounters) -> None:
        self._calls = calls
        self._counters = counters
        self._known: dict[str, _Known] = {}
        self.settings: dict[str, ProfileSettings] = {}
        self.calls_per_second: dict[str, int] = {}
        self._refreshing: set[str] = set()
        # On PostgreSQL, where a notice of a change may be lost.
        self._lease = counters.lease(())

    async def create(
        self, name: str, settings: ProfileSettings = NO_SETTINGS, *, maker: str = ""
    ) -> None:
        """Make an empty profile; raises ProfileExists.

        `maker` is the id of the token of the call, empty without one. The token may use the profile
        if it names it, which no other token does that was made before.
        """
        make = partial(self._create, name, settings, maker)
        while (interrupted := await self._calls.run(make, write=True)) is not None:
            await self._finish_removal(name, interrupted)

    async def change(self, name: str, changes: Mapping[str, Any]) -> ProfileSettings:
        """Change settings of a profile, and return all of them; raises ProfileNotFound.

        Replacing the entry makes all processes read the profile and its keys again.
        """
        if not changes:
            return await self.settings_of(name)

        async def work() -> ProfileSettings:
            async with self._calls.transaction() as transaction:
                await self._calls.require_own_key(transaction)
                entry = await transaction.fetch(PROFILE, name, for_update=True)
                if entry is None or _is_removed(entry.value):
                    raise ProfileNotFound()
                settings = _settings(entry.value)._replace(**changes)
                value = _entry(_askar_name(entry.value), settings)
                await transaction.replace(PROFILE, name, value)
                return settings

        settings = await self._calls.run(work, write=True)
        self._set(name, settings)  # at once, whatever reads the profile next
        return settings

    async def remove(self, name: str) -> RemovedProfile | None:
        """Remove a profile and its tokens; None if it does not exist.

        Its contents stay until `erase`, which nobody else reads. Raises KeyUnreadable if Askar's
        profile belongs to another profile.
        """
        # A store that does not answer is reported sooner by a read than by the long limit below.
        await self._calls.run(partial(self._require_removable, name))
        removed = await self._calls.run(partial(self._mark_removed, name), write=True)
        if removed is None:
            return None
        self._forget(name)
        entry, is_new = removed
        try:
            await self._finish_removal(name, entry)
        except StoreUnavailable as exc:  # the profile is gone for callers
            raise StoreUnavailable(unknown=True) from exc
        return RemovedProfile(name, _askar_name(entry)) if is_new else None

    async def removed(self) -> list[RemovedProfile]:
        """The removed profiles whose contents remain. Removals that were interrupted go on."""

        async def marked() -> list[tuple[str, bytes]]:
            async with self._calls.session() as session:
                entries = await session.fetch_all(PROFILE)
            return [(each.name, each.value) for each in entries if _is_removed(each.value)]

        found = []
        for name, entry in await self._calls.run(marked):
            if name.endswith(f" {_askar_name(entry)}"):
                found.append(RemovedProfile.of(name))
            else:
                await self._finish_removal(name, entry)
                found.append(RemovedProfile(name, _askar_name(entry)))
        return found

    async def run_removed(
        self,
        profile: RemovedProfile,
        work: Callable[[Any], Awaitable[ResultT]],
        *,
        write: bool = False,
    ) -> ResultT:
        """The result of `work` in a session on a removed profile; with `write`, in a transaction.

        Raises KeyUnreadable, UndecryptableError, and ProfileNotFound if the profile was erased.
        """

        async def attempt() -> ResultT:
            if not write:
                async with self._calls.session(profile.askar_profile) as session:
                    return await work(session)
            async with self._calls.transaction(profile.askar_profile) as transaction:
                return await work(transaction)

        try:
            return await self._calls.run(attempt, write=write, timeout=LONG_TIMEOUT)
        except AskarError as exc:
            if exc.code is not AskarErrorCode.NOT_FOUND:
                raise
            raise ProfileNotFound() from None

    async def erase(self, profile: RemovedProfile) -> None:
        """Erase the contents of a removed profile."""

        async def work() -> None:
            await self._calls.pool.store.remove_profile(profile.askar_profile)
            self._calls.sealing_keys.pop(profile.askar_profile, None)
            async with self._calls.transaction() as transaction:
                await transaction.remove_all(LAST_USES, use_tags(profile.askar_profile))
                if await transaction.fetch(PROFILE, profile.entry, for_update=True) is not None:
                    await transaction.remove(PROFILE, profile.entry)

        await self._calls.run(work, write=True, timeout=LONG_TIMEOUT)

    async def names(self) -> list[str]:
        """The names of all profiles, sorted."""
        return list(await self.all_settings())

    async def all_settings(self) -> dict[str, ProfileSettings]:
        """The settings of all profiles, by name, sorted."""

        async def work() -> dict[str, ProfileSettings]:
            async with self._calls.session() as session:
                entries = await session.fetch_all(PROFILE)
            found = {}
            for place, entry in enumerate(entries, 1):
                value = entry.value
                if not _is_removed(value):
                    found[entry.name] = _settings(value)
                if place % _NAMES == 0:
                    await asyncio.sleep(0)
            return dict(sorted(found.items()))

        return await self._calls.run(work)

    async def listing(self) -> DirectoryListing:
        """All entries of the directory, with those that do not decrypt counted."""
        batches = all_rows(self._calls, SYSTEM, PROFILE)
        rows = [row async for batch in batches for row in batch]
        present: dict[str, str] = {}
        removed: dict[str, str] = {}
        for row in filter(None, rows):
            (removed if _is_removed(row.value) else present)[row.name] = _askar_name(row.value)
        return DirectoryListing(present, removed, rows.count(None))

    async def askar_profile(self, name: str) -> str:
        """Askar's name of a profile by the directory alone; raises ProfileNotFound."""
        askar_profile, _ = await self._calls.run(partial(self._named, name))
        return askar_profile

    async def settings_of(self, name: str) -> ProfileSettings:
        """The settings of a profile; raises ProfileNotFound."""
        _, settings = await self._calls.run(partial(self._named, name))
        return settings

    async def tenancy(self, name: str) -> Tenancy:
        """The tenancy of a profile; raises ProfileNotFound, and KeyUnreadable as `look_up` does."""
        if self.known(name) is not None:
            return self._known[name].tenancy
        return (await self._calls.run(partial(self._look_up, name))).tenancy

    def last_id(self, name: str) -> str | None:
        """The id of a profile as this process knew it last, None if it did not know any."""
        known = self._known.get(name)
        return None if known is None else known.tenancy.id

    async def owner(self, askar_profile: str) -> tuple[str, bool] | None:
        """The name that is stored in one of Askar's profiles; None if it cannot be read.

        The second value is false if the profile is another one than its name in Askar says. Raises
        KeyUnreadable if the profile's key does not decrypt.
        """
        marker = await self._calls.run(partial(self._marker, askar_profile), write=True)
        return None if marker is None else (marker.owner, fits(askar_profile, marker.sealing_key))

    async def askar_profiles(self) -> set[str]:
        """Askar's names of all its profiles but the store's own."""

        async def work() -> set[str]:
            return set(await self._calls.pool.store.list_profiles()) - {SYSTEM}

        return await self._calls.run(work, write=True)

    def known(self, name: str) -> str | None:
        """Askar's name of a profile, if this process has looked it up since its last change."""
        known = self._known.get(name)
        if known is None or known.store is not self._calls.pool.store:
            return None
        if self._counters.values[known.slot] != known.counter:
            return None
        lease = self._lease
        if lease is not None and clocks.now() > lease.confirmed(known.read) + _TTL:
            return None
        return known.askar_profile

    def refresh(self, name: str) -> None:
        """Look up a profile that is not `known`, unless that is under way; waits for nothing."""
        if name not in self._refreshing:
            self._refreshing.add(name)
            self._calls.begin(self._refresh(name))

    async def _refresh(self, name: str) -> None:
        CURRENT.set(None)  # it is no part of the call
        try:
            await self._calls.run(partial(self.look_up, name))
        finally:
            self._refreshing.discard(name)

    async def successor(self, name: str, askar_profile: str, exc: Exception) -> str:
        """Askar's name of a profile that was remade since `askar_profile` was looked up.

        Raises `exc`, the error of a session on that profile, if it was not remade.
        """
        # The error of a session that outlives its profile depends on the database.
        unclear = AskarErrorCode.BACKEND, AskarErrorCode.BUSY, AskarErrorCode.NOT_FOUND
        if isinstance(exc, AskarError) and exc.code not in unclear:
            raise exc
        current = await self.look_up(name)
        if current == askar_profile:
            raise exc
        return current

    async def look_up(self, name: str) -> str:
        """Look up Askar's present name of a profile. The caller holds a connection.

        Raises ProfileNotFound, and KeyUnreadable if Askar's profile belongs to another one: only
        its entry `self` binds a row of Askar's table of profiles to the profile.
        """
        return (await self._look_up(name)).askar_profile

    async def _look_up(self, name: str) -> _Known:
        store, slot = self._calls.pool.store, slot_of(PROFILE, name)
        read, counter = clocks.now(), self._counters.values[slot]
        askar_profile, settings = await self._named(name)
        marker = await self._marker(askar_profile)
        while not _belongs(marker, name, askar_profile):
            before = askar_profile
            askar_profile, settings = await self._named(name)
            if askar_profile == before:  # it was not removed and made again meanwhile
                raise _another()
            marker = await self._marker(askar_profile)
        known = self._known.get(name)
        if known is not None and known.askar_profile != askar_profile:
            self._forget(name)
        if counter % 2:  # it is being changed
            counter = _NEVER
        tenancy = Tenancy.of(askar_profile, marker.sealing_key, marker.created)
        found = _Known(store, askar_profile, tenancy, slot, counter, read)
        self._known[name] = found
        self._set(name, settings)
        set_profile_id(name, tenancy.id)
        return found

    def _set(self, name: str, settings: ProfileSettings) -> None:
        if settings == NO_SETTINGS:
            self.settings.pop(name, None)
        else:
            self.settings[name] = settings
        if settings.calls_per_second is None:
            self.calls_per_second.pop(name, None)
        else:
            self.calls_per_second[name] = settings.calls_per_second

    def _forget(self, name: str) -> None:
        """Forget a profile, and its sealing key."""
        self._set(name, NO_SETTINGS)
        known = self._known.pop(name, None)
        if known is not None:
            self._calls.sealing_keys.pop(known.askar_profile, None)

    async def _create(self, name: str, settings: ProfileSettings, maker: str) -> bytes | None:
        """Make a profile; return its entry instead if an earlier removal was interrupted."""
        self._calls.pool.require_room()  # Askar makes its profile before the transaction below
        exists = ProfileExists(f"The profile {name!r} already exists.")
        entry = await self._entry(name)
        if entry is not None and not _is_removed(entry):
            raise exists
        if entry is not None:
            return entry
        sealing_key = _new_sealing_key()
        askar_profile, now = new_name(sealing_key), time.time_ns()
        await self._calls.pool.store.create_profile(askar_profile)
        try:
            async with self._calls.pool.store.session(askar_profile) as session:
                marker = _marker(name.encode(), sealing_key)
                await session.insert(PROFILE, SELF, marker, {_CREATED: str(now)})
            # In the directory last: a profile is invisible before that.
            async with self._calls.transaction() as transaction:
                await self._calls.require_own_key(transaction)
                await transaction.insert(PROFILE, name, _entry(askar_profile, settings))
                # Tokens that were made before are not for it, which caches of tokens have to learn.
                transaction.changed.add(slot_of(PROFILE, name))
                profile_id = Tenancy.of(askar_profile, sealing_key, now).id
                if (event := CURRENT.get()) is not None:
                    event.profile_id = profile_id
                if maker and profile_id:
                    await bind_token(transaction, maker, name, profile_id)
        except (AskarError, AuditUnavailable, StoreUnavailable) as exc:
            if isinstance(exc, StoreUnavailable) and exc.outcome:
                raise  # the directory may name it
            await self._calls.pool.store.remove_profile(askar_profile)
            if isinstance(exc, DuplicateError):
                raise exists from None
            raise
        return None

    async def _mark_removed(self, name: str) -> tuple[bytes, bool] | None:
        """Mark a profile as removed, unless it is; return its entry, and whether it was not."""
        async with self._calls.transaction() as transaction:
            entry = await transaction.fetch(PROFILE, name)
            if entry is None:
                return None
            removed = entry.value
            if _is_removed(removed):
                return removed, False
            removed = _REMOVED + removed
            await transaction.replace(PROFILE, name, removed)
            return removed, True

    async def _finish_removal(self, name: str, entry: bytes) -> None:
        """Revoke the tokens of a profile that is marked as removed, and free its name."""
        while tokens := await self._calls.run(partial(self._tokens_of, name)):
            for start in range(0, len(tokens), TOGETHER):  # other writers have their turn
                some = tokens[start : start + TOGETHER]
                if not await self._calls.run(partial(self._revoke, name, entry, some), write=True):
                    return  # another process has finished the removal
        await self._calls.run(partial(self._free_name, name, entry), write=True)

    async def _tokens_of(self, name: str) -> list[str]:
        async with self._calls.session() as session:
            return await tokens_of(session, name)

    async def _revoke(self, name: str, entry: bytes, tokens: Sequence[str]) -> bool:
        """Revoke tokens of a profile with this entry in the directory; False if it has another."""
        async with self._calls.transaction() as transaction:
            now = await transaction.fetch(PROFILE, name)
            if now is None or now.value != entry:
                return False
            await revoke(transaction, name, tokens)
            return True

    async def _free_name(self, name: str, entry: bytes) -> None:
        """Close a profile that is marked as removed, and give its entry another name."""
        try:
            # So that a process that has not learned of the removal stores nothing there any more.
            async with self._calls.transaction(_askar_name(entry), name) as transaction:
                await transaction.remove_all(SEQUENCE)
                await transaction.remove_all(PROFILE)
        except (KeyUnreadable, UndecryptableError):
            pass  # nothing can be stored there
        except AskarError as exc:
            if exc.code is not AskarErrorCode.NOT_FOUND:
                raise  # else another process has erased it
        async with self._calls.transaction() as transaction:
            now = await transaction.fetch(PROFILE, name, for_update=True)
            if now is not None and now.value == entry:
                await transaction.remove(PROFILE, name)
                removed = RemovedProfile(name, _askar_name(entry))
                await transaction.insert(PROFILE, removed.entry, entry)

    async def _named(self, name: str) -> tuple[str, ProfileSettings]:
        entry = await self._entry(name)
        if entry is None or _is_removed(entry):
            self._forget(name)
            raise ProfileNotFound()
        return _askar_name(entry), _settings(entry)

    async def _marker(self, askar_profile: str) -> _Marker | None:
        """The marker of one of Askar's profiles, None if it cannot be read."""
        try:
            async with self._calls.session(askar_profile) as session:
                entry = await session.fetch(PROFILE, SELF)
        except AskarError as exc:
            if exc.code not in (AskarErrorCode.ENCRYPTION, AskarErrorCode.NOT_FOUND):
                raise
            return None
        if entry is None:
            return None
        owner, _, sealing_key = entry.value.partition(_NAME_END)
        if sealing_key:
            self._calls.sealing_keys[askar_profile] = sealing_key
        created = int((entry.tags or {}).get(_CREATED, 0))
        return _Marker(owner.decode(), sealing_key, created)

    async def _require_removable(self, name: str) -> None:
        entry, marker = await self._entry(name), None
        if entry is None:
            return
        with suppress(KeyUnreadable):  # an undecryptable profile can be removed
            marker = await self._marker(_askar_name(entry))
        if marker is not None and not _belongs(marker, name, _askar_name(entry)):
            raise _another()

    async def _entry(self, name: str) -> bytes | None:
        async with self._calls.session() as session:
            entry = await session.fetch(PROFILE, name)
        return None if entry is None else entry.value


def use_tags(askar_profile: str) -> dict[str, str]:
    """The tags by which the last uses of a profile's keys are found."""
    return {"profile": askar_profile}


async def require_profile(session: Session) -> None:
    """Raise StaleProfileError if the profile of a session no longer exists."""
    if await session.fetch(PROFILE, SELF) is None:
        raise StaleProfileError


async def sealing_key(session: Session) -> bytes:
    """The key under which the material of a profile's keys is sealed; raises StaleProfileError.

    A profile of an older layout has none, and b"" is returned.
    """
    if not session.sealing_key:
        _, session.sealing_key = await _own_marker(session)
    return session.sealing_key


async def ensure_sealing_key(session: Transaction) -> bytes:
    """The sealing key of a profile; make one if there is none; raises StaleProfileError."""
    if not session.sealing_key:
        owner, session.sealing_key = await _own_marker(session)
        if not session.sealing_key:
            session.sealing_key = _new_sealing_key()
            await session.replace(PROFILE, SELF, _marker(owner, session.sealing_key))
    return session.sealing_key


async def _own_marker(session: Session) -> tuple[bytes, bytes]:
    """The name and the sealing key in the marker of a session's profile."""
    entry = await session.fetch(PROFILE, SELF)
    if entry is None:
        raise StaleProfileError
    owner, _, key = entry.value.partition(_NAME_END)
    return owner, key


def _new_sealing_key() -> bytes:
    return AESGCM.generate_key(256)


def _marker(owner: bytes, sealing_key: bytes) -> bytes:
    """The value of a profile's marker `self`."""
    return owner + _NAME_END + sealing_key


def _belongs(marker: _Marker | None, name: str, askar_profile: str) -> TypeGuard[_Marker]:
    """Tell whether a marker is of a profile with this name, and of the Askar profile it is in."""
    return marker is not None and marker.owner == name and fits(askar_profile, marker.sealing_key)


def _another() -> KeyUnreadable:
    return KeyUnreadable("The stored profile is another one.")


def _is_removed(entry: bytes) -> bool:
    """Tell whether an entry of the directory belongs to a profile whose removal has begun."""
    return entry.startswith(_REMOVED)


def _askar_name(entry: bytes) -> str:
    """Askar's name in an entry of the directory."""
    return entry.removeprefix(_REMOVED).partition(_SETTINGS)[0].decode()


def _settings(entry: bytes) -> ProfileSettings:
    """The settings in an entry of the directory."""
    _, _, settings = entry.partition(_SETTINGS)
    return ProfileSettings.from_bytes(settings) if settings else NO_SETTINGS


def _entry(askar_profile: str, settings: ProfileSettings) -> bytes:
    """The entry of a profile in the directory."""
    written = settings.to_bytes()
    return askar_profile.encode() + (_SETTINGS + written if written else b"")
