"""Writes of a profile that wait at the same time share a transaction.

A transaction costs more than what most writes do in it, and the writers of a profile wait for each
other in every database. So those that wait are written together, in the order in which they came.
One that comes alone waits for nobody.
"""

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

from aries_askar import AskarError, AskarErrorCode

from minikms.errors import KmsError, StoreUnavailable
from minikms.events import CURRENT, AuditEvent
from minikms.store.directory import StaleProfileError, require_profile
from minikms.store.permits import Permits
from minikms.store.sessions import Transaction

ResultT = TypeVar("ResultT")
Work: TypeAlias = Callable[[Transaction], Awaitable[ResultT]]

# What a transaction takes at most: writes, bytes of what they store, and seconds, so that none of
# its callers waits much longer than for a transaction of its own. Those that come after these wait
# for the next one.
_MOST: Final = 64
_BYTES: Final = 1024 * 1024
_SECONDS: Final = 0.25

# Of a connection that is lost, on which nothing more can be done.
_LOST: Final = (AskarErrorCode.BACKEND, AskarErrorCode.BUSY)


@dataclass(slots=True, eq=False)
class _Write:
    """A write that waits, with the event of its call. `result` is what its caller waits for."""

    work: Work[Any]
    result: "asyncio.Future[Any]"
    event: AuditEvent | None


class WriteFailed(Exception):
    """A write failed after it had written something, so its transaction must be rolled back."""

    def __init__(self, cause: Exception) -> None:
        super().__init__()
        self.cause = cause


class WriteGroup:
    """The writes of one transaction, taken from those that wait while it runs."""

    def __init__(self, waiting: "deque[_Write]") -> None:
        self._waiting = waiting
        self._taken: list[_Write] = []
        self._results: list[tuple[_Write, Any]] = []
        self._failed: _Write | None = None
        self.has_begun = False

    async def run(self, transaction: Transaction) -> None:
        """Do the writes; raises WriteFailed and AskarError, and then none of them is done.

        A write that raises a KmsError before it has written anything fails alone. It may be called
        again where the transaction was rolled back.
        """
        self.has_begun = True
        self._results = []
        transaction.events = []
        for write in self._writes(transaction):
            written, outer = transaction.written, CURRENT.set(write.event)
            try:
                result = await write.work(transaction)
            except KmsError as exc:
                if transaction.written != written:
                    self._failed = write
                    raise WriteFailed(exc) from None
                _fail(write, exc)
            except StaleProfileError:
                raise
            except Exception as exc:
                if isinstance(exc, AskarError):
                    if exc.code in _LOST:
                        raise
                    if exc.code is AskarErrorCode.NOT_FOUND:
                        await require_profile(transaction)
                self._failed = write
                raise WriteFailed(exc) from None
            else:
                self._results.append((write, result))
                if write.event is not None:
                    transaction.events.append(write.event)
            finally:
                CURRENT.reset(outer)

    def succeed(self) -> None:
        """Give the callers their results, once the transaction is committed."""
        for write, result in self._results:
            if not write.result.done():
                write.result.set_result(result)

    def fail(self, exc: BaseException) -> None:
        """Raise `exc` for all callers without a result, including those that wait.

        If the outcome is unknown, those that wait get StoreUnavailable: nothing of theirs was sent.
        """
        for write in self._taken:
            _fail(write, exc)
        if isinstance(exc, KmsError) and exc.outcome:
            exc = StoreUnavailable()
        while self._waiting:
            _fail(self._waiting.popleft(), exc)

    def split(self, failed: WriteFailed) -> "list[WriteGroup]":
        """Raise for the caller whose write failed; gives a group for each of the other writes."""
        if self._failed is not None:
            _fail(self._failed, failed.cause)
        return [WriteGroup(deque([write])) for write in self._taken if not write.result.done()]

    def _writes(self, transaction: Transaction) -> "Iterator[_Write]":
        """Those that were taken before, then those that wait; but for callers who are gone."""
        for write in list(self._taken):
            if not write.result.done():
                yield write
        until = time.monotonic() + _SECONDS
        while self._waiting and len(self._taken) < _MOST and transaction.size < _BYTES:
            if self._taken and time.monotonic() > until:
                return
            self._taken.append(write := self._waiting.popleft())
            if not write.result.done():
                yield write


class WriteQueues:
    """The writes that wait, by profile. `commit` does those of a group, with a permit to write."""

    def __init__(
        self, permits: Permits, commit: Callable[[str, WriteGroup], Coroutine[Any, Any, None]]
    ) -> None:
        self._permits = permits
        self._commit = commit
        self._waiting: dict[str, deque[_Write]] = {}
        self._groups: dict[str, WriteGroup] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many writes wait, but for those that `Permits` counts: one for each group."""
        queued = sum(map(len, self._waiting.values()))
        return queued - sum(not group.has_begun for group in self._groups.values())

    async def run(self, profile: str, work: Work[ResultT]) -> ResultT:
        """The result of `work`, in a transaction on a profile that it shares with others.

        It is not done where its caller is gone before that begins.
        """
        result: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        write = _Write(work, result, CURRENT.get())
        waiting = self._waiting.get(profile)
        if waiting is not None:
            waiting.append(write)
        else:
            self._waiting[profile] = waiting = deque([write])
            # In a context of its own: what it does is of several calls.
            context = contextvars.Context()
            task = asyncio.create_task(self._empty(profile, waiting), context=context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await result

    async def _empty(self, profile: str, waiting: "deque[_Write]") -> None:
        """Do the writes that wait, group by group, until there are none."""
        while waiting:
            self._groups[profile] = group = WriteGroup(waiting)
            try:
                await self._permits.run(self._commit(profile, group), write=True)
            except Exception as exc:
                group.fail(exc)
        del self._waiting[profile], self._groups[profile]


def _fail(write: _Write, exc: BaseException) -> None:
    if not write.result.done():
        write.result.set_exception(exc)
