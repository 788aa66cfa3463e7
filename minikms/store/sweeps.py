"""Lets one of all processes that share a store sweep it at a time.

An entry of the store has the time from which the next sweep may begin. A process that begins one
moves this time on, a little at first and again and again, and at the end to the next sweep. So if
the process is killed, another one begins soon.
"""

import time
from typing import Final, NamedTuple

import orjson

from minikms.store.askar.sessions import Session, Transaction
from minikms.store.categories import STORE
from minikms.store.database import Database

# The name of the entry of `STORE`.
_SWEEP: Final = "sweep"

# Seconds for which a process has the turn, unless it renews it.
LEASE: Final = 15.0

_SECOND: Final = 10**9


class LastSweep(NamedTuple):
    """The entry: when the next sweep may begin, and what is known of the last one.

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

        `every` is the number of seconds between two sweeps. Raises StoreUnavailable.
        """

        async def read(session: Session) -> None:
            self.last = await _fetch(session)

        async def take(session: Transaction) -> None:
            self.last = await _fetch(session)
            if self._wait(every) is None:
                await self._store(session, self.last._replace(next=_in(LEASE)))
                taken.append(True)

        taken: list[bool] = []
        await self._database.run_own(read)
        if self._wait(every) is None:
            await self._database.run_own(take, write=True)
        return None if taken else self._wait(every)

    async def renew(self) -> None:
        """Keep the turn; raises StoreUnavailable."""

        async def work(session: Transaction) -> None:
            await self._store(session, (await _fetch(session))._replace(next=_in(LEASE)))

        await self._database.run_own(work, write=True)

    async def end(self, every: float, last: LastSweep) -> None:
        """End the turn: the next sweep begins in `every` seconds. Raises StoreUnavailable."""

        async def work(session: Transaction) -> None:
            await self._store(session, last._replace(next=_in(every)))

        await self._database.run_own(work, write=True)

    def _wait(self, every: float) -> float | None:
        """Seconds until the next sweep may begin; None if it may, or if a clock was wrong."""
        wait = (self.last.next - time.time_ns()) / _SECOND
        return wait if 0 < wait <= max(every, LEASE) else None

    async def _store(self, session: Transaction, last: LastSweep) -> None:
        value = orjson.dumps(last._asdict())
        if await session.fetch(STORE, _SWEEP) is None:
            await session.insert(STORE, _SWEEP, value)
        else:
            await session.replace(STORE, _SWEEP, value, cached=False)
        self.last = last


def _in(seconds: float) -> int:
    return time.time_ns() + int(seconds * _SECOND)


async def _fetch(session: Session) -> LastSweep:
    entry = await session.fetch(STORE, _SWEEP, for_update=session.is_transaction)
    return LastSweep() if entry is None else LastSweep(**orjson.loads(entry.value))
