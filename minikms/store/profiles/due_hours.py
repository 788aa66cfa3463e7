"""Lists the hours in which keys of profiles become due, so that a sweep need not ask each profile.

The scheduled deletions and rotations of a profile are encrypted with its own key. So the store's
own profile has an entry for each profile and each hour in which one of its keys is due. The entry
is stored before the transaction that makes the key due, and remains until a sweep after that hour
finds nothing more to do. So a process that has seen the entry need not look for it again.
"""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final, NamedTuple, Self

from minikms.events import CURRENT
from minikms.store.categories import DUE
from minikms.store.connections.calls import StoreCalls

_HOUR: Final = 3600 * 10**9

# Nanoseconds after the end of an hour in which its entries stay: the clocks of processes may
# differ, and a transaction that was begun within the hour may be committed after it.
_KEPT: Final = 600 * 10**9

# The number of entries that are remembered, 200 bytes each, and that one transaction removes.
_REMEMBERED: Final = 50_000
_TOGETHER: Final = 100


class DueHour(NamedTuple):
    """An hour since the epoch in which a key of a profile is due."""

    hour: int
    profile: str

    @property
    def entry(self) -> str:
        """The name of its entry; no name of a profile has a space."""
        return f"{self.hour} {self.profile}"

    @classmethod
    def of(cls, entry: str) -> Self:
        """The hour with an entry of this name."""
        hour, _, profile = entry.partition(" ")
        return cls(int(hour), profile)

    @property
    def is_over(self) -> bool:
        """Tell whether no process stores due keys for this hour any more."""
        return (self.hour + 1) * _HOUR + _KEPT <= time.time_ns()


class UnlistedError(Exception):
    """A transaction makes keys due in hours that have no entry yet."""

    def __init__(self, hours: Iterable[DueHour]) -> None:
        super().__init__()
        self.hours = hours


class DueHours:
    """The entries of hours; they all raise StoreUnavailable except `require`."""

    def __init__(self, calls: StoreCalls) -> None:
        self._calls = calls
        self._stored: set[DueHour] = set()

    def require(self, profile: str, times: Iterable[int]) -> None:
        """Raise UnlistedError if the hour of one of these times may have no entry.

        A key that is due already belongs to the present hour.
        """
        now = time.time_ns()
        hours = {DueHour(max(at, now) // _HOUR, profile) for at in times}
        if missing := hours - self._stored:
            raise UnlistedError(missing)

    async def store(self, hours: Iterable[DueHour]) -> None:
        """Store an entry for each hour that lacks one. The caller holds a connection."""
        outer = CURRENT.set(None)  # the call did not ask for this change
        try:
            async with self._calls.transaction() as transaction:
                for each in hours:
                    if await transaction.fetch(DUE, each.entry) is None:
                        tags = {"~at": f"{each.hour * _HOUR:020d}"}
                        await transaction.insert(DUE, each.entry, b"", tags)
        finally:
            CURRENT.reset(outer)
        if len(self._stored) >= _REMEMBERED:
            self._stored.clear()
        self._stored.update(hours)

    async def add(self, profile: str, times: Iterable[int]) -> None:
        """Store entries for the times at which keys of a profile are due, unless they have some."""
        try:
            self.require(profile, times)
        except UnlistedError as exc:
            await self._calls.run(partial(self.store, exc.hours), write=True)

    async def begun(self) -> list[DueHour]:
        """The hours that have begun, in order."""

        async def work() -> list[DueHour]:
            tag_filter = {"~at": {"$lte": f"{max(time.time_ns(), 0):020d}"}}
            async with self._calls.session() as session:
                rows = await session.fetch_all(DUE, tag_filter)
            return sorted(DueHour.of(row.name) for row in rows)

        return await self._calls.run(work)

    async def remove(self, hours: Sequence[DueHour]) -> None:
        """Remove the entries of hours; another process may have removed some."""

        async def work(some: Sequence[DueHour]) -> None:
            async with self._calls.transaction() as transaction:
                for each in some:
                    if await transaction.fetch(DUE, each.entry, for_update=True) is not None:
                        await transaction.remove(DUE, each.entry, cached=False)

        for start in range(0, len(hours), _TOGETHER):
            await self._calls.run(partial(work, hours[start : start + _TOGETHER]), write=True)
