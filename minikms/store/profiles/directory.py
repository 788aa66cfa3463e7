"""The directory of profiles: the Askar profile of each tenant.

Askar's profiles have names that look random (store/profiles/tenancy.py). Each process's Askar keeps
the keys of profiles by name, and would use an old key after another process has remade the profile.
So a name of Askar's is never used twice.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from operator import itemgetter
from typing import Any, Final, NamedTuple

from aries_askar import AskarError, AskarErrorCode, Store

from minikms.basics import clocks
from minikms.errors import (
    KeyUnreadable,
    ProfileFrozen,
    ProfileNotFound,
    StoreUnavailable,
)
from minikms.events import CURRENT, set_profile_id
from minikms.profile_settings import NO_SETTINGS, ProfileSettings
from minikms.store.askar.errors import is_wait
from minikms.store.askar.layout import SYSTEM
from minikms.store.askar.sequence import slot_of
from minikms.store.askar.sessions import Transaction
from minikms.store.categories import PROFILE
from minikms.store.connections.calls import LONG_TIMEOUT, StoreCalls
from minikms.store.connections.counters import ChangeCounters
from minikms.store.profiles.entries import (
    askar_name,
    directory_entry,
    is_removed,
    read_entry,
    settings_in,
)
from minikms.store.profiles.making import make_profile
from minikms.store.profiles.marker import StaleProfileError, read_marker, require_profile
from minikms.store.profiles.removals import ProfileRemovals, RemovedProfile
from minikms.store.profiles.tenancy import Tenancy, fits

# On PostgreSQL, seconds for which a profile is known after its last check.
_TTL: Final = 5.0

# A value that no counter has.
_NEVER: Final = -1

# The number of names that are read, 20 µs each, before other calls go on.
_NAMES: Final = 100


class _Known(NamedTuple):
    """A profile as this process knows it.

    `store` is the Askar store that was asked; a reopened one is asked again. The profile is current
    while the counter in `slot` has the value `counter`. Reading it began at `read`.
    """

    store: Store
    askar_profile: str
    tenancy: Tenancy
    slot: int
    counter: int
    read: float


class ProfileDirectory:
    """Makes, removes and looks up profiles by the names that tenants use.

    `settings` and `calls_per_second` list profiles with settings, as this process knows them; these
    are current if the profile is `known`. `ids` has the last known ids of profiles.
    """

    def __init__(self, calls: StoreCalls, counters: ChangeCounters) -> None:
        self._calls = calls
        self._counters = counters
        self._known: dict[str, _Known] = {}
        self.removals = ProfileRemovals(calls)
        self.settings: dict[str, ProfileSettings] = {}
        self.calls_per_second: dict[str, int] = {}
        self.ids: dict[str, str | None] = {}
        self._refreshing: set[str] = set()
        # On PostgreSQL, a notice of a change may be lost.
        self._lease = counters.lease(())

    async def create(
        self, name: str, settings: ProfileSettings = NO_SETTINGS, *, maker: str = ""
    ) -> None:
        """Make an empty profile; raises ProfileExists.

        `maker` is the id of the call's token, empty without one. If the token names the profile, it
        may use it; other earlier tokens may not.
        """
        make = partial(make_profile, self._calls, name, settings, maker)
        while (interrupted := await self._calls.run(make, write=True)) is not None:
            await self.removals.finish(name, interrupted)

    async def change(self, name: str, changes: Mapping[str, Any]) -> ProfileSettings:
        """Change settings of a profile, and return all of them.

        Replacing the entry makes all processes read the profile and its keys again. Once a profile
        is frozen, no process writes in it any more. Raises ProfileNotFound, and ProfileFrozen if a
        profile that stays frozen would change.
        """
        if not changes:
            return await self.settings_of(name)

        async def work() -> ProfileSettings:
            async with self._calls.transaction() as transaction:
                await self._calls.require_own_key(transaction)
                entry = await transaction.fetch(PROFILE, name, for_update=True)
                if entry is None or is_removed(entry.value):
                    raise ProfileNotFound()
                before = settings_in(entry.value)
                settings = before._replace(**changes)
                if before.frozen and settings.frozen and settings != before:
                    raise ProfileFrozen()
                value = directory_entry(askar_name(entry.value), settings)
                await transaction.replace(PROFILE, name, value)
                return settings

        settings = await self._calls.run(work, write=True)
        self._set(name, settings)  # for calls before the next look-up
        if "frozen" in changes:
            try:
                mark = partial(self._mark_frozen, name)
                await self._calls.run(mark, write=True, timeout=LONG_TIMEOUT)
            except StoreUnavailable as exc:  # the setting is changed
                raise StoreUnavailable(unknown=True) from exc
        return settings

    async def _mark_frozen(self, name: str) -> None:
        """Mark the sequence of a profile as its settings say, once writes under way have ended.

        The settings are read again at the end, since another call may have changed them meanwhile.
        """
        CURRENT.set(None)  # the change of the setting is recorded
        marked = None
        while (named := await self._named(name)) != marked:
            askar_profile, settings = named
            try:
                async with self._calls.transaction(askar_profile, name) as transaction:
                    stored = transaction.stored = await transaction.sequence()
                    transaction.place, transaction.keys = stored.place, stored.keys
                    await require_profile(transaction)
                    transaction.freeze(frozen=settings.frozen)
            except (AskarError, StaleProfileError) as exc:
                await self.successor(name, askar_profile, exc)
            else:
                marked = named

    async def require_unfrozen(self, session: Transaction, names: Iterable[str]) -> None:
        """Raise ProfileFrozen if one of these profiles is frozen, or becomes so before the commit.

        The transaction is one of the store's own profile.
        """
        for name in sorted(names):  # processes lock rows of PostgreSQL in one order
            entry = await session.fetch(PROFILE, name, for_update=True)
            if entry is None or is_removed(entry.value):
                continue
            if settings_in(entry.value).frozen:
                raise ProfileFrozen(f"The profile {name!r} is frozen.")

    async def remove(self, name: str) -> RemovedProfile | None:
        """Remove a profile and its tokens; None if it does not exist.

        Its contents stay until `removals.erase`, but no caller reads them. Raises KeyUnreadable if
        Askar's profile belongs to another profile.
        """
        # First a read: it reports a store that does not answer sooner than the writes below.
        await self._calls.run(partial(self._require_removable, name))
        removed = await self._calls.run(partial(self.removals.mark, name), write=True)
        if removed is None:
            return None
        self._forget(name)
        entry, is_new = removed
        try:
            await self.removals.finish(name, entry)
        except StoreUnavailable as exc:  # the profile is gone for callers
            raise StoreUnavailable(unknown=True) from exc
        return RemovedProfile(name, askar_name(entry)) if is_new else None

    async def names(self) -> list[str]:
        """The names of all profiles, sorted."""
        return list(await self.all_settings())

    async def all_settings(self) -> dict[str, ProfileSettings]:
        """The settings of all profiles, by name, sorted."""
        found, _ = await self.page(None, None, "")
        return found

    async def page(
        self, own: Collection[str] | None, limit: int | None, after: str
    ) -> tuple[dict[str, ProfileSettings], bool]:
        """The settings of up to `limit` profiles by name, sorted, and whether more follow.

        The page begins after the name `after`. If `own` is given, it has only these profiles. The
        database cannot sort encrypted names, so a page reads the whole directory, in one statement.
        """

        async def work() -> tuple[dict[str, ProfileSettings], bool]:
            async with self._calls.session() as session:
                entries = await session.fetch_all(PROFILE)
            following = []
            for place, entry in enumerate(entries, 1):
                name = entry.name
                if name > after and (own is None or name in own):
                    following.append((name, entry))
                if place % _NAMES == 0:
                    await asyncio.sleep(0)
            following.sort(key=itemgetter(0))
            found: dict[str, ProfileSettings] = {}
            for place, (name, entry) in enumerate(following, 1):
                value = entry.value
                if not is_removed(value):
                    if len(found) == limit:
                        return found, True
                    found[name] = settings_in(value)
                if place % _NAMES == 0:
                    await asyncio.sleep(0)
            return found, False

        return await self._calls.run(work)

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

    async def owner(self, askar_profile: str) -> tuple[str, bool] | None:
        """The name that is stored in one of Askar's profiles; None if it cannot be read.

        The second value is false if the profile does not belong under its name in Askar. Raises
        KeyUnreadable if the profile's key does not decrypt.
        """
        marker = await self._calls.run(partial(read_marker, self._calls, askar_profile), write=True)
        return None if marker is None else (marker.owner, fits(askar_profile, marker.sealing_key))

    async def askar_profiles(self) -> set[str]:
        """Askar's names of all profiles except the store's own."""

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
        """Begin to look up a profile that is not `known`, unless a look-up is under way."""
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
        if isinstance(exc, AskarError) and (exc.code not in unclear or is_wait(exc)):
            raise exc
        current = await self.look_up(name)
        if current == askar_profile:
            raise exc
        return current

    async def look_up(self, name: str) -> str:
        """Look up Askar's present name of a profile. The caller holds a connection.

        Raises ProfileNotFound, and KeyUnreadable if Askar's profile belongs to another one: only
        the marker binds a row of Askar's table of profiles to the profile.
        """
        return (await self._look_up(name)).askar_profile

    async def _look_up(self, name: str) -> _Known:
        store, slot = self._calls.pool.store, slot_of(PROFILE, name)
        read, counter = clocks.now(), self._counters.values[slot]
        askar_profile, settings = await self._named(name)
        marker = await read_marker(self._calls, askar_profile)
        while marker is None or not marker.is_of(name, askar_profile):
            before = askar_profile
            askar_profile, settings = await self._named(name)
            if askar_profile == before:  # it was not removed and made again meanwhile
                raise KeyUnreadable("The stored profile is another one.")
            marker = await read_marker(self._calls, askar_profile)
        known = self._known.get(name)
        if known is not None and known.askar_profile != askar_profile:
            self._forget(name)
        if counter % 2:  # it is being changed
            counter = _NEVER
        tenancy = marker.tenancy(askar_profile)
        found = _Known(store, askar_profile, tenancy, slot, counter, read)
        self._known[name] = found
        self.ids[name] = tenancy.id
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
        self.ids.pop(name, None)
        if known is not None:
            self._calls.sealing_keys.pop(known.askar_profile, None)

    async def _named(self, name: str) -> tuple[str, ProfileSettings]:
        entry = await read_entry(self._calls, name)
        if entry is None or is_removed(entry):
            self._forget(name)
            raise ProfileNotFound()
        return askar_name(entry), settings_in(entry)

    async def _require_removable(self, name: str) -> None:
        entry, marker = await read_entry(self._calls, name), None
        if entry is None:
            return
        with suppress(KeyUnreadable):  # an undecryptable profile can be removed
            marker = await read_marker(self._calls, askar_name(entry))
        if marker is not None and not marker.is_of(name, askar_name(entry)):
            raise KeyUnreadable("The stored profile is another one.")
