"""An Askar store as this service uses it: opened, made, given another key and closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import Final, Self

from aries_askar import Store

from minikms.startup_errors import StoreError
from minikms.store import notices
from minikms.store.askar import check_key, open_store, provision_store, write_statistics
from minikms.store.counters import ChangeCounters, FileChangeCounters
from minikms.store.directory import ProfileDirectory
from minikms.store.files import is_open_elsewhere
from minikms.store.handle import SYSTEM, StoreHandle
from minikms.store.layout import (
    LAYOUT,
    STORE,
    UPGRADING,
    Layout,
    begin_making,
    begin_upgrade,
    check_layout,
    finish_making,
    finish_upgrade,
    lacks_statistics,
    note_rekey,
    note_statistics,
    require_current,
)
from minikms.store.location import StoreKey, StoreLocation
from minikms.store.permits import LONG_TIMEOUT, Permits, Pool
from minikms.store.postgres import check_sessions, require_no_service
from minikms.store.profile_sessions import ProfileSessions
from minikms.store.reconnecting import Reconnector
from minikms.store.rows import Rows
from minikms.store.schema import check_schema
from minikms.store.store_file import StoreFile
from minikms.store.writer_lock import WriterLock

# How long opening a store waits for the process that writes, in seconds.
_OPEN_TIMEOUT: Final = 5.0


class Database(ProfileSessions):
    """An open Askar store, and all that is used with it.

    Every call raises StoreUnavailable where it waits too long for a connection, or where the
    database does not answer in time; `timeout`, in seconds, is for callers who can wait longer.
    """

    def __init__(
        self,
        store: Store,
        location: StoreLocation,
        key: StoreKey,
        writer_lock: WriterLock | None,
        counters: ChangeCounters,
        *,
        timeout: float | None = None,
        layout: Layout = LAYOUT,
        rekeyed: bytes = b"",
    ) -> None:
        self.layout = layout
        self._location = location
        self._writer_lock = writer_lock
        self._making = b""
        file = None
        if location.path and writer_lock and isinstance(counters, FileChangeCounters):
            file = StoreFile(location.path, [*writer_lock.files, counters.file])
        handle = StoreHandle(store, location, key, counters, rekeyed, file)
        permits = Permits(
            location,
            writer_lock,
            self._wait_for_connections,
            handle.reopen_if_marked,
            self._on_silence,
            timeout,
        )
        self._reconnector = Reconnector(location, handle, permits, counters)
        rows = Rows(handle, permits, location)
        directory = ProfileDirectory(handle, permits, counters, rows)
        super().__init__(handle, permits, rows, directory, counters)

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

        No other Database of this process may have the SQLite file open (`store/schema.py`).

        For `serving` it must have this version's layout. For `upgrading` an older one is marked as
        one whose upgrade has begun; nobody else may use it then. For both, processes of older
        layouts do not write to an SQLite file as long as it is open.
        """
        writer_lock = None
        if location.path and location.path.is_file():
            writer_lock = WriterLock(location.path)
            # A connection cannot be opened while another process writes.
            try:
                async with asyncio.timeout(_OPEN_TIMEOUT):
                    await writer_lock.acquire()
            except TimeoutError:
                raise StoreError(f"Another process keeps the store at {location}.") from None
        try:
            unreadable = await check_schema(location)
            store = await open_store(location, key)
            if unreadable:
                await store.close()
                raise StoreError(unreadable)
            layout, rekeyed = await check_layout(store, location)
            if serving:
                require_current(layout, location)
            await check_sessions(location)
            if upgrading and layout < LAYOUT:
                location.require_two_connections()  # before anything is changed
                store = await _unused_elsewhere(store, location, key)
                await begin_upgrade(store, location)
                layout = UPGRADING
            if serving and location.path and await lacks_statistics(store, location):
                store = await _with_statistics(store, location, key, location.path)
            counters = _counters(location)
            if isinstance(counters, FileChangeCounters):
                counters.repair()
            if (serving or upgrading) and writer_lock:
                writer_lock.exclude_older()
        finally:
            if writer_lock:
                writer_lock.release()
        database = cls(
            store,
            location,
            key,
            writer_lock,
            counters,
            timeout=timeout,
            layout=layout,
            rekeyed=rekeyed,
        )
        async with aclosing(database):
            yield database

    @classmethod
    @asynccontextmanager
    async def create(
        cls, location: StoreLocation, key: StoreKey, *, timeout: float | None = None
    ) -> AsyncIterator[Self]:
        """Make a store, which exists for others once the caller has called `finish`.

        One that was begun and never finished is begun again. Raises StoreError where a store exists
        already, or none can be made.
        """
        store = await provision_store(location, key, SYSTEM)
        try:
            writer_lock = WriterLock(location.path) if location.path else None
            counters = _counters(location)
        except StoreError:
            await store.close()
            raise
        made = cls(store, location, key, writer_lock, counters, timeout=timeout)
        async with aclosing(made) as database, AsyncExitStack() as stack:
            if location.backend == "memory":
                # The store ends with its last connection, and the pool closes each after half an
                # hour, but for one that is in use: this one, from now to the end.
                held = await stack.enter_async_context(store.session(SYSTEM))
                await held.count(STORE)
            await database._permits.run(database._begin(), write=True, timeout=LONG_TIMEOUT)
            yield database

    async def aclose(self) -> None:
        """Close the store, once the calls that are under way have ended.

        That includes calls whose callers were cancelled, so that their sessions end properly.
        """
        await self._reconnector.aclose()
        await self._handle.statistics.aclose()

        async def close() -> None:
            await self._permits.drain()
            await self._handle.store.close()

        closing = {asyncio.create_task(close()), *self._handle.closing}
        await asyncio.wait(closing, timeout=self._permits.timeout)
        await self.counters.aclose()
        if self._writer_lock:
            self._writer_lock.close()

    def _on_silence(self) -> None:
        """Have the next health check write, and leave connections to PostgreSQL that hang."""
        self._handle.writes_fail = True
        if self._location.backend == "postgres":
            self._reconnector.on_silence()

    async def _wait_for_connections(self) -> None:
        await self._reconnector.wait()

    def listening(self) -> AbstractAsyncContextManager[None]:
        """Learn at once of changes by other processes, and of lost connections, within the block.

        On PostgreSQL, that needs the extra `postgres`.
        """
        return self.counters.listening(self._reconnector.on_loss)

    async def _begin(self) -> None:
        """Mark the store as one that this process makes, and empty it."""
        async with self._handle.transaction() as transaction:
            self._making = await begin_making(transaction, self._location)
        for name in await self._handle.store.list_profiles():
            if name != SYSTEM:
                await self._handle.store.remove_profile(name)

    async def finish(self) -> None:
        """Let others open the store that was made.

        Raises StoreError where another process has begun to make it meanwhile.
        """

        async def work() -> None:
            async with self._handle.transaction() as transaction:
                await finish_making(transaction, self._location, self._making)

        await self._permits.run(work(), write=True)

    async def finish_upgrade(self) -> None:
        """Give the store this layout, in which all that is in it is now; raises StoreError."""
        await self._permits.run(finish_upgrade(self._handle.store, self._location), write=True)

    async def rekey(self, key: StoreKey) -> None:
        """Let another key open the store from now on; raises StoreError where it is no key.

        Other processes that have the store open make no more profiles: they would be under the old
        key.
        """
        await check_key(key)

        async def work() -> None:
            async with self._handle.transaction() as transaction:
                await self._handle.require_own_key(transaction)
                rekeyed = await note_rekey(transaction)
            await self._handle.rekey(key, rekeyed)

        await self._permits.run(work(), write=True, timeout=LONG_TIMEOUT)

    @property
    def pool(self) -> Pool:
        """The state of the connections."""
        permits, connections = self._permits, self._location.max_connections
        waiting = permits.waiting + self._queues.waiting
        return Pool(connections, permits.in_use, waiting, self._handle.reopened)


async def _unused_elsewhere(store: Store, location: StoreLocation, key: StoreKey) -> Store:
    """Open the store again, where no other process uses it; raises StoreError."""
    if location.path is None:
        await require_no_service(location)
        return store
    await store.close()  # as `is_open_elsewhere` needs it
    if is_open_elsewhere(location.path):
        raise StoreError(f"Another process has the store at {location} open: stop it first.")
    return await open_store(location, key)


async def _with_statistics(
    store: Store, location: StoreLocation, key: StoreKey, path: Path
) -> Store:
    """Open the store again, with statistics in its SQLite file where nobody else has it open."""
    await store.close()
    written = not is_open_elsewhere(path) and write_statistics(path)
    store = await open_store(location, key)
    if written:
        await note_statistics(store, location)
    return store


def _counters(location: StoreLocation) -> ChangeCounters:
    """The change counters of a store; raises StoreError."""
    if location.backend == "postgres":
        return notices.postgres_counters(location)
    return FileChangeCounters(location.path) if location.path else ChangeCounters()
