"""Entries by which a sweep finds keys: scheduled deletions and rotations, by time."""

import time
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from minikms.key_bounds import SECOND
from minikms.records import KeyRecord
from minikms.store.askar.errors import UndecryptableError
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.categories import DELETION, ROTATION

# Nanoseconds until a sweep tries again to take a due step that failed.
POSTPONED: Final = 3600 * SECOND


class NotDueError(Exception):
    """A key is not due for rotation or removal, or another process was first."""


def deletion_tags(record: KeyRecord) -> dict[str, str]:
    """The tags by which a scheduled deletion is found; empty if no deletion is scheduled."""
    return {} if record.deletes is None else {"~at": f"{record.deletes:020d}"}


def due_filter() -> dict[str, Any]:
    """The filter of scheduled deletions, or rotations, that are due."""
    return {"~at": {"$lte": f"{max(time.time_ns(), 0):020d}"}}


async def insert_deletion(session: Transaction, record: KeyRecord) -> None:
    """Insert the scheduled deletion of a key, if it has one, so that it is found without a scan."""
    if record.deletes is not None:
        session.due.add(record.deletes)
        await session.insert(DELETION, record.kid, b"", deletion_tags(record))


async def replace_deletion(session: Transaction, record: KeyRecord, deletes: int) -> KeyRecord:
    """Replace the time of a scheduled deletion; return the key's record, which is not stored."""
    record = replace(record, deletes=deletes)
    session.due.add(deletes)
    await session.replace(DELETION, record.kid, b"", deletion_tags(record))
    return record


def _rotation_tags(at: int) -> dict[str, str]:
    """The tags by which a sweep finds a key for its rotation."""
    return {"~at": f"{at:020d}"}


async def set_rotation(session: Transaction, kid: str, at: int | None) -> None:
    """Store the time at which a sweep looks at a key for its rotation, or remove it for None.

    Its entry may be missing or damaged, which the record survives.
    """
    exists = True
    with suppress(UndecryptableError):
        exists = await session.fetch(ROTATION, kid) is not None
    if at is None:
        if exists:
            await session.remove(ROTATION, kid)
        return
    session.due.add(at)
    if exists:
        await session.replace(ROTATION, kid, b"", _rotation_tags(at))
    else:
        await session.insert(ROTATION, kid, b"", _rotation_tags(at))


async def postpone_rotation(session: Transaction, kid: str, until: int) -> None:
    """Let sweeps look at a key for its rotation later than its record says."""
    session.due.add(until)
    await session.replace(ROTATION, kid, b"", _rotation_tags(until), cached=False)


async def due_before(session: Session, end: int) -> set[int]:
    """The times before `end` at which a sweep has to look at the keys of a profile."""
    tag_filter = {"~at": {"$lt": f"{max(end, 0):020d}"}}
    found = await session.fetch_all(DELETION, tag_filter)
    found += await session.fetch_all(ROTATION, tag_filter)
    return {int(row.tags["~at"]) for row in found}
