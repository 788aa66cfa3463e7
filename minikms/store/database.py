"""An Askar store as this service uses it: opened or made, and used profile by profile."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import Final, Self, TypeVar

from aries_askar import AskarError, AskarErrorCode, KeyAlg, Store

from minikms.errors import AliasNotFound, KeyNotFound
from minikms.startup_errors import StoreError
from minikms.store import notices
from minikms.store.askar import check_key, open_store, provision_store
from minikms.store.askar_errors import UndecryptableError
from minikms.store.counters import ChangeCounters, FileChangeCounters
from minikms.store.directory import (
    PROFILE,
    SELF,
    ProfileDirectory,
    StaleProfileError,
    require_profile,
)
from minikms.store.handle import SYSTEM, StoreHandle
from minikms.store.layout import (
    LAYOUT,
    STORE,
    begin_making,
    check_layout,
    finish_making,
    note_rekey,
    read_layout,
)
from minikms.store.location import StoreKey, StoreLocation
from minikms.store.permits import LONG_TIMEOUT, Permits, Pool
from minikms.store.rows import Rows
from minikms.store.sessions import Entry, Session
from minikms.store.writer_lock import WriterLock

ResultT = TypeVar("ResultT")

# How long opening a store waits for the process that writes, in seconds.
_OPEN_TIMEOUT: Final = 5.0


class Database:
    """An open Askar store.

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
        layout: int = LAYOUT,
        rekeyed: bytes = b"",
    ) -> None:
        self.counters = counters
        self.layout = layout
        self._location = location
        self._writer_lock = writer_lock
        self._making = b""
        self._handle = StoreHandle(store, location, key, counters, rekeyed)
        self._permits = Permits(location, writer_lock, self._handle.reopen_if_marked, timeout)
        self._rows = Rows(self._handle, self._permits, location)
        self.directory = ProfileDirectory(self._handle, self._permits, counters, self._rows)

    # Opening and making

    @classmethod
    @asynccontextmanager
    async def open(
        cls, location: StoreLocation, key: StoreKey, *, timeout: float | None = None
    ) -> AsyncIterator[Self]:
        """Open a store; raises StoreError, and changes nothing."""
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
            store = await open_store(location, key)
            layout, rekeyed = await check_layout(store, location)
            counters = _counters(location)
            if isinstance(counters, FileChangeCounters):
                counters.repair()
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

        async def close() -> None:
            await self._permits.drain()
            await self._handle.store.close()

        closing = {asyncio.create_task(close()), *self._handle.closing}
        await asyncio.wait(closing, timeout=self._permits.timeout)
        await self.counters.aclose()
        if self._writer_lock:
            self._writer_lock.close()

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
        return Pool(connections, permits.in_use, permits.waiting, self._handle.reopened)

    async def ping(self) -> None:
        """Return once the store has answered."""

        async def work() -> None:
            async with self._handle.own_session() as session:
                await read_layout(session)

        await self._permits.run(work())

    # Sessions

    async def run(
        self,
        profile: str,
        work: Callable[[Session], Awaitable[ResultT]],
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> ResultT:
        """The result of `work` in a session on a profile; with `write`, in one transaction.

        `work` is called again where another process has removed the profile and made it again, and
        has `timeout` seconds where that is given. Raises ProfileNotFound.
        """
        attempt = partial(self._attempt, profile, work, write=write)
        return await self._permits.read_or_write(attempt, write=write, timeout=timeout)

    async def run_own(
        self, work: Callable[[Session], Awaitable[ResultT]], *, write: bool = False
    ) -> ResultT:
        """The result of `work` in a session on the store's own profile; otherwise like `run`."""

        async def attempt() -> ResultT:
            if not write:
                async with self._handle.session() as session:
                    return await work(session)
            async with self._handle.transaction() as transaction:
                await self._handle.require_own_key(transaction)
                return await work(transaction)

        return await self._permits.read_or_write(attempt, write=write)

    async def batches(
        self, profile: str | None, category: str
    ) -> AsyncGenerator[list[Entry | None], None]:
        """All entries of a category in the order of rows, as they are now, in batches.

        `profile` None is the store's own. None stands for an entry that does not decrypt.
        """
        askar_profile = SYSTEM
        if profile is not None:
            await self.run(profile, require_profile)
            askar_profile = await self.directory.askar_profile(profile)
        async with aclosing(self._rows.batches(askar_profile, category)) as batches:
            async for batch in batches:
                yield batch

    async def key_names(self, profile: str) -> AsyncGenerator[list[str] | None, None]:
        """The names of all keys of Askar's, one algorithm after the other.

        None stands for those of an algorithm of which one does not decrypt: Askar gives all of them
        or none.
        """
        for alg in KeyAlg:
            try:
                names = await self.run(profile, partial(Session.key_names, alg=alg))
            except UndecryptableError:
                yield None
            else:
                yield names

    async def owner(self, profile: str) -> str | None:
        """The name that a profile has for itself; None where there is none that decrypts."""

        async def work(session: Session) -> str | None:
            entry = await session.fetch(PROFILE, SELF)
            return None if entry is None else entry.value.decode()

        try:
            return await self.run(profile, work)
        except AskarError as exc:
            if exc.code not in (AskarErrorCode.ENCRYPTION, AskarErrorCode.NOT_FOUND):
                raise
            return None

    async def _attempt(
        self, profile: str, work: Callable[[Session], Awaitable[ResultT]], *, write: bool
    ) -> ResultT:
        known = self.directory.known(profile) or await self.directory.look_up(profile)
        try:
            return await self._once(profile, known, work, write=write)
        except (AskarError, StaleProfileError) as exc:
            # How a session fails that outlives its profile depends on the database.
            unclear = AskarErrorCode.BACKEND, AskarErrorCode.BUSY, AskarErrorCode.NOT_FOUND
            if isinstance(exc, AskarError) and exc.code not in unclear:
                raise
            current = await self.directory.look_up(profile)
            if current == known:
                raise
        return await self._once(profile, current, work, write=write)

    async def _once(
        self,
        profile: str,
        askar_profile: str,
        work: Callable[[Session], Awaitable[ResultT]],
        *,
        write: bool,
    ) -> ResultT:
        if write:
            async with self._handle.transaction(askar_profile, profile) as transaction:
                # SQLite gives the number of a removed profile to the next that is made, and a
                # session that still has it would write there.
                await require_profile(transaction)
                try:
                    return await work(transaction)
                except AskarError as exc:
                    if exc.code is AskarErrorCode.NOT_FOUND:
                        # Askar 0.5.0 also has this code for a connection that was lost: then the
                        # next call fails with the right one.
                        await require_profile(transaction)
                    raise
        async with self._handle.session(askar_profile) as session:
            try:
                return await work(session)
            except (KeyNotFound, AliasNotFound):
                await require_profile(session)
                raise


def _counters(location: StoreLocation) -> ChangeCounters:
    """The change counters of a store; raises StoreError."""
    if location.backend == "postgres":
        return notices.postgres_counters(location)
    return FileChangeCounters(location.path) if location.path else ChangeCounters()
