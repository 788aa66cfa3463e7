"""Profiles that arrive from another store: in the directory last, so that callers see all or none.

An entry of the store's own profile names Askar's profile while it is filled, and after it those
that killed processes have left: they are erased when the next arrival of this name begins.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from minikms.errors import ProfileExists, ProfileNotFound
from minikms.profile_settings import ProfileSettings
from minikms.store.askar.errors import DuplicateError
from minikms.store.askar.sessions import Entry, Transaction
from minikms.store.categories import ARRIVING, PROFILE
from minikms.store.connections.calls import LONG_TIMEOUT, StoreCalls
from minikms.store.profiles.due_hours import DueHours, UnlistedError
from minikms.store.profiles.entries import is_removed, read_entry
from minikms.store.profiles.making import list_profile, make_askar_profile, new_marker
from minikms.store.profiles.marker import require_profile
from minikms.store.profiles.removals import ProfileRemovals, RemovedProfile
from minikms.store.profiles.tenancy import new_name

ResultT = TypeVar("ResultT")


@dataclass
class Arrival:
    """A profile that is filled: its name, Askar's name of it, and its id.

    `due` is the first time at which one of its keys is due.
    """

    name: str
    askar_profile: str
    id: str | None
    due: int | None = None


class Arrivals:
    """Makes profiles with contents; all methods raise StoreUnavailable."""

    def __init__(self, calls: StoreCalls, removals: ProfileRemovals, due_hours: DueHours) -> None:
        self._calls = calls
        self._removals = removals
        self._due_hours = due_hours

    async def begin(self, name: str) -> Arrival:
        """Make an empty profile that is not in the directory; raises ProfileExists."""
        marker = new_marker(name)
        askar_profile = new_name(marker.sealing_key)

        async def make() -> list[str]:
            async with self._calls.transaction() as transaction:
                await self._calls.require_own_key(transaction)
                found = await transaction.fetch(ARRIVING, name, for_update=True)
                before = _names_in(found)
                value = " ".join((askar_profile, *before))
                if found is None:
                    await transaction.insert(ARRIVING, name, value)
                else:
                    await transaction.replace(ARRIVING, name, value)
            await make_askar_profile(self._calls, marker, askar_profile)
            return before

        async def entry() -> bytes | None:
            return await read_entry(self._calls, name)

        while (found := await self._calls.run(entry)) is not None:
            if not is_removed(found):
                raise ProfileExists(f"The profile {name!r} already exists.")
            await self._removals.finish(name, found)
        for before in await self._calls.run(make, write=True):
            await self._removals.erase(RemovedProfile(name, before))
        return Arrival(name, askar_profile, marker.tenancy(askar_profile).id)

    async def write(
        self, arrival: Arrival, work: Callable[[Transaction], Awaitable[ResultT]]
    ) -> ResultT:
        """The result of `work`, in a transaction on the profile.

        Raises ProfileNotFound if another arrival of this name has begun.
        """

        async def attempt() -> ResultT:
            while True:
                try:
                    async with self._calls.transaction(
                        arrival.askar_profile, arrival.name
                    ) as transaction:
                        stored = transaction.stored = await transaction.sequence()
                        transaction.place = stored.place
                        await require_profile(transaction)
                        result = await work(transaction)
                        self._due_hours.require(arrival.name, transaction.due)
                        times = *transaction.due, arrival.due
                        arrival.due = min((at for at in times if at is not None), default=None)
                        return result
                except UnlistedError as exc:
                    await self._due_hours.store(exc.hours)

        return await self._calls.run(attempt, write=True, timeout=LONG_TIMEOUT)

    async def finish(
        self,
        arrival: Arrival,
        settings: ProfileSettings,
        work: Callable[[Transaction], Awaitable[None]],
    ) -> None:
        """Enter the profile in the directory, in one transaction with `work`.

        Raises ProfileExists, and ProfileNotFound if another arrival of this name has begun.
        """

        async def attempt() -> None:
            async with self._calls.transaction() as transaction:
                await self._calls.require_own_key(transaction)
                entry = await transaction.fetch(ARRIVING, arrival.name, for_update=True)
                if _names_in(entry)[:1] != [arrival.askar_profile]:
                    raise ProfileNotFound("Another process copies this profile.")
                await transaction.remove(ARRIVING, arrival.name)
                if await transaction.fetch(PROFILE, arrival.name) is not None:
                    raise ProfileExists(f"The profile {arrival.name!r} already exists.")
                await list_profile(transaction, arrival.name, arrival.askar_profile, settings)
                await work(transaction)

        if arrival.due is not None:
            # Sweeps have removed the entries of hours that were over before the profile was there.
            # A sweep for the present hour finds all keys that are due by then.
            await self._due_hours.add(arrival.name, [arrival.due])
        try:
            await self._calls.run(attempt, write=True, timeout=LONG_TIMEOUT)
        except DuplicateError:
            raise ProfileExists(
                f"The profile {arrival.name!r} or one of its tokens already exists."
            ) from None

    async def drop(self, arrival: Arrival) -> None:
        """Erase a profile unless it is in the directory; nothing happens the second time."""

        async def is_filled() -> bool:
            async with self._calls.session() as session:
                entry = await session.fetch(ARRIVING, arrival.name)
                return _names_in(entry)[:1] == [arrival.askar_profile]

        async def forget() -> None:
            async with self._calls.transaction() as transaction:
                entry = await transaction.fetch(ARRIVING, arrival.name, for_update=True)
                if _names_in(entry)[:1] == [arrival.askar_profile]:
                    await transaction.remove(ARRIVING, arrival.name)

        if await self._calls.run(is_filled):
            await self._removals.erase(RemovedProfile(arrival.name, arrival.askar_profile))
            await self._calls.run(forget, write=True)


def _names_in(entry: Entry | None) -> list[str]:
    return [] if entry is None else entry.value.decode().split()
