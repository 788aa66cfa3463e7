"""Writes to profiles: writes that wait at the same time share a transaction.

A transaction costs more than most writes in it, and writers of one profile wait for each other in
every database. So waiting writes are done together, in the order of their arrival. A write that
comes alone does not wait.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from aries_askar import AskarError, AskarErrorCode

from minikms.errors import KmsError, ProfileFrozen, StoreUnavailable
from minikms.events import CURRENT, AuditEvent, set_profile_id
from minikms.profile_settings import NO_SETTINGS
from minikms.store.approval_checks import ApprovalChecks
from minikms.store.askar.sequence import CONTENTS, Sequence, slot_of
from minikms.store.askar.sessions import Transaction
from minikms.store.categories import PROFILE
from minikms.store.connections.calls import LOST, StoreCalls
from minikms.store.connections.counters import ChangeCounters
from minikms.store.profiles.directory import ProfileDirectory
from minikms.store.profiles.due_hours import DueHours, UnlistedError
from minikms.store.profiles.marker import StaleProfileError, require_profile

ResultT = TypeVar("ResultT")
Work: TypeAlias = Callable[[Transaction], Awaitable[ResultT]]

# The bounds of a transaction: writes, bytes that they store, and seconds, so that no caller waits
# much longer than for a transaction of its own. Later writes wait for the next one.
_MOST: Final = 64
_BYTES: Final = 1024 * 1024
_SECONDS: Final = 0.25

# The number of profiles whose sequence is remembered.
_SEQUENCES: Final = 1000

_UNKNOWN: Final = Sequence(), 0, 0


@dataclass(slots=True, eq=False)
class _Write:
    """A write, the event of its call, and the future that its caller waits for.

    `value` is the result of `work` before the commit. A write that was rolled back with a failed
    one becomes `is_alone`: no other write joins it.
    """

    work: Work[Any]
    future: "asyncio.Future[Any]"
    event: AuditEvent | None
    value: Any = None
    is_alone: bool = False

    def fail(self, exc: BaseException) -> None:
        """Raise `exc` for the caller, unless it has its result or is gone."""
        if not self.future.done():
            self.future.set_exception(exc)


class _RollBack(Exception):
    """A write failed after it had written something; its caller has the error."""


class Writes:
    """Runs writes in profiles: waiting ones in one transaction, a long one in its own."""

    def __init__(
        self,
        calls: StoreCalls,
        directory: ProfileDirectory,
        counters: ChangeCounters,
        due_hours: DueHours,
        approval_checks: ApprovalChecks,
    ) -> None:
        self._calls = calls
        self._approval_checks = approval_checks
        self._due_hours = due_hours
        self._directory = directory
        self._counters = counters
        self._waiting: dict[str, deque[_Write]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # The sequence of each Askar profile, with the values of two counters. The sequence is
        # current while the counters have these values.
        self._sequences: dict[str, tuple[Sequence, int, int]] = {}

    @property
    def waiting(self) -> int:
        """The number of writes that no transaction has taken yet."""
        return sum(map(len, self._waiting.values()))

    async def write(
        self, profile: str, work: Work[ResultT], *, timeout: float | None = None
    ) -> ResultT:
        """Run `work` in a write transaction, which it may share; return its result.

        `work` is called again if another process has remade the profile, or if another write of its
        transaction has failed. It is not called if the caller leaves before the transaction begins.
        If `timeout` is given, it has that many seconds and a transaction of its own. Raises
        ProfileNotFound, and ProfileFrozen if it has written in a frozen profile.
        """
        if timeout is not None:
            return await self.alone(profile, work, timeout)
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        write = _Write(work, future, CURRENT.get())
        waiting = self._waiting.get(profile)
        if waiting is not None:
            waiting.append(write)
        else:
            self._waiting[profile] = waiting = deque([write])
            # In a context of its own, since it works for several calls.
            context = contextvars.Context()
            task = asyncio.create_task(self._empty(profile, waiting), context=context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await future

    def alone(
        self, profile: str, work: Work[ResultT], timeout: float | None = None
    ) -> Coroutine[Any, Any, ResultT]:
        """The result of `work`, in a transaction of its own, which has `timeout` seconds."""
        call = partial(self._in_transaction, profile, work)
        return self._calls.run(call, write=True, timeout=timeout)

    async def _empty(self, profile: str, waiting: deque[_Write]) -> None:
        """Do the waiting writes, group by group."""
        while waiting:
            group = [waiting.popleft()]
            joining = deque[_Write]() if group[0].is_alone else waiting
            work = partial(self._do, profile, group, joining)
            try:
                await self.alone(profile, work)
            except _RollBack:
                again = [write for write in group if not write.future.done()]
                for write in again:
                    write.is_alone = True
                waiting.extendleft(reversed(again))
            except Exception as exc:
                for write in group:
                    write.fail(exc)
                # Nothing of the other writes was sent, even if the group's outcome is unknown.
                if isinstance(exc, KmsError) and exc.outcome:
                    exc = StoreUnavailable()
                while waiting:
                    waiting.popleft().fail(exc)
            else:
                for write in group:
                    if not write.future.done():
                        write.future.set_result(write.value)
        del self._waiting[profile]

    async def _do(
        self,
        profile: str,
        group: list[_Write],
        waiting: deque[_Write],
        transaction: Transaction,
    ) -> None:
        """Do the writes of a group in a transaction; waiting writes join the group.

        A write that fails before it has written anything fails alone. If it fails later, _RollBack
        or AskarError is raised, and no write is done; then it may be called again.
        """
        for write in self._next(transaction, group, waiting):
            written, outer = transaction.written, CURRENT.set(write.event)
            set_profile_id(profile, self._directory.ids.get(profile))
            try:
                write.value = await write.work(transaction)
                if write.event is not None:
                    transaction.events.append(write.event)
            except StaleProfileError:
                raise
            except AskarError as exc:
                if exc.code in LOST:
                    raise
                if exc.code is AskarErrorCode.NOT_FOUND:
                    await require_profile(transaction)
                write.fail(exc)
                raise _RollBack from None
            except Exception as exc:
                write.fail(exc)
                if transaction.written != written:
                    raise _RollBack from None
            finally:
                CURRENT.reset(outer)

    def _next(
        self, transaction: Transaction, group: list[_Write], waiting: deque[_Write]
    ) -> Iterator[_Write]:
        """Yield the group's writes, then waiting writes, which join it; skip callers who left."""
        for write in list(group):
            if not write.future.done():
                yield write
        until = time.monotonic() + _SECONDS
        while waiting and len(group) < _MOST and transaction.size < _BYTES:
            if time.monotonic() > until:
                return
            group.append(write := waiting.popleft())
            if not write.future.done():
                yield write

    async def _in_transaction(self, profile: str, work: Work[ResultT]) -> ResultT:
        """Call `work` in a transaction; again if another process has remade the profile.

        If it has written in a frozen profile, it is rolled back, and ProfileFrozen is raised. The
        settings are what this process remembers, which may be older than the sequence.
        If keys become due by it in an hour that is not listed, it is rolled back, and called again
        once the hour is.
        """
        directory = self._directory
        askar_profile = directory.known(profile) or await directory.look_up(profile)
        slots = slot_of(CONTENTS, profile), slot_of(PROFILE, profile)
        while True:
            try:
                async with self._calls.transaction(askar_profile, profile) as transaction:
                    stored = await self._sequence(transaction, askar_profile, slots)
                    transaction.stored, transaction.place = stored, stored.place
                    transaction.approval_checks = self._approval_checks
                    settings = transaction.settings = directory.settings.get(profile, NO_SETTINGS)
                    if settings.max_keys is not None:
                        transaction.keys = stored.keys
                    result = await work(transaction)
                    if transaction.written and (stored.frozen or settings.frozen):
                        raise ProfileFrozen()
                    self._due_hours.require(profile, transaction.due)
            except UnlistedError as exc:
                await self._due_hours.store(exc.hours)
            except (AskarError, StaleProfileError) as exc:
                askar_profile = await directory.successor(profile, askar_profile, exc)
            else:
                # Before another process may write.
                sequence = Sequence(transaction.place, keys=transaction.keys, frozen=stored.frozen)
                self._remember(askar_profile, slots, sequence)
                return result

    async def _sequence(
        self, transaction: Transaction, askar_profile: str, slots: tuple[int, int]
    ) -> Sequence:
        """The sequence of a profile; it is read, with its log, unless this process knows it.

        Raises StaleProfileError if the profile no longer exists.
        """
        values = self._counters.values
        known, contents, profile = self._sequences.get(askar_profile, _UNKNOWN)
        if known.place and contents == values[slots[0]] and profile == values[slots[1]]:
            return known
        sequence = await transaction.sequence()
        # SQLite gives the number of a removed profile to the next new one, and an older session
        # would write there. The sequence has no place then.
        if not sequence.place:
            await require_profile(transaction)
        return sequence

    def _remember(self, askar_profile: str, slots: tuple[int, int], sequence: Sequence) -> None:
        values = self._counters.values
        contents, profile = values[slots[0]], values[slots[1]]
        # Another process may have written, and its change is not counted yet.
        if self._counters.needs_ttl or contents % 2 or profile % 2:
            return
        self._sequences.pop(askar_profile, None)
        self._sequences[askar_profile] = sequence, contents, profile
        if len(self._sequences) > _SEQUENCES:
            del self._sequences[next(iter(self._sequences))]
