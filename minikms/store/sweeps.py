"""Lets one of all processes that share a store sweep it at a time.

An entry of the store has the time from which the next sweep may begin. A process that sweeps moves
this time a little on, again and again, and at the end to the next sweep. So if the process is
killed, another one begins soon.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import orjson

from minikms.store.askar.sessions import Entry, Session, Transaction
from minikms.store.categories import STORE
from minikms.store.database import Database

# The name of the entry of `STORE`.
_SWEEP: Final = "sweep"

# Seconds for which a process has the turn, unless it renews it.
LEASE: Final = 15.0

_SECOND: Final = 10**9


class LastSweep(NamedTuple):
    """The entry: the time of the next sweep, and facts about the last one.

    `next`, `ended` and `listed` are times in nanoseconds, 0 for never; all due keys were listed at
    `listed`. The last sweep took `took` nanoseconds, and left due keys in `left` profiles.
    """

    next: int = 0
    listed: int = 0
    ended: int = 0
    took: int = 0
    left: int = 0


class Sweeps:
    """The turns of processes; `last` is the entry as this process has last read or written it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.last = LastSweep()

    async def begin(self, every: float) -> float | None:
        """Take the turn and return None; if it is not yet time, return seconds to wait.

        `every` is the number of seconds between two sweeps; with 0, only a sweep that is under way
        has to end first. Raises StoreUnavailable.
        """

        async def read(session: Session) -> None:
            self.last = _last_of(await session.fetch(STORE, _SWEEP))

        def taken(last: LastSweep) -> LastSweep | None:
            return last._replace(next=_in(LEASE)) if _wait(last, every) is None else None

        await self._database.run_own(read)
        if _wait(self.last, every) is None and await self._change(taken):
            return None
        return _wait(self.last, every) or 0.0

    async def renew(self) -> None:
        """Keep the turn; raises StoreUnavailable."""
        await self._change(lambda last: last._replace(next=_in(LEASE)))

    async def end(self, every: float, last: LastSweep) -> None:
        """End the turn: the next sweep begins in `every` seconds. Raises StoreUnavailable."""
        await self._change(lambda _: last._replace(next=_in(every)))

    async def _change(self, change: Callable[[LastSweep], LastSweep | None]) -> bool:
        """Replace the entry by the result of `change`; False if that is None."""

        async def work(session: Transaction) -> bool:
            entry = await session.fetch(STORE, _SWEEP, for_update=True)
            self.last = _last_of(entry)
            changed = change(self.last)
            if changed is None:
                return False
            value = orjson.dumps(changed._asdict())
            if entry is None:
                await session.insert(STORE, _SWEEP, value)
            else:
                await session.replace(STORE, _SWEEP, value, cached=False)
            self.last = changed
            return True

        return await self._database.run_own(work, write=True)


def _wait(last: LastSweep, every: float) -> float | None:
    """Seconds until the next sweep may begin; None if it may, or if a clock was wrong."""
    wait = (last.next - time.time_ns()) / _SECOND
    return wait if 0 < wait <= max(every, LEASE) else None


def _in(seconds: float) -> int:
    return time.time_ns() + int(seconds * _SECOND)


def _last_of(entry: Entry | None) -> LastSweep:
    return LastSweep() if entry is None else LastSweep(**orjson.loads(entry.value))
