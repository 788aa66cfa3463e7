"""Reads, writes, rekeys and closes an open Askar store.

It is over 300 lines, since it is the one interface of the store to the wings above.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import (
    AsyncExitStack,
    aclosing,
    asynccontextmanager,
    suppress,
)
from functools import partial
from typing import Any, Final, Self, TypeVar

from aries_askar import AskarError, KeyAlg

from minikms.basics.background import in_background
from minikms.errors import AliasNotFound, KeyNotFound, ProfileNotFound, StoreUnavailable
from minikms.startup_errors import StoreError
from minikms.store.approval_checks import ApprovalChecks
from minikms.store.askar.errors import UndecryptableError
from minikms.store.askar.files import StoreFile
from minikms.store.askar.layout import (
    SYSTEM,
    begin_making,
    finish_making,
    finish_upgrade,
    note_rekey,
    read_layout,
)
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.postgres import ServerError
from minikms.store.askar.sequence import Sequence
from minikms.store.askar.sessions import Entry, KeyEntry, Session
from minikms.store.askar.stores import check_key, close_store
from minikms.store.categories import LAST_USES, PROFILE, STORE
from minikms.store.connections import notices
from minikms.store.connections.calls import LONG_TIMEOUT, StoreCalls
from minikms.store.connections.counters import FileChangeCounters
from minikms.store.connections.pool import StorePool
from minikms.store.connections.pool_state import PoolState
from minikms.store.connections.rows import BATCH, all_rows
from minikms.store.opening import OpenedStore, make_store, open_checked
from minikms.store.profiles.arrivals import Arrivals
from minikms.store.profiles.directory import ProfileDirectory
from minikms.store.profiles.due_hours import DueHours
from minikms.store.profiles.entries import askar_name, use_tags
from minikms.store.profiles.marker import StaleProfileError, require_profile
from minikms.store.reads import Read, Reads
from minikms.store.writes import Writes

ResultT = TypeVar("ResultT")

# Seconds that opening a store waits for the process that writes.
_OPEN_TIMEOUT: Final = 5.0


class Database:
    """An open Askar store; `write` is the method of `Writes`.

    Every call raises StoreUnavailable if it waits too long for a connection, or if the database
    does not answer in time; `timeout`, in seconds, is for callers who can wait longer.
    """

    def __init__(
        self,
        opened: OpenedStore,
        *,
        timeout: float | None = None,
    ) -> None:
        location, counters, writer_lock = opened.location, opened.counters, opened.writer_lock
        self.layout = opened.layout
        self.identity = opened.identity
        self.counters = counters
        self._location = location
        self._writer_lock = writer_lock
        self._making = b""
        file = None
        if location.path and writer_lock and isinstance(counters, FileChangeCounters):
            file = StoreFile(location.path, [*writer_lock.files, counters.file])
        self._pool = StorePool(
            opened.store, location, opened.key, counters, writer_lock, file, timeout
        )
        self._calls = StoreCalls(self._pool, counters, opened.rekeyed)
        self.directory = ProfileDirectory(self._calls, counters)
        self._reads = Reads(self._calls)
        self.due_hours = DueHours(self._calls)
        self.arrivals = Arrivals(self._calls, self.directory.removals, self.due_hours)
        self.approval_checks = ApprovalChecks(opened.identity.hex())
        self._writes = Writes(
            self._calls, self.directory, counters, self.due_hours, self.approval_checks
        )
        self.write = self._writes.write

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        location: StoreLocation,
        key: StoreKey,
        *,
        timeout: float | None = None,
        serving: bool = False,
        upgrading: bool = False,
    ) -> AsyncIterator[Self]:
        """Open a store; raises StoreError, and then has changed nothing.

        No other Database of this process may have the SQLite file open (`store/askar/schema.py`).

        For `serving`, it must have this version's layout. For `upgrading`, a store of an older
        layout is marked: its upgrade has begun, and nobody else may use it. For both, processes of
        older layouts do not write to an SQLite file as long as it is open.
        """
        opened = await open_checked(location, key, serving=serving, upgrading=upgrading)
        database = cls(opened, timeout=timeout)
        async with aclosing(database):
            if serving:
                database._calls.statistics.begin_renewal()
            yield database

    @classmethod
    @asynccontextmanager
    async def create(
        cls,
        location: StoreLocation,
        key: StoreKey,
        *,
        timeout: float | None = None,
        earlier: bytes = b"",
        kept: Collection[str] = (),
    ) -> AsyncIterator[Self]:
        """Make a store; others can open it once the caller has called `finish`.

        If an earlier process did not finish the store, start again; if its mark is `earlier`, keep
        the profiles with Askar's names `kept`. Raises StoreError if the store exists already, or
        cannot be made.
        """
        opened = await make_store(location, key)
        made = cls(opened, timeout=timeout)
        async with aclosing(made) as database, AsyncExitStack() as stack:
            if location.backend == "memory":
                # The store ends with its last connection, and the pool closes unused connections
                # after half an hour. So this session stays open until the end.
                held = await stack.enter_async_context(opened.store.session(SYSTEM))
                await held.count(STORE)
            begin = partial(database._begin, earlier, kept)
            listed = await database._calls.run(begin, write=True, timeout=LONG_TIMEOUT)
            # One by one: all profiles of an interrupted copy would take longer than one call may.
            for name in await database.directory.askar_profiles() - listed:
                remove = partial(database._pool.store.remove_profile, name)
                await database._calls.run(remove, write=True, timeout=LONG_TIMEOUT)
            await database._calls.statistics.make()  # settings apply to later writes
            yield database

    async def aclose(self) -> None:
        """Close the store, once the calls that are under way have ended.

        That includes calls whose callers were cancelled, so that their sessions end properly.
        """
        await self._pool.aclose()
        await self._calls.statistics.aclose()
        self._reads.close()

        async def close() -> None:
            await self._calls.drain()
            await close_store(self._pool.store, self._location)

        closing = {asyncio.create_task(close()), *self._pool.closing}
        # Without a limit on a file: this process must not open it again before.
        timeout = None if self._location.path else self._pool.timeout
        await asyncio.wait(closing, timeout=timeout)
        await self.counters.aclose()
        if self._writer_lock:
            self._writer_lock.close()

    @asynccontextmanager
    async def listening(self, ttl: float) -> AsyncIterator[None]:
        """Learn of changes by other processes, and of lost connections, within the block.

        On PostgreSQL, the extra `postgres` is needed to learn of them at once. Without it, or if a
        notice is lost, cached values end after `ttl` seconds.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.counters.listening(self._pool.on_loss))
            if isinstance(self.counters, notices.PostgresChangeCounters) and ttl > 0:
                keeping = self.counters.leases.keep(self._sequence, ttl, self.directory.known)
                await stack.enter_async_context(in_background(keeping))
            yield

    async def _sequence(self, profile: str | None) -> Sequence:
        """The last changes of a profile; None is the store's own."""
        if profile is None:
            return await self.run_own(Session.sequence)
        return await self.read(profile, Session.sequence)

    def on_ended(self, call: Callable[[str | None, Iterable[str]], None]) -> None:
        """Call `call` with a profile and the kids of its deleted keys, if they are a provider's.

        None stands for removed profiles that have keys of providers.
        """
        self._calls.on_ended = call

    def note_removed_profile(self) -> None:
        """Tell the listener of `on_ended` that a removed profile is not erased yet."""
        self._calls.on_ended(None, ())

    def on_removed(self, call: Callable[[str, Iterable[int]], None]) -> None:
        """Call `call` with a profile and the places of keys that were removed from it."""
        self._calls.on_removed = call

    def time_calls(self, observe: Callable[[str, float], None]) -> None:
        """Call `observe` with the kind of each call, one of `KINDS`, and its seconds."""
        self._pool.observe = observe

    @property
    def pool(self) -> PoolState:
        """The state of the connections."""
        state = self._pool.state
        return state._replace(waiting=state.waiting + self._writes.waiting)

    async def ping(self, *, write: bool = False) -> None:
        """Return once the store has answered; in a transaction if the last one failed."""
        write = write or self._pool.writes_fail

        async def work() -> None:
            async with self._calls.transaction() if write else self._calls.session() as session:
                await read_layout(session)

        await self._calls.run(work, write=write)

    # Reading and writing

    async def run(
        self,
        profile: str,
        work: Callable[[Any], Awaitable[ResultT]],
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> ResultT:
        """The result of `work` in a session on a profile; with `write`, in its own transaction.

        `work` is called again if another process has remade the profile. If `timeout` is given, it
        has that many seconds. Raises ProfileNotFound.
        """
        if write:
            return await self._writes.alone(profile, work, timeout)
        return await self._calls.run(partial(self._read, profile, work), timeout=timeout)

    @property
    def is_busy(self) -> bool:
        """Tell whether a call waits for a connection, or reads an entry."""
        return self.pool.waiting > 0 or self._reads.is_busy

    async def read(self, profile: str, work: Read[ResultT]) -> ResultT:
        """The result of `work`, which reads a few entries, in a session that reads share.

        `work` is called again if another process has remade the profile, or if the session is lost;
        both calls together have the time of one. Raises ProfileNotFound.
        """
        askar_profile = self.directory.known(profile)
        if askar_profile is None:
            return await self.run(profile, work)
        until = asyncio.get_running_loop().time() + self._pool.acquire_timeout + self._pool.timeout
        with suppress(AskarError, StaleProfileError):
            return await self._reads.shared(askar_profile, partial(_of_profile, work))
        try:
            async with asyncio.timeout_at(until):
                return await self.run(profile, work)
        except TimeoutError:
            raise StoreUnavailable("The key store does not answer.") from None

    async def run_own(
        self,
        work: Callable[[Any], Awaitable[ResultT]],
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> ResultT:
        """The result of `work` in a session on the store's own profile; otherwise like `run`."""

        async def attempt() -> ResultT:
            if not write:
                async with self._calls.session() as session:
                    return await work(session)
            async with self._calls.transaction() as transaction:
                await self._calls.require_own_key(transaction)
                return await work(transaction)

        return await self._calls.run(attempt, write=write, timeout=timeout)

    async def batches(
        self, profile: str | None, category: str, *, in_order: bool = True
    ) -> AsyncGenerator[list[Entry | None], None]:
        """Yield the present entries of a category in batches, by default in the order of rows.

        If `profile` is None, the entries of the store's own profile. In a batch, None stands for an
        entry that does not decrypt. Raises ProfileNotFound if the profile is removed meanwhile.
        """
        if profile is None:
            askar_profile = SYSTEM
        elif (known := self.directory.known(profile)) is not None:
            askar_profile = known
        else:
            look_up = partial(self.directory.look_up, profile)
            askar_profile = await self._calls.run(look_up, write=True)
        rows = all_rows(self._calls, askar_profile, category, in_order=in_order)
        try:
            async with aclosing(rows) as batches:
                async for batch in batches:
                    yield batch
        except AskarError as exc:
            if profile is None:
                raise
            await self.directory.successor(profile, askar_profile, exc)
            raise ProfileNotFound() from None

    async def askar_keys(self, profile: str) -> AsyncGenerator[list[KeyEntry] | None, None]:
        """Yield all keys that Askar holds: one list if they are few, else a list per algorithm.

        None stands for all keys of an algorithm if one of them does not decrypt: Askar gives all of
        them or none.
        """
        few = None
        with suppress(UndecryptableError):
            few = await self.run(profile, partial(Session.all_keys, limit=BATCH + 1))
        if few is not None and len(few) <= BATCH:
            yield few
            return
        for alg in KeyAlg:
            try:
                found = await self.run(profile, partial(Session.all_keys, alg=alg))
            except UndecryptableError:
                yield None
            else:
                yield found

    async def _read(self, profile: str, work: Callable[[Session], Awaitable[ResultT]]) -> ResultT:
        """Call `work` in a session; again if another process has remade the profile."""
        askar_profile = self.directory.known(profile) or await self.directory.look_up(profile)
        while True:
            try:
                async with self._calls.session(askar_profile) as session:
                    return await _of_profile(work, session)
            except (AskarError, StaleProfileError) as exc:
                askar_profile = await self.directory.successor(profile, askar_profile, exc)

    # Making, upgrading and rekeying a store

    @property
    def mark(self) -> bytes:
        """The mark of the unfinished store; a process that continues it passes the mark on."""
        return self._making

    async def _begin(self, earlier: bytes, kept: Collection[str]) -> set[str]:
        """Mark the store as being made by this process, and empty its directory but for `kept`.

        Return those of `kept` that it has.
        """
        async with self._calls.transaction() as transaction:
            self._making = await begin_making(transaction, self._location, earlier)
            listed = set()
            for entry in await transaction.fetch_all(PROFILE):
                if (name := askar_name(entry.value)) in kept:
                    listed.add(name)
                else:
                    await transaction.remove_all(LAST_USES, use_tags(name))
                    await transaction.remove(PROFILE, entry.name)
        return listed

    async def finish(self) -> None:
        """Let others open the store that was made.

        Raises StoreError if another process has begun to make it meanwhile.
        """

        async def work() -> None:
            async with self._calls.transaction() as transaction:
                await finish_making(transaction, self._location, self._making)

        await self._calls.run(work, write=True)

    async def renew_statistics(self) -> None:
        """Return once PostgreSQL has new statistics, which listings need."""
        await self._calls.statistics.renew()

    async def number_of_keys(self, most: int) -> tuple[int, float | None] | None:
        """Count the keys and tokens of PostgreSQL together; estimate `most` or more.

        Also estimate the share of the largest profile, None if none stands out. None if only
        sessions on the profiles can count the keys. Raises StoreUnavailable.
        """
        try:
            return await self._calls.statistics.number_of_keys(most)
        except ServerError:
            raise StoreUnavailable() from None

    async def missing_statistics(self) -> list[str]:
        """Name the statistics and settings that PostgreSQL lacks; raises StoreError."""
        try:
            return await self._calls.statistics.missing()
        except ServerError as exc:
            raise StoreError(f"The statistics at {self._location} cannot be read: {exc}.") from None

    async def finish_upgrade(self) -> None:
        """Mark the store as upgraded, after all its contents; raises StoreError."""
        work = partial(finish_upgrade, self._pool.store, self._location)
        await self._calls.run(work, write=True)

    async def rekey(self, key: StoreKey) -> None:
        """Let another key open the store from now on; raises StoreError if the key is not valid.

        Other processes that have the store open make no more profiles: they would encrypt them with
        the old key.
        """
        await check_key(key)

        async def work() -> None:
            async with self._calls.transaction() as transaction:
                await self._calls.require_own_key(transaction)
                rekeyed = await note_rekey(transaction)
            await self._pool.rekey(key)
            self._calls.rekeyed = rekeyed

        await self._calls.run(work, write=True, timeout=LONG_TIMEOUT)


async def _of_profile(work: Read[ResultT], session: Session) -> ResultT:
    """Call `work`; raises StaleProfileError if an entry is missing because the profile is gone."""
    try:
        return await work(session)
    except (KeyNotFound, AliasNotFound):
        await require_profile(session)
        raise
