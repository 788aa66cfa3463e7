"""Makes next keys, replaces keys by their successors, and retires them: on request, or when due.

A key with a next step (`KeyRecord.next_step`) has an entry of `ROTATION` under its kid, whose tag
`~at` is the time at which a sweep looks at it: the time of the step, or later if it failed then.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final, TypeAlias

from minikms.errors import TooEarly
from minikms.events import set_key, set_new_key, set_operation
from minikms.key_bounds import SECOND
from minikms.key_requests import KeyRef
from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord
from minikms.store.askar.errors import UndecryptableError
from minikms.store.askar.sequence import seq_of
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.categories import ALIAS, KEY, ROTATION
from minikms.store.database import Database
from minikms.store.keys.checks import CheckVersions
from minikms.store.keys.deletions import Deletions, drop_next, next_of
from minikms.store.keys.due_entries import (
    NotDueError,
    due_filter,
    postpone_rotation,
)
from minikms.store.keys.entries import (
    alias_entry,
    fetch_record,
    find_named,
    find_record,
    insert_key,
    load_record,
    replace_scheduled,
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
        *,
        keep_schedule: bool = False,
        if_published: int | None = None,
    ) -> KeyRecord:
        """Let its next key, or a `successor`, replace a key; return the record of the new key.

        The old key becomes `verify-only` and loses its aliases. `successor` makes the new key from
        the record of the old one, within the transaction, and may raise. With `check`, the old key
        stays enabled, and the alias of `ref` keeps all its versions; `check` is called before the
        change; if it raises, nothing changes. A new rotation period begins, unless `keep_schedule`.
        With `if_published`, in seconds, the next key must exist since then, else TooEarly. Raises
        KeyNotFound, AliasNotFound, TooManyKeys, TooManyAliases and TooLargeRecord, and
        UnsupportedOperation and KeyNotUsable for a key that cannot be rotated.
        """

        async def work(session: Transaction) -> KeyRecord:
            known = {}
            if ref.alias is None:
                old = await find_record(session, ref)
            else:
                old, known[ref.alias] = await find_named(session, ref.alias)
            set_key(old.kid, old.alg)
            old.require_rotatable()
            following = await next_of(session, old)
            if if_published is not None:
                _require_published(following, if_published)
            named = await versions_of(session, old, known)
            if check is not None:
                alias = ref.alias or ""
                check(old, named[alias])
                named[alias] = replace(named[alias], kept=True)
                named[alias].require_room(len(old.aliases))
            made = following or successor
            rotates = old.rotates if keep_schedule else None
            enabled = check is not None
            return await _replace_key(session, old, made, named, enabled=enabled, rotates=rotates)

        return await self._deletions.write(profile, work)

    async def make_next(self, profile: str, kid: str, successor: Successor) -> KeyRecord:
        """Store the `successor` of a key as its next key, unless it has one; return that record.

        Raises KeyNotFound, TooManyKeys and TooLargeRecord, and UnsupportedOperation and
        KeyNotUsable for a key that cannot be rotated.
        """

        async def work(session: Transaction) -> KeyRecord:
            old = await find_record(session, KeyRef(kid=kid))
            set_key(old.kid, old.alg)
            old.require_rotatable()
            following = await next_of(session, old)
            if following is None:
                return await _insert_next(session, old, successor)
            set_new_key(following.kid)
            return following

        return await self._deletions.write(profile, work)

    async def due(self, profile: str) -> list[str]:
        """The kids of up to 1,000 keys whose next step is due."""

        async def work(session: Session) -> list[str]:
            rows = await session.fetch_all(ROTATION, due_filter(), _DUE)
            if not rows:
                await require_profile(session)
            return [row.name for row in rows]

        return await self._database.run(profile, work)

    async def take_step(self, profile: str, kid: str, successor: Successor) -> KeyRecord:
        """Do what is due with a key; return the record of its next key, its new key, or its own.

        The event of the call gets the operation. See `make_next` and `rotate`. After a rotation,
        the old key stays enabled if the Vault door has changed one of its names, as by
        `rotate_name`. Raises NotDueError, TooManyAliases and TooLargeRecord, and NotRotatableError
        for a key that does not exist or, unless it retires, has no alias, is not enabled, or has a
        soft-deleted name.
        """

        async def work(session: Transaction) -> KeyRecord:
            old = await load_record(session, kid)
            if old is None:
                raise NotRotatableError
            step, now = old.next_step, time.time_ns()
            if step is None or step.at > now:
                raise NotDueError
            set_key(old.kid, old.alg)
            set_operation(step.call)
            if step.call == "retireKey":
                retired = replace(old, state="disabled")
                await replace_scheduled(session, old, retired)
                return retired
            if not old.aliases or old.state != "enabled" or old.deletes is not None:
                raise NotRotatableError
            old.require_rotatable()
            named = await versions_of(session, old)
            if any(each.soft_deleted for each in named.values()):
                raise NotRotatableError
            following = await next_of(session, old)
            if old.publish_ahead is not None:
                if following is None:
                    set_operation("nextKey")
                    return await _insert_next(session, old, successor)
                if following.created + old.publish_ahead * SECOND > now:
                    raise NotDueError
            kept, made = any(each.kept for each in named.values()), following or successor
            return await _replace_key(session, old, made, named, enabled=kept, scheduled=True)

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
    """End the schedule of a key, and remove its next key."""
    before = await fetch_record(session, kid)
    record = await drop_next(session, before)
    await replace_scheduled(session, before, record.rotating(None))


async def after_next(session: Transaction, record: KeyRecord) -> KeyRecord:
    """Return a changed record with a scheduled rotation that waits until its next key is known."""
    following = await next_of(session, record)
    if following is None or record.rotates is None or record.publish_ahead is None:
        return record
    published = following.created + record.publish_ahead * SECOND
    return replace(record, rotates=max(record.rotates, published))


def _require_published(following: KeyRecord | None, seconds: int) -> None:
    """Raise TooEarly unless a next key has been published for so many seconds."""
    if following is None:
        raise TooEarly("The key has no next key.")
    for_now = (time.time_ns() - following.created) // SECOND
    if for_now < seconds:
        raise TooEarly(f"The next key has been published for {max(for_now, 0):,} seconds.")


async def _insert_next(session: Transaction, old: KeyRecord, successor: Successor) -> KeyRecord:
    """Store the `successor` of a key as its next key; return the successor's record."""
    if session.settings.max_keys is not None:
        await require_room(session)
    record, material = successor(old)
    stored = replace(record.as_next_of(old), seq=seq_of(session.next_place()))
    await insert_key(session, stored, material)
    await replace_scheduled(session, old, old.with_next(stored.kid))
    set_new_key(stored.kid)
    return stored


async def _replace_key(
    session: Transaction,
    old: KeyRecord,
    made: KeyRecord | Successor,
    named: Mapping[str, KeyVersions],
    *,
    enabled: bool,
    scheduled: bool = False,
    rotates: int | None = None,
) -> KeyRecord:
    """Let a key take the place of `old`, with its aliases; return the new key's record.

    `made` is the record of the next key, or makes a new key. The old key stays `enabled`, or
    becomes `verify-only`. `named` has the versions of its aliases. The new key rotates next at
    `rotates`, by default after a period. Raises TooManyKeys, TooManyAliases and TooLargeRecord.
    """
    if isinstance(made, KeyRecord):
        record, material = made, None
    else:
        if session.settings.max_keys is not None:
            await require_room(session)
        record, material = made(old)
    number = len(old.aliases)
    after = {alias: each.followed_by(record.kid, number) for alias, each in named.items()}
    stored = record.succeeding(old, scheduled=scheduled, rotates=rotates)
    if material is None:
        await replace_scheduled(session, record, stored)
    else:
        stored = replace(stored, seq=seq_of(session.next_place()))
        await insert_key(session, stored, material)
    for alias, versions in after.items():
        await session.replace(ALIAS, alias_entry(alias), versions.to_bytes())
    await replace_scheduled(session, old, old.succeeded(enabled=enabled))
    set_new_key(stored.kid)
    return stored
