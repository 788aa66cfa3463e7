"""Runs calls of Askar's: on a connection, within a time limit, in a session or a transaction."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

from aries_askar import AskarError, AskarErrorCode

from minikms.errors import KeyUnreadable, StoreUnavailable
from minikms.events import CURRENT, record_together
from minikms.store.askar.errors import UndecryptableError, cause_of, message_of
from minikms.store.askar.layout import SYSTEM, require_not_rekeyed
from minikms.store.askar.postgres import TableStatistics
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.connections.counters import ChangeCounters
from minikms.store.connections.pool import StorePool

LOGGER = logging.getLogger(__name__)

ResultT = TypeVar("ResultT")

# Seconds for a call that concerns all keys of a profile or of the store.
LONG_TIMEOUT: Final = 60.0

KINDS: Final = ("read", "write", "many")
"""The kinds by which calls are timed; calls of the last one may concern many keys."""

# The codes of a connection that is lost.
LOST: Final = (AskarErrorCode.BACKEND, AskarErrorCode.BUSY)


@dataclass(slots=True, eq=False)
class _Call:
    """A call under way: whether it has sent a commit, or its caller gave up before."""

    commit_sent: bool = False
    given_up: bool = False


class StoreCalls:
    """Runs calls on the connections of a pool.

    Every call raises StoreUnavailable if it waits too long for a connection, or if the database
    does not answer in time. `rekeyed` is the store's note of its last change of key, as this
    process knows it. `on_ended` is called with a profile and the kids of deleted providers' keys,
    whose objects are still to be destroyed. `on_removed` is called with the places of removed keys.
    """

    def __init__(self, pool: StorePool, counters: ChangeCounters, rekeyed: bytes = b"") -> None:
        self.pool = pool
        self.rekeyed = rekeyed
        self.statistics = TableStatistics(pool.location)
        self.on_ended: Callable[[str | None, Iterable[str]], None] = lambda _, __: None
        self.on_removed: Callable[[str, Iterable[int]], None] = lambda _, __: None
        # By Askar's name of their profile, which is never used twice.
        self.sealing_keys: dict[str, bytes] = {}
        self._counters = counters
        self._under_way: dict[asyncio.Task[Any], _Call] = {}

    async def run(
        self,
        call: Callable[[], Coroutine[Any, Any, ResultT]],
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> ResultT:
        """Run a call on a connection, and give its result.

        The call goes on if its caller stops waiting: Askar's calls cannot be cancelled, and the
        session must be closed. A call that only reads an SQLite file is run again with the writer
        lock: reading needs no lock, but opening a connection may.
        """
        try:
            release = await self.pool.acquire(write=write)
            kind = "many" if timeout else "write" if write else "read"
            return await self._run(call(), release, kind, timeout)
        except StoreUnavailable:
            if write or self.pool.writer_lock is None:
                raise
        return await self.run(call, write=True, timeout=timeout)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Hold a connection for reading until the end of the block."""
        release = await self.pool.acquire(write=False)
        try:
            yield
        finally:
            release()

    async def run_held(self, call: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a call on a connection that the caller holds."""
        return await self._run(call, lambda: None, "read")

    async def _run(
        self,
        call: Coroutine[Any, Any, ResultT],
        release: Callable[[], None],
        kind: str,
        timeout: float | None = None,
    ) -> ResultT:
        began, task = time.monotonic(), self.begin(call)
        task.add_done_callback(lambda _: release())
        state = self._under_way[task]
        finished, _ = await asyncio.wait({task}, timeout=timeout or self.pool.timeout)
        self.pool.observe(kind, time.monotonic() - began)
        if not finished:
            state.given_up = not state.commit_sent
            self.pool.on_silence()
            raise StoreUnavailable("The key store does not answer.", unknown=state.commit_sent)
        try:
            return task.result()
        except AskarError as exc:
            if exc.code not in LOST:
                raise
            refusal = self.pool.on_error(exc, time.monotonic() - began)
            raise refusal(unknown=state.commit_sent) from exc
        except StoreUnavailable as exc:
            if state.commit_sent and not exc.outcome:  # in a later transaction of the call
                raise StoreUnavailable(unknown=True) from exc
            raise

    def begin(self, call: Coroutine[Any, Any, ResultT]) -> "asyncio.Task[ResultT]":
        """Begin a call of Askar's, which goes on if its caller is cancelled."""
        self._under_way[task := asyncio.create_task(call)] = _Call()
        task.add_done_callback(self._end)
        return task

    def _end(self, task: "asyncio.Task[Any]") -> None:
        del self._under_way[task]
        if not task.cancelled() and isinstance(task.exception(), AskarError):
            LOGGER.debug("the store refused a call: %s", task.exception())

    async def drain(self) -> None:
        """Wait for the calls that are under way."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    @asynccontextmanager
    async def session(self, askar_profile: str = SYSTEM) -> AsyncIterator[Session]:
        """A session on a profile; raises KeyUnreadable if the profile's key does not decrypt."""
        async with AsyncExitStack() as stack:
            try:
                session = await stack.enter_async_context(self.pool.store.session(askar_profile))
            except UndecryptableError:
                await self._refuse_undecryptable()
            yield Session(session, self.sealing_keys.get(askar_profile, b""))

    @asynccontextmanager
    async def transaction(
        self, askar_profile: str = SYSTEM, profile: str | None = None
    ) -> AsyncIterator[Transaction]:
        """A transaction that is committed at the end, and rolled back if anything is raised.

        `askar_profile` is Askar's name of `profile`, which is None for the store's own. All audit
        events of changes are recorded here, before the commit; a change is counted, and other
        processes are notified, after it.
        """
        self.pool.require_room()
        store, event = self.pool.store, CURRENT.get()
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(store.transaction(askar_profile))
            except AskarError as exc:
                self.pool.on_failure(store, exc)
                if isinstance(exc, UndecryptableError):
                    await self._refuse_undecryptable()
                raise
            events = [] if event is None else [event]
            transaction = Transaction(
                opened,
                profile,
                events,
                self.sealing_keys.get(askar_profile, b""),
                logs_changes=self._counters.needs_ttl,
            )
            try:
                yield transaction
                doubled = await transaction.store_sequence()
            except AskarError as exc:
                self.pool.on_failure(store, exc)
                raise
            self._begin_commit()
            record_together(transaction.events)
            async with self._counters.changing(transaction.changed):
                try:
                    await transaction.commit()
                except AskarError as exc:
                    self.pool.on_failure(store, exc)
                    self.pool.errors[cause_of(message_of(exc))] += 1
                    # The transaction may have been committed, so it must not be tried again.
                    raise StoreUnavailable(unknown=True) from exc
            if transaction.stored is not None:
                self._counters.note_write(profile, transaction.stored, transaction.left)
            self.pool.writes_fail, self.pool.is_writable = False, True
            self.pool.commits += 1
            if doubled:
                self.statistics.note_doubled(transaction.place)
            if transaction.ended and profile is not None:
                self.on_ended(profile, transaction.ended)
            if transaction.removed and profile is not None:
                self.on_removed(profile, transaction.removed)

    def _begin_commit(self) -> None:
        """Note that the call under way sends a commit.

        Raises StoreUnavailable if its caller has given up, and was told that nothing was changed.
        """
        task = asyncio.current_task()
        call = None if task is None else self._under_way.get(task)
        if call is not None:
            if call.given_up:
                raise StoreUnavailable()
            call.commit_sent = True

    async def require_own_key(self, session: Session) -> None:
        """Raise StoreUnavailable if the store's key was changed since the store was opened."""
        await require_not_rekeyed(session, self.rekeyed)

    async def _refuse_undecryptable(self) -> NoReturn:
        """Raise for a profile whose key does not decrypt: the store's key may have changed."""
        async with self.pool.store.session() as session:
            await self.require_own_key(Session(session))
        raise KeyUnreadable("The profile does not decrypt.") from None
