"""The directory of profiles: the Askar profile of each tenant.

Askar's profiles have random names. In each process, Askar keeps the keys of profiles by name, and
would go on using an old key after another process has removed the profile and made it again. So a
name of Askar's is never used twice.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

import orjson
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
from minikms.events import CURRENT
from minikms.profile_settings import NO_SETTINGS, ProfileSettings
from minikms.records import PrivateRecordError
from minikms.store.askar_errors import DuplicateError, UndecryptableError
from minikms.store.calls import LONG_TIMEOUT, StoreCalls
from minikms.store.counters import ChangeCounters, slot_of
from minikms.store.layout import SYSTEM
from minikms.store.object_entries import insert_condemned, objects_in
from minikms.store.rows import all_rows
from minikms.store.sessions import SEQUENCE, Session, Transaction

LOGGER = logging.getLogger(__name__)

# The category of the directory's entries, in the store's own profile, and of the entry in which
# each profile has its own name.
PROFILE: Final = "minikms.profile"
SELF: Final = "self"

# The category of tokens in the store's own profile; see also `access/tokens.py`.
TOKENS: Final = "minikms.token"

# The category of times of last uses in the store's own profile (store/last_use.py). A tag has
# Askar's name of the profile whose keys an entry is about.
USES: Final = "minikms.use"

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


class _Known(NamedTuple):
    """A profile as this process knows it.

    `store` is the Askar store that was asked, since a reopened one reads its rows of profiles
    again. It is current while the counter in `slot` has the value `counter`. Reading it began at
    `read`.
    """

    store: Store
    askar_profile: str
    slot: int
    counter: int
    read: float


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

    async def create(self, name: str, settings: ProfileSettings = NO_SETTINGS) -> None:
        """Make an empty profile; raises ProfileExists."""
        await self._calls.run(partial(self._create, name, settings), write=True)

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

    async def remove(self, name: str) -> bool:
        """Remove a profile and its contents; False if it does not exist.

        Raises KeyUnreadable if Askar's profile belongs to another profile.
        """
        # A store that does not answer is reported sooner by a read than by the long limit below.
        await self._calls.run(partial(self._require_removable, name))
        remove = partial(self._remove, name)
        return await self._calls.run(remove, write=True, timeout=LONG_TIMEOUT)

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

    async def owner(self, askar_profile: str) -> str | None:
        """The name that is stored in one of Askar's profiles; None if it cannot be read.

        Raises KeyUnreadable if the profile's key does not decrypt.
        """
        return await self._calls.run(partial(self._owner, askar_profile), write=True)

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
        its entry `self` binds a row of Askar's table of profiles to the name of a profile.
        """
        store, slot = self._calls.pool.store, slot_of(PROFILE, name)
        read, counter = clocks.now(), self._counters.values[slot]
        askar_profile, settings = await self._named(name)
        while await self._owner(askar_profile) != name:
            before = askar_profile
            askar_profile, settings = await self._named(name)
            if askar_profile == before:  # it was not removed and made again meanwhile
                raise _another()
        known = self._known.get(name)
        if known is not None and known.askar_profile != askar_profile:
            self._forget(name)
        if counter % 2:  # it is being changed
            counter = _NEVER
        self._known[name] = _Known(store, askar_profile, slot, counter, read)
        self._set(name, settings)
        return askar_profile

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

    async def _create(self, name: str, settings: ProfileSettings) -> None:
        self._calls.pool.require_room()  # Askar makes its profile before the transaction below
        exists = ProfileExists(f"The profile {name!r} already exists.")
        entry = await self._entry(name)
        if entry is not None and not _is_removed(entry):
            raise exists
        if entry is not None:  # its removal was interrupted
            await self._finish_removal(name, entry)
        askar_profile = secrets.token_hex(16)
        await self._calls.pool.store.create_profile(askar_profile)
        try:
            async with self._calls.pool.store.session(askar_profile) as session:
                marker = _marker(name.encode(), _new_sealing_key())
                await session.insert(PROFILE, SELF, marker, {_CREATED: str(time.time_ns())})
            # In the directory last: a profile is invisible before that.
            async with self._calls.transaction() as transaction:
                await self._calls.require_own_key(transaction)
                await transaction.insert(PROFILE, name, _entry(askar_profile, settings))
        except (AskarError, AuditUnavailable, StoreUnavailable) as exc:
            if isinstance(exc, StoreUnavailable) and exc.outcome:
                raise  # the directory may name it
            await self._calls.pool.store.remove_profile(askar_profile)
            if isinstance(exc, DuplicateError):
                raise exists from None
            raise

    async def _remove(self, name: str) -> bool:
        async with self._calls.transaction() as transaction:
            entry = await transaction.fetch(PROFILE, name)
            if entry is None:
                return False
            removed = entry.value
            present = not _is_removed(removed)
            if present:
                removed = _REMOVED + removed
                await transaction.replace(PROFILE, name, removed)
        self._forget(name)
        await self._finish_removal(name, removed)
        return present

    async def finish_removals(self) -> None:
        """Finish the removals of profiles that were interrupted."""

        async def removed() -> list[tuple[str, bytes]]:
            async with self._calls.session() as session:
                entries = await session.fetch_all(PROFILE)
            return [(each.name, each.value) for each in entries if _is_removed(each.value)]

        for name, entry in await self._calls.run(removed):
            finish = partial(self._finish_removal, name, entry)
            await self._calls.run(finish, write=True, timeout=LONG_TIMEOUT)

    async def _finish_removal(self, name: str, entry: bytes) -> None:
        """Remove the Askar profile of an entry that is marked as removed, tokens and the entry."""
        await self._condemn_objects(name, _askar_name(entry))
        async with self._counters.changing([slot_of(PROFILE, name)]):
            await self._calls.pool.store.remove_profile(_askar_name(entry))
        self._calls.sealing_keys.pop(_askar_name(entry), None)
        async with self._calls.transaction() as transaction:
            now = await transaction.fetch(PROFILE, name)
            if now is not None and now.value == entry:
                await _revoke_tokens_of(transaction, name)
                await transaction.remove_all(USES, use_tags(_askar_name(entry)))
                await transaction.remove(PROFILE, name)

    async def _condemn_objects(self, name: str, askar_profile: str) -> None:
        """Condemn the objects of a profile that is being removed, in the store's own profile.

        Its marker is removed first, so that nobody writes to the profile meanwhile.
        """
        try:
            async with self._calls.transaction(askar_profile, name) as transaction:
                await transaction.remove_all(SEQUENCE)
                await transaction.remove_all(PROFILE)
            async with self._calls.session(askar_profile) as session:
                keys, others = await objects_in(session)
        except (KeyUnreadable, UndecryptableError, PrivateRecordError):
            LOGGER.error("objects at providers may stay: a removed profile does not decrypt")
            return
        except AskarError as exc:
            if exc.code is not AskarErrorCode.NOT_FOUND:
                raise
            return  # another process has removed it
        if not keys and not others:
            return
        async with self._calls.transaction() as transaction:
            for each in (*keys, *others):
                await insert_condemned(transaction, each)

    async def _named(self, name: str) -> tuple[str, ProfileSettings]:
        entry = await self._entry(name)
        if entry is None or _is_removed(entry):
            self._forget(name)
            raise ProfileNotFound()
        return _askar_name(entry), _settings(entry)

    async def _owner(self, askar_profile: str) -> str | None:
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
        return owner.decode()

    async def _require_removable(self, name: str) -> None:
        entry, owner = await self._entry(name), None
        if entry is not None:
            with suppress(KeyUnreadable):  # an undecryptable profile can be removed
                owner = await self._owner(_askar_name(entry))
        if owner not in (None, name):
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


async def created(session: Session) -> int:
    """The time at which a profile was made, in nanoseconds since the epoch.

    0 if it was made by version 0.2.0 or an earlier one. Raises StaleProfileError.
    """
    entry = await session.fetch(PROFILE, SELF)
    if entry is None:
        raise StaleProfileError
    return int((entry.tags or {}).get(_CREATED, 0))


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


def _another() -> KeyUnreadable:
    return KeyUnreadable("The stored profile belongs to another name.")


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


async def _revoke_tokens_of(session: Transaction, profile: str) -> None:
    """Revoke the tokens of a profile alone, and take the profile from tokens of several.

    So no token is valid in the next profile of the same name.
    """
    for entry in await session.fetch_all(TOKENS):
        record = orjson.loads(entry.value)
        if profile not in (record["profiles"] or ()):
            continue
        record["profiles"] = [other for other in record["profiles"] if other != profile]
        if record["profiles"]:
            await session.replace(TOKENS, entry.name, orjson.dumps(record), entry.tags)
        else:
            await session.remove(TOKENS, entry.name)
