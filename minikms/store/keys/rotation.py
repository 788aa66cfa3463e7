"""Replaces a key by its successor, on request or when its scheduled rotation is due.

A key with `rotates` has an entry of `ROTATION` under its kid, whose tag `~at` is the time at which
a sweep looks at it: `rotates`, or later if it could not be rotated then.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeAlias

from minikms.events import set_key, set_new_key
from minikms.key_requests import KeyRef
from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord
from minikms.store.askar.errors import UndecryptableError
from minikms.store.askar.sequence import seq_of
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.categories import ALIAS, KEY, ROTATION
from minikms.store.database import Database
from minikms.store.keys.checks import CheckVersions
from minikms.store.keys.deletions import Deletions
from minikms.store.keys.due_entries import (
    NotDueError,
    due_filter,
    postpone_rotation,
    set_rotation,
)
from minikms.store.keys.entries import (
    alias_entry,
    fetch_record,
    find_named,
    find_record,
    insert_key,
    load_record,
    replace_record,
    require_room,
    versions_of,
)
from minikms.store.profiles.marker import require_profile
from minikms.versions import KeyVersions

# Makes the successor of a key from its record; may raise.
Successor: TypeAlias = Callable[[KeyRecord], tuple[KeyRecord, Stored]]

# The number of keys due for rotation that one call reads.
_DUE: Final = 1000


class NotRotatableError(Exception):
    """The rotation of a key is due, and has to wait for a change of the key."""


class Rotations:
    """Replaces keys; all methods raise ProfileNotFound and StoreUnavailable."""

    def __init__(self, database: Database, deletions: Deletions) -> None:
        self._database = database
        self._deletions = deletions

    async def rotate(
        self,
        profile: str,
        ref: KeyRef,
        successor: Successor,
        check: CheckVersions | None = None,
    ) -> KeyRecord:
        """Store the `successor` of a key; return the successor's record.

        The old key becomes `verify-only` and loses its aliases. `successor` makes the new key from
        the record of the old one, within the transaction, and may raise. With `check`, the old key
        stays enabled, and the alias of `ref` keeps all its versions; `check` is called before the
        change; if it raises, nothing changes. Raises KeyNotFound, AliasNotFound, TooManyKeys,
        TooManyAliases and TooLargeRecord.
        """

        async def work(session: Transaction) -> KeyRecord:
            known = {}
            if ref.alias is None:
                old = await find_record(session, ref)
            else:
                old, known[ref.alias] = await find_named(session, ref.alias)
            set_key(old.kid, old.alg)
            named = await versions_of(session, old, known)
            if check is not None:
                alias = ref.alias or ""
                check(old, named[alias])
                named[alias] = replace(named[alias], kept=True)
                named[alias].require_room(len(old.aliases))
            return await _replace_key(session, old, successor, named, enabled=check is not None)

        return await self._deletions.write(profile, work)

    async def due(self, profile: str) -> list[str]:
        """The kids of up to 1,000 keys whose scheduled rotation is due."""

        async def work(session: Session) -> list[str]:
            rows = await session.fetch_all(ROTATION, due_filter(), _DUE)
            if not rows:
                await require_profile(session)
            return [row.name for row in rows]

        return await self._database.run(profile, work)

    async def rotate_due(self, profile: str, kid: str, successor: Successor) -> KeyRecord:
        """Store the `successor` of a key whose scheduled rotation is due; see `rotate`.

        The old key stays enabled if the Vault door has changed one of its names, as by
        `rotate_name`. Raises NotDueError, TooManyAliases and TooLargeRecord, and NotRotatableError
        for a key that has no alias, is not enabled, does not exist, or whose name is soft-deleted.
        """

        async def work(session: Transaction) -> KeyRecord:
            old = await load_record(session, kid)
            if old is None:
                raise NotRotatableError
            if old.rotates is None or old.rotates > time.time_ns():
                raise NotDueError
            if not old.aliases or old.state != "enabled" or old.deletes is not None:
                raise NotRotatableError
            named = await versions_of(session, old)
            if any(each.soft_deleted for each in named.values()):
                raise NotRotatableError
            set_key(old.kid, old.alg)
            kept = any(each.kept for each in named.values())
            return await _replace_key(session, old, successor, named, enabled=kept, scheduled=True)

        return await self._database.write(profile, work)

    async def postpone(self, profile: str, kid: str, until: int) -> None:
        """Leave a key out of `due` until a time in nanoseconds; its record does not change."""

        async def work(session: Transaction) -> None:
            entry = await session.fetch(ROTATION, kid, for_update=True)
            if entry is None:
                return
            with suppress(UndecryptableError):
                if await session.fetch(KEY, kid) is None:  # an older version has deleted the key
                    await session.remove(ROTATION, kid)
                    return
            # Otherwise the key was changed or postponed meanwhile.
            if int(entry.tags["~at"]) <= time.time_ns():
                await postpone_rotation(session, kid, until)

        await self._database.write(profile, work)


async def end_schedule(session: Transaction, kid: str) -> None:
    """End the scheduled rotation of a key."""
    record = await fetch_record(session, kid)
    await replace_record(session, record.rotating(None))
    await set_rotation(session, kid, None)


async def _replace_key(
    session: Transaction,
    old: KeyRecord,
    successor: Successor,
    named: Mapping[str, KeyVersions],
    *,
    enabled: bool,
    scheduled: bool = False,
) -> KeyRecord:
    """Store the `successor` of a key, with the key's aliases; return the successor's record.

    The old key stays `enabled`, or becomes `verify-only`. `named` has the versions of its aliases.
    Raises TooManyKeys, TooManyAliases and TooLargeRecord.
    """
    if session.settings.max_keys is not None:
        await require_room(session)
    record, material = successor(old)
    number = len(old.aliases)
    after = {alias: each.followed_by(record.kid, number) for alias, each in named.items()}
    succeeding = record.succeeding(old, scheduled=scheduled)
    stored = replace(succeeding, seq=seq_of(session.next_place()))
    await insert_key(session, stored, material)
    for alias, versions in after.items():
        await session.replace(ALIAS, alias_entry(alias), versions.to_bytes())
    if old.rotates is not None:
        await set_rotation(session, old.kid, None)
    await replace_record(session, old.succeeded(enabled=enabled))
    set_new_key(stored.kid)
    return stored
