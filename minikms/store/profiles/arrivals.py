"""Profiles that arrive from another store: in the directory last, so that callers see all or none.

An entry of the store's own profile names Askar's profile while it is filled. What a killed process
has left is erased when the next arrival of this name begins.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from minikms.errors import ProfileExists, ProfileNotFound
from minikms.profile_settings import ProfileSettings
from minikms.store.askar.errors import DuplicateError
from minikms.store.askar.sessions import Transaction
from minikms.store.categories import ARRIVING, PROFILE
from minikms.store.connections.calls import LONG_TIMEOUT, StoreCalls
from minikms.store.profiles.due_hours import DueHours, UnlistedError
from minikms.store.profiles.entries import is_removed, read_entry
from minikms.store.profiles.making import list_profile, make_askar_profile
from minikms.store.profiles.marker import require_profile
from minikms.store.profiles.removals import ProfileRemovals, RemovedProfile

ResultT = TypeVar("ResultT")


class Arrival(NamedTuple):
    """A profile that is filled: its name, Askar's name of it, and its id."""

    name: str
    askar_profile: str
    id: str | None


class Arrivals:
    """Makes profiles with contents; all methods raise StoreUnavailable."""

    def __init__(self, calls: StoreCalls, removals: ProfileRemovals, due_hours: DueHours) -> None:
        self._calls = calls
        self._removals = removals
        self._due_hours = due_hours

    async def begin(self, name: str) -> Arrival:
        """Make an empty profile that is not in the directory; raises ProfileExists."""

        async def make() -> tuple[Arrival, str]:
            marker, askar_profile = await make_askar_profile(self._calls, name)
            async with self._calls.transaction() as transaction:
                await self._calls.require_own_key(transaction)
                before = await transaction.fetch(ARRIVING, name, for_update=True)
                if before is None:
                    await transaction.insert(ARRIVING, name, askar_profile)
                else:
                    await transaction.replace(ARRIVING, name, askar_profile)
            arrival = Arrival(name, askar_profile, marker.tenancy(askar_profile).id)
            return arrival, "" if before is None else before.value.decode()

        async def entry() -> bytes | None:
            return await read_entry(self._calls, name)

        while (found := await self._calls.run(entry)) is not None:
            if not is_removed(found):
                raise ProfileExists(f"The profile {name!r} already exists.")
            await self._removals.finish(name, found)
        arrival, before = await self._calls.run(make, write=True)
        if before:
            await self._removals.erase(RemovedProfile(name, before))
        return arrival

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
                if entry is None or entry.value.decode() != arrival.askar_profile:
                    raise ProfileNotFound("Another process copies this profile.")
                await transaction.remove(ARRIVING, arrival.name)
                if await transaction.fetch(PROFILE, arrival.name) is not None:
                    raise ProfileExists(f"The profile {arrival.name!r} already exists.")
                await list_profile(transaction, arrival.name, arrival.askar_profile, settings)
                await work(transaction)

        try:
            await self._calls.run(attempt, write=True, timeout=LONG_TIMEOUT)
        except DuplicateError:
            raise ProfileExists(
                f"The profile {arrival.name!r} or one of its tokens already exists."
            ) from None

    async def drop(self, arrival: Arrival) -> None:
        """Erase a profile unless it is in the directory; nothing happens the second time."""

        async def attempt() -> bool:
            async with self._calls.transaction() as transaction:
                entry = await transaction.fetch(ARRIVING, arrival.name, for_update=True)
                if entry is None or entry.value.decode() != arrival.askar_profile:
                    return False
                await transaction.remove(ARRIVING, arrival.name)
                return True

        if await self._calls.run(attempt, write=True, timeout=LONG_TIMEOUT):
            await self._removals.erase(RemovedProfile(arrival.name, arrival.askar_profile))
