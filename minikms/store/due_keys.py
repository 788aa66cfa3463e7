"""Keys whose deletion a call finds due: noted, so that no clock that goes back undoes it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Final

from minikms.errors import AliasNotFound, KeyNotFound
from minikms.events import CURRENT
from minikms.records import KeyRecord
from minikms.store.database import Database
from minikms.store.entries import (
    DELETION,
    DueError,
    deletion_tags,
    load_record,
    replace_record,
)
from minikms.store.sessions import Session

# How many keys are noted in one transaction.
_NOTED: Final = 100


class DueKeys:
    """Notes of a store that the deletions of keys were found due.

    A key is gone from the moment on that its deletion is due, but stays in the store until it is
    removed. Where the clock goes back meanwhile, what was said to be gone must stay so: in other
    processes, and after a restart.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def noting(self, profile: str) -> AsyncIterator[None]:
        """Note the deletion that the block finds due, before its caller gets to know."""
        try:
            yield
        except (KeyNotFound, AliasNotFound) as exc:
            if isinstance(exc.__cause__, DueError):
                await self.note(profile, [exc.__cause__.record])
            raise

    async def note(self, profile: str, records: Sequence[KeyRecord]) -> None:
        """Note that the deletions of these keys were found due."""
        event = CURRENT.set(None)  # it is no change that the call asked for
        try:
            for start in range(0, len(records), _NOTED):
                few = records[start : start + _NOTED]
                await self._database.write(profile, partial(_note, records=few))
        finally:
            CURRENT.reset(event)


async def _note(session: Session, *, records: Sequence[KeyRecord]) -> None:
    """Schedule deletions for the beginning of time, which every version takes for due."""
    for record in records:
        now = await load_record(session, record.kid)
        if now is not None and now.deletes == record.deletes:  # and not restored meanwhile
            noted = replace(now, deletes=0)
            await session.replace(DELETION, noted.kid, b"", deletion_tags(noted))
            await replace_record(session, noted)
