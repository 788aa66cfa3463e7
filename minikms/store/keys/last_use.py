"""Times of last uses of keys, apart from the records: a changed record leaves all caches.

They are in the store's own profile, so that one transaction writes the times of many profiles. An
entry has the times of 256 keys, by their places in the order of creation. No cache depends on it.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from minikms.errors import KeyUnreadable, ProfileNotFound, StoreUnavailable
from minikms.key_bounds import SECOND
from minikms.store.askar.errors import DuplicateError, UndecryptableError
from minikms.store.askar.sequence import SEQ_TAG, seq_of
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.categories import KEY, LAST_USES
from minikms.store.database import Database
from minikms.store.keys.use_times import (
    KEYS_TOGETHER,
    LATEST,
    UseGroup,
    latest,
    merged,
    places_of,
    time_at,
)
from minikms.store.profiles.entries import use_tags

# The profile and the `seq` of a key.
Used: TypeAlias = tuple[str, str]

# The name of the entry with the time from which on uses are noted.
SINCE: Final = "since"


# The number of entries that one transaction writes, so that other writers do not wait long.
_TOGETHER: Final = 64


# The number of entries that a process remembers, and seconds until they are read again.
_REMEMBERED: Final = 1000
_FRESH: Final = 60.0


class _Remembered(NamedTuple):
    """The entry of a group, and when it was read; `known` says that it could be read."""

    value: bytes = b""
    asked: float = -_FRESH
    known: bool = False


class LastUses:
    """The stored times of last uses; all methods but `read` raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._since = 0
        self._remembered: dict[UseGroup, _Remembered] = {}
        # Entries whose keys may all be removed: the profile, and the number of the entry.
        self._perhaps_unused: set[tuple[str, int]] = set()
        database.on_removed(self._note_removed)

    def _note_removed(self, profile: str, places: Iterable[int]) -> None:
        self._perhaps_unused.update((profile, place // KEYS_TOGETHER) for place in places)

    async def write(self, uses: Mapping[Used, int]) -> None:
        """Store times in nanoseconds, unless later ones are stored.

        Entries whose keys were all removed are removed.
        """
        await self._begin()
        groups: dict[UseGroup, dict[int, int]] = {}
        profiles: dict[str, str] = {}
        askar_profiles: dict[str, str | None] = {}
        for (profile, seq), at in uses.items():
            if profile not in askar_profiles:
                askar_profiles[profile] = await self._askar_profile(profile)
            askar_profile = askar_profiles[profile]
            if askar_profile is not None:
                profiles[askar_profile] = profile
                number, place = divmod(int(seq or 0), KEYS_TOGETHER)
                times = groups.setdefault(UseGroup(askar_profile, number), {})
                times[place] = min(at // SECOND, LATEST)
        names = sorted(groups)  # processes lock rows of PostgreSQL in one order
        for start in range(0, len(names), _TOGETHER):
            some = {group: groups[group] for group in names[start : start + _TOGETHER]}
            # Another process may have removed the keys, and an entry, since they were used.
            new = await self._write(some)
            self._perhaps_unused.update((profiles[each.askar_profile], each.number) for each in new)
        await self._remove_unused()

    async def _write(self, groups: Mapping[UseGroup, Mapping[int, int]]) -> list[UseGroup]:
        """Store times; return the groups whose entries are new."""

        async def work(session: Transaction) -> list[UseGroup]:
            new = []
            for group, times in groups.items():
                with suppress(UndecryptableError):  # a damaged entry stays as it is
                    if await _write(session, group, times):
                        new.append(group)
            return new

        new = await self._database.run_own(work, write=True)
        for group in groups:
            self._remembered.pop(group, None)
        return new

    async def _remove_unused(self) -> None:
        """Remove the entries whose keys were all removed."""
        perhaps, unused = sorted(self._perhaps_unused), []
        for profile, number in perhaps:
            # Entries go with their profile, and a damaged one keeps them.
            with suppress(ProfileNotFound, KeyUnreadable, UndecryptableError):
                group = UseGroup(await self._known(profile), number)
                if await self._database.run(profile, partial(_is_unused, number=number)):
                    unused.append(group)
        for start in range(0, len(unused), _TOGETHER):
            remove = partial(_remove, groups=unused[start : start + _TOGETHER])
            await self._database.run_own(remove, write=True)
        self._perhaps_unused.difference_update(perhaps)

    async def _begin(self) -> None:
        """Store the time from which on uses are noted, unless it is stored."""

        async def make(session: Transaction) -> None:
            with suppress(DuplicateError):
                await session.insert(LAST_USES, SINCE, str(time.time_ns()))

        if not await self._begun():
            await self._database.run_own(make, write=True)

    async def _begun(self) -> int:
        """The time from which on uses are noted, in nanoseconds; 0 if it is not known."""

        async def find(session: Session) -> int:
            with suppress(UndecryptableError):  # a damaged entry stays as it is
                entry = await session.fetch(LAST_USES, SINCE)
                return 0 if entry is None else int(entry.value)
            return 0

        if not self._since:
            self._since = await self._database.run_own(find)
        return self._since

    async def read(self, profile: str, places: Sequence[int]) -> list[tuple[int, int]]:
        """Return the start of noting uses and the last use, for the key at each place.

        Times are in nanoseconds, 0 if unknown. They are up to a minute old, and older if the store
        does not answer. If they may lack a use, because the store does not answer or an entry is
        damaged, uses are noted from now on. Raises ProfileNotFound.
        """
        now = time.time_ns()
        try:
            askar_profile = await self._known(profile)
            since = await self._begun() or now
        except StoreUnavailable:  # a key that is in memory is shown all the same
            return [(now, 0)] * len(places)
        groups = [UseGroup(askar_profile, place // KEYS_TOGETHER) for place in places]
        entries = await self._entries(dict.fromkeys(groups))
        found = []
        for group, place in zip(groups, places, strict=True):
            entry = entries[group]
            at = time_at(entry.value, place % KEYS_TOGETHER) * SECOND
            found.append((since if entry.known else now, at))
        return found

    async def groups(self, profile: str) -> list[range]:
        """The places of keys that were used, 256 at a time, the last used ones first.

        Raises ProfileNotFound.
        """
        askar_profile = await self._known(profile)

        async def work(session: Session) -> list[tuple[int, int]]:
            rows = await session.fetch_all(LAST_USES, use_tags(askar_profile))
            return [(latest(row.value), int(row.name.rpartition("/")[2])) for row in rows]

        found: list[tuple[int, int]] = []
        with suppress(UndecryptableError):
            found = await self._database.run_own(work)
        return [places_of(number) for _, number in sorted(found, reverse=True)]

    async def _entries(self, groups: Iterable[UseGroup]) -> dict[UseGroup, _Remembered]:
        """The entry of each group: read in the last minute, or not `known` to be current."""
        now = time.monotonic()
        entries = {group: self._remembered.get(group, _Remembered()) for group in groups}
        stale = [group for group, entry in entries.items() if entry.asked <= now - _FRESH]
        if not stale:
            return entries

        entries |= {group: _Remembered(entries[group].value, now) for group in stale}

        async def work(session: Session) -> list[_Remembered]:
            return [await _read(session, group, now) for group in stale]

        with suppress(StoreUnavailable):
            entries |= zip(stale, await self._database.run_own(work), strict=True)
        for group in stale:
            self._remembered.pop(group, None)
            self._remembered[group] = entries[group]
        self._forget_some()
        return entries

    def _forget_some(self) -> None:
        """Forget the entries that were read first."""
        while len(self._remembered) > _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]

    async def _known(self, profile: str) -> str:
        """Askar's name of a profile; raises ProfileNotFound."""
        directory = self._database.directory
        return directory.known(profile) or await directory.askar_profile(profile)

    async def _askar_profile(self, profile: str) -> str | None:
        """Askar's name of a profile, None if it was removed."""
        with suppress(ProfileNotFound):
            return await self._known(profile)
        return None


async def _read(session: Session, group: UseGroup, now: float) -> _Remembered:
    """Read the entry of a group; it is not `known` if it does not decrypt."""
    with suppress(UndecryptableError):
        entry = await session.fetch(LAST_USES, group.entry)
        return _Remembered(b"" if entry is None else entry.value, now, known=True)
    return _Remembered(asked=now)


async def _is_unused(session: Session, number: int) -> bool:
    """Tell whether no key has the places of an entry, and none will have one."""
    places = places_of(number)
    if await session.last_place() < places[-1]:
        return False
    return not await session.count(KEY, {SEQ_TAG: {"$in": [seq_of(place) for place in places]}})


async def _remove(session: Transaction, groups: Iterable[UseGroup]) -> None:
    for group in groups:
        if await session.fetch(LAST_USES, group.entry, for_update=True) is not None:
            await session.remove(LAST_USES, group.entry, cached=False)


async def _write(session: Transaction, group: UseGroup, times: Mapping[int, int]) -> bool:
    """Store times of a group, by the places of its keys, and tell whether its entry is new.

    Raises UndecryptableError.
    """
    entry = await session.fetch(LAST_USES, group.entry, for_update=True)
    if entry is None:
        made = merged(b"", times)
        with suppress(DuplicateError):
            await session.insert(LAST_USES, group.entry, made, use_tags(group.askar_profile))
            return True
        entry = await session.fetch(LAST_USES, group.entry, for_update=True)
    before = b"" if entry is None else entry.value
    if (after := merged(before, times)) != before:
        tags = use_tags(group.askar_profile)
        await session.replace(LAST_USES, group.entry, after, tags, cached=False)
    return False
