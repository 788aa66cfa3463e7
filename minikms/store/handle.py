"""The open Askar store: its sessions and transactions, and reopening it after a failed write."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NoReturn

from aries_askar import AskarError, AskarErrorCode, Store

from minikms import events
from minikms.errors import KeyUnreadable, StoreUnavailable
from minikms.startup_errors import StoreError
from minikms.store.askar import open_store
from minikms.store.askar_errors import UndecryptableError
from minikms.store.counters import ChangeCounters
from minikms.store.layout import check_layout, read_layout, require_not_rekeyed
from minikms.store.location import StoreKey, StoreLocation
from minikms.store.permits import begin_commit
from minikms.store.sessions import Session, Transaction
from minikms.store.statistics import TableStatistics
from minikms.store.store_file import StoreFile

LOGGER = logging.getLogger(__name__)

# Askar's name of the store's own profile, its default one, which no caller reaches.
SYSTEM: Final = "minikms"


class StoreHandle:
    """An Askar store that is open, with the key that opens it.

    `rekeyed` is the store's note of its last change of key, as this process knows it. `writes_fail`
    says whether PostgreSQL has failed to do a transaction, or to answer, and done none since.
    """

    def __init__(
        self,
        store: Store,
        location: StoreLocation,
        key: StoreKey,
        counters: ChangeCounters,
        rekeyed: bytes = b"",
        file: StoreFile | None = None,
    ) -> None:
        self.store = store
        self.statistics = TableStatistics(location)
        self.reopened = 0
        self.writes_fail = False
        self.closing: set[asyncio.Task[object]] = set()
        self._location = location
        self._key = key
        self._counters = counters
        self._rekeyed = rekeyed
        self._file = file
        self._healthy = True
        self._reopen_error = ""
        self._reopening = asyncio.Lock()

    @asynccontextmanager
    async def own_session(self) -> AsyncIterator[Session]:
        """A session on the store's own profile."""
        async with self.store.session() as session:
            yield Session(session)

    @asynccontextmanager
    async def session(self, askar_profile: str = SYSTEM) -> AsyncIterator[Session]:
        """A session on a profile; raises KeyUnreadable where its key does not decrypt."""
        async with AsyncExitStack() as stack:
            try:
                session = await stack.enter_async_context(self.store.session(askar_profile))
            except UndecryptableError:
                await self._refuse_undecryptable()
            yield Session(session)

    @asynccontextmanager
    async def transaction(
        self, askar_profile: str = SYSTEM, profile: str | None = None
    ) -> AsyncIterator[Transaction]:
        """A transaction that is committed at the end, and rolled back where anything is raised.

        `askar_profile` is Askar's name of `profile`, which is None for the store's own.
        """
        self.require_room()
        store = self.store
        async with AsyncExitStack() as stack:
            try:
                opened = await stack.enter_async_context(store.transaction(askar_profile))
            except AskarError as exc:
                self._note_failure(store, exc)
                if isinstance(exc, UndecryptableError):
                    await self._refuse_undecryptable()
                raise
            transaction = Transaction(opened, profile)
            try:
                yield transaction
                doubled = await transaction.store_place()
            except AskarError as exc:
                self._note_failure(store, exc)
                raise
            begin_commit()
            if transaction.events is None:
                events.record_before_commit()
            else:
                events.record_together(transaction.events)
            async with self._counters.changing(transaction.changed):
                try:
                    await transaction.commit()
                except AskarError as exc:
                    self._note_failure(store, exc)
                    # It may have been committed all the same, so it must not be tried again.
                    raise StoreUnavailable(unknown=True) from exc
            self.writes_fail = False
            if doubled:
                self.statistics.note_doubled(transaction.place)

    def require_room(self) -> None:
        """Raise StoreUnavailable where the disk is known to be full, and still is."""
        if self._file is not None:
            self._file.require_room()

    async def require_own_key(self, session: Session) -> None:
        """Raise StoreUnavailable where the store has got another key since it was opened."""
        await require_not_rekeyed(session, self._rekeyed)

    async def rekey(self, key: StoreKey, rekeyed: bytes) -> None:
        """Let another key open the store, whose note of it is `rekeyed`."""
        await self.store.rekey(key.askar_method, key.secret)
        self._key, self._rekeyed = key, rekeyed

    async def reopen_if_marked(self) -> None:
        """Reopen the store where a write failed; raises StoreUnavailable.

        It raises, too, where the store's file is no longer at its path.
        """
        if self._file is not None:
            self._file.require_in_place()
        if self._healthy:
            return
        async with self._reopening:
            if self._healthy:
                return
            try:
                store = await open_store(self._location, self._key)
            except StoreError as exc:
                if self._file is not None and not self._file.has_room():
                    return  # what is open can be read, and nobody writes
                if str(exc) != self._reopen_error:  # once, not for every call
                    LOGGER.error("%s", exc)
                self._reopen_error = str(exc)
                raise StoreUnavailable() from None
            self.replace(store)
            self._reopen_error = ""

    async def open_again(self) -> Store:
        """The same store, opened once more, where it can be written; raises StoreError."""
        store = await open_store(self._location, self._key)
        try:
            await check_layout(store, self._location)
            async with store.transaction() as opened:
                transaction = Transaction(opened, None)
                await read_layout(transaction)
                await transaction.commit()
        except (StoreError, AskarError) as exc:
            await store.close()
            if isinstance(exc, StoreError):
                raise
            raise StoreError(f"The store at {self._location} cannot be written.") from None
        return store

    def replace(self, store: Store, unused: Coroutine[Any, Any, object] | None = None) -> None:
        """Use a store that was opened again.

        The old one is closed in the background, after `unused`: sessions that are still open then
        fail with their next call.
        """

        async def close(old: Store) -> None:
            if unused is not None:
                await unused
            await old.close()

        self.close_later(close(self.store))
        self.store, self._healthy = store, True
        self.reopened += 1

    def close_later(self, closing: Coroutine[Any, Any, object]) -> None:
        """Close a store in the background."""
        self.closing.add(task := asyncio.create_task(closing))
        task.add_done_callback(self.closing.discard)

    def _note_failure(self, store: Store, exc: AskarError) -> None:
        """Note that a transaction failed, and leave an SQLite file's connections where one has.

        Where BEGIN failed, Askar 0.5.0 goes on as if in a transaction, and what is committed on
        that connection later is lost. On a full disk, SQLite may have rolled back by itself.
        """
        if exc.code not in (AskarErrorCode.BACKEND, AskarErrorCode.BUSY):
            return
        if self._file is None:
            self.writes_fail = True
        elif store is self.store and exc.code is AskarErrorCode.BACKEND:
            LOGGER.warning("the store at %s is reopened: a write failed", self._location)
            self._healthy = False
            self._file.has_room()

    async def _refuse_undecryptable(self) -> NoReturn:
        """Raise for a profile whose key does not decrypt: the store may have got another key."""
        async with self.own_session() as session:
            await self.require_own_key(session)
        raise KeyUnreadable("The profile does not decrypt.") from None
