"""Ends a key: at once, or at a scheduled time."""

import time
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

from minikms.errors import Forbidden, ProfileFrozen
from minikms.events import CURRENT, AuditEvent, set_key
from minikms.key_requests import KeyRef
from minikms.profile_settings import DELETE_SCOPE
from minikms.records import KeyRecord, State
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.categories import DELETION
from minikms.store.database import Database
from minikms.store.keys.approvals import GuardedUse, take_approval
from minikms.store.keys.checks import Check, no_check
from minikms.store.keys.due_entries import (
    NotDueError,
    due_filter,
    insert_deletion,
    replace_deletion,
)
from minikms.store.keys.entries import (
    DueError,
    DueKey,
    find_record,
    load_record,
    remove_key,
    replace_record,
    replace_scheduled,
)
from minikms.store.profiles.marker import require_profile
from minikms.store.reads import Read
from minikms.store.writes import Work

ResultT = TypeVar("ResultT")

# The number of keys due for deletion that one call reads.
_DUE: Final = 1000

# The number of keys that one transaction records as due.
_RECORDED: Final = 100


class Deletions:
    """Deletes keys, now or later; all methods raise ProfileNotFound and StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def delete(self, profile: str, ref: KeyRef, *, may_delete: bool = False) -> KeyRecord:
        """Remove a key, its material and its aliases; return its record.

        A key of a provider is gone for callers at once, and `remove_due` removes it. If the profile
        requires a delay, the deletion is scheduled, and the record has its time. Raises KeyNotFound
        and AliasNotFound, and Forbidden if the profile requires the scope `keys:delete`, which the
        caller has with `may_delete`.
        """

        async def work(session: Transaction) -> KeyRecord:
            deletes = time_of_deletion(session, may_delete=may_delete)
            record = await find_record(session, ref)
            set_key(record.kid, record.alg)
            return await delete_key(session, record, deletes)

        return await self.write(profile, work)

    async def schedule(
        self,
        profile: str,
        ref: KeyRef,
        deletes: int | None,
        *,
        state: State | None = None,
        check: Check = no_check,
        may_delete: bool = False,
        after: int = 0,
    ) -> KeyRecord:
        """Schedule a key's deletion for `deletes`, or cancel it for None; return its record.

        A next key is deleted at once, and the next key of a key with the key's schedule. Its state
        becomes `state`, or stays for None. `check` is called with its record first, and may raise.
        `after` is the delay in seconds that approvers are asked for.
        Raises KeyNotFound and AliasNotFound. The settings of the profile apply as in
        `delete`.
        """

        async def work(session: Transaction) -> KeyRecord:
            due = deletes
            if due is not None:
                due = max(due, time_of_deletion(session, may_delete=may_delete) or 0)
            record = await find_record(session, ref)
            set_key(record.kid, record.alg)
            check(record)
            changed = replace(record, state=state or record.state)
            if due is None:
                return await schedule(session, changed, None)
            return await delete_key(session, changed, due, after=after)

        return await self.write(profile, work)

    async def due(self, profile: str, *, besides: int = 0) -> list[str]:
        """The kids of up to 1,000 keys whose deletion is due, and of `besides` more."""

        async def work(session: Session) -> list[str]:
            rows = await session.fetch_all(DELETION, due_filter(), _DUE + besides)
            if not rows:
                await require_profile(session)
            return [row.name for row in rows]

        return await self._database.run(profile, work)

    async def remove_due(
        self,
        profile: str,
        kid: str,
        object_id: str | None = None,
        destruction: AuditEvent | None = None,
    ) -> bool:
        """Remove a key whose deletion is due; False if it is not due or does not exist.

        A key of a provider is removed only if `object_id` is the identifier of its object, which is
        destroyed or stays. The event of its `destruction` is recorded with the removal.
        """

        async def work(session: Transaction) -> None:
            record = await load_record(session, kid)
            if record is None or not record.is_gone or record.object_id != object_id:
                raise NotDueError  # so that the event of the call is not recorded as a success
            await remove_key(session, record)
            if destruction is not None:
                session.events.append(destruction)

        with suppress(NotDueError):
            await self._database.write(profile, work)
            return True
        return False

    # Calls that find a due key

    async def write(
        self, profile: str, work: Work[ResultT], timeout: float | None = None
    ) -> ResultT:
        """The result of `Database.write`; record a deletion that `work` finds due."""
        return await self._recorded(profile, self._database.write(profile, work, timeout=timeout))

    async def read(self, profile: str, work: Read[ResultT]) -> ResultT:
        """The result of `Database.read`; record a deletion that `work` finds due."""
        return await self._recorded(profile, self._database.read(profile, work))

    async def _recorded(self, profile: str, call: Awaitable[ResultT]) -> ResultT:
        try:
            return await call
        except DueError as due:
            await self.record(profile, [due.key])
            raise due.error from None

    async def record(self, profile: str, due: Sequence[DueKey]) -> None:
        """Record deletions as due, before the caller learns that the keys are gone.

        A key is gone once its deletion is due, but stays in the store until it is removed. If the
        clock goes back meanwhile, the key must stay gone: in other processes, and after a restart.
        So its deletion is scheduled for the beginning of time, which every version treats as due.
        In a frozen profile, nothing is recorded.
        """
        outer = CURRENT.set(None)  # the call did not ask for this change
        try:
            for start in range(0, len(due), _RECORDED):
                some = due[start : start + _RECORDED]
                with suppress(ProfileFrozen):
                    await self._database.write(profile, partial(_record, due=some))
        finally:
            CURRENT.reset(outer)


def time_of_deletion(session: Transaction, *, may_delete: bool) -> int | None:
    """The earliest time at which a key may be deleted, by the profile's settings; None for now.

    `may_delete` says that the caller has the scope `keys:delete`. Raises Forbidden if the profile
    requires it.
    """
    settings = session.settings
    if settings.delete_scope and not may_delete:
        raise Forbidden(DELETE_SCOPE)
    delay = settings.min_deletion_delay
    return time.time_ns() + delay * 10**9 if delay else None


async def delete_key(
    session: Transaction, record: KeyRecord, deletes: int | None, *, after: int = 0
) -> KeyRecord:
    """Remove a key for None, or schedule its deletion; return its record.

    A next key is removed at once, and so is the next key of a key. A key of a provider is gone for
    callers, but stays in the store until its object is destroyed. Raises UnapprovedError if the
    rules of the key require an approval; it is asked for with the delay of the profile or, if that
    is longer, with the caller's: `after`, in seconds.
    """
    approval = None if record.rules is None else record.rules.approval
    if approval is not None and approval.delete:
        delay = max(after, session.settings.min_deletion_delay or 0)
        await take_approval(session, record, GuardedUse("delete", ({"after": delay},)))
    if record.follows is not None:
        await _leave(session, record, record.follows)
    elif deletes is not None:
        return await schedule(session, record, deletes)
    await _end(session, await drop_next(session, record))
    return replace(record, deletes=None)


async def _end(session: Transaction, record: KeyRecord) -> None:
    """Remove a key, or let the key of a provider be removed once its object is destroyed."""
    if record.provider is None:
        await remove_key(session, record)
    else:
        await schedule(session, record, 0)
        session.ended.append(record.kid)


async def drop_next(session: Transaction, record: KeyRecord) -> KeyRecord:
    """Remove the next key of a key; return the key's record without it, which is not stored."""
    following = await next_of(session, record)
    if following is not None:
        await _end(session, following)
    return record.with_next(None)


async def next_of(session: Session, record: KeyRecord) -> KeyRecord | None:
    """The record of a key's next key; None if there is none."""
    if record.next_kid is None:
        return None
    found = await load_record(session, record.next_kid)
    # A process of version 0.4 may have deleted it.
    return None if found is None or found.follows != record.kid or found.is_scheduled else found


async def _leave(session: Transaction, following: KeyRecord, kid: str) -> None:
    """Let the key that a next key follows have no next key any more."""
    before = await load_record(session, kid)
    if before is not None and before.next_kid == following.kid:
        await replace_scheduled(session, before, before.with_next(None))


async def schedule(session: Transaction, record: KeyRecord, deletes: int | None) -> KeyRecord:
    """Schedule the deletion of a key, or cancel it for None; return its record."""
    before = record
    if deletes is not None:
        record = await drop_next(session, record)
    if record.deletes is not None:
        await session.remove(DELETION, record.kid)
    record = record.deleted_at(deletes)
    await insert_deletion(session, record)
    await replace_scheduled(session, before, record)
    return record


async def _record(session: Transaction, due: Sequence[DueKey]) -> None:
    """Schedule deletions for the beginning of time, unless they were cancelled meanwhile."""
    for kid, deletes in due:
        now = await load_record(session, kid)
        if now is not None and now.deletes == deletes:
            await replace_record(session, await replace_deletion(session, now, 0))
