"""Entries by which a sweep finds keys: scheduled deletions and rotations, by time."""

import time
from contextlib import suppress
from typing import Any

from minikms.records import KeyRecord
from minikms.store.askar.errors import UndecryptableError
from minikms.store.askar.sessions import Transaction
from minikms.store.categories import DELETION, ROTATION


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
        await session.insert(DELETION, record.kid, b"", deletion_tags(record))


def rotation_tags(at: int) -> dict[str, str]:
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
    elif exists:
        await session.replace(ROTATION, kid, b"", rotation_tags(at))
    else:
        await session.insert(ROTATION, kid, b"", rotation_tags(at))
