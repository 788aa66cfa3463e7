"""Keys whose deletion a call finds due: noted, so that no clock that goes back undoes it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from minikms.errors import AliasNotFound, KeyNotFound
from minikms.events import CURRENT
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


class DueKey(NamedTuple):
    """A key whose deletion was found due, and the time that it was scheduled for."""

    kid: str
    deletes: int | None


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
                record = exc.__cause__.record
                await self.note(profile, [DueKey(record.kid, record.deletes)])
            raise

    async def note(self, profile: str, due: Sequence[DueKey]) -> None:
        """Note that the deletions of these keys were found due."""
        event = CURRENT.set(None)  # it is no change that the call asked for
        try:
            for start in range(0, len(due), _NOTED):
                few = due[start : start + _NOTED]
                await self._database.write(profile, partial(_note, due=few))
        finally:
            CURRENT.reset(event)


async def _note(session: Session, *, due: Sequence[DueKey]) -> None:
    """Schedule deletions for the beginning of time, which every version takes for due."""
    for kid, deletes in due:
        now = await load_record(session, kid)
        if now is not None and now.deletes == deletes:  # and not restored meanwhile
            noted = replace(now, deletes=0)
            await session.replace(DELETION, noted.kid, b"", deletion_tags(noted))
            await replace_record(session, noted)
