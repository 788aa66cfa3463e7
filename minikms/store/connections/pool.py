"""Lends the connections of Askar's pool, and opens a broken pool again.

A pool breaks in two ways. On SQLite, a connection whose transaction failed may be useless (Askar
0.5.0). On PostgreSQL, connections may die without an error, if a network drops packets, or a proxy
or a server stops. Askar's calls on them hang for as long as TCP does, a quarter of an hour and
more, and cannot be cancelled. After a restart of the server, each old connection fails one call.
"""

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeAlias

from aries_askar import AskarError, AskarErrorCode, Store

from minikms.errors import StatementTimeout, StoreUnavailable
from minikms.startup_errors import StoreError
from minikms.store.askar.errors import cause_of, is_answer, message_of
from minikms.store.askar.files import StoreFile
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import close_store, open_store
from minikms.store.askar.writer_lock import WriterLock
from minikms.store.connections.counters import ChangeCounters
from minikms.store.connections.pool_state import PoolState
from minikms.store.connections.second_pool import close_after, open_second

LOGGER = logging.getLogger(__name__)

# Seconds that a call waits for a connection.
ACQUIRE_TIMEOUT: Final = 2.0

# Seconds that maintenance waits for one: SQLite sorts all rows of another profile meanwhile with
# their values, which takes a minute for a million keys.
SORTING: Final = 900.0

# Seconds between failed attempts to reconnect.
_PAUSE: Final = 1.0
# The least time between two new pools: more connections do not help a slow server.
_LONG_PAUSE: Final = 5.0

# Seconds that a call waits for new connections before it tries the old ones.
_RECONNECT_WAIT: Final = 1.5

# The number of old pools that may wait for calls that hang. At this number, no new pool is opened
# until TCP has ended the calls of one of them.
_MOST_OLD: Final = 5

_Lock: TypeAlias = asyncio.Semaphore | WriterLock


class _Free:
    """The free connections of one pool of Askar's; `unused` is set while all are free."""

    def __init__(self, location: StoreLocation, writer_lock: WriterLock | None) -> None:
        self.in_use = 0
        self.unused = asyncio.Event()
        self.unused.set()
        connections = asyncio.Semaphore(location.max_connections)
        # Writers of one profile wait for each other, so they never get every connection. A database
        # that takes one writer at a time gives them one connection.
        writers = location.max_connections // 2 if location.backend == "postgres" else 1
        self.reading: list[_Lock] = [connections]
        self.writing: list[_Lock] = [
            asyncio.Semaphore(max(writers, 1)),
            *([writer_lock] if writer_lock else []),
            connections,
        ]

    def release(self, held: list[_Lock]) -> None:
        """Count a connection as free, and release its locks."""
        self.in_use -= 1
        if not self.in_use:
            self.unused.set()
        for lock in held:
            lock.release()


class StorePool:
    """Lends the connections of an open Askar store, and opens the store again if it is broken.

    `writes_fail` says that a transaction on PostgreSQL failed, or got no answer, and that none has
    succeeded since. `timeout`, in seconds, replaces the limit for the database's answer, for
    maintenance that no caller waits for; it also waits longer for a connection.
    """

    def __init__(
        self,
        store: Store,
        location: StoreLocation,
        key: StoreKey,
        counters: ChangeCounters,
        writer_lock: WriterLock | None = None,
        file: StoreFile | None = None,
        timeout: float | None = None,
    ) -> None:
        self.store = store
        self.location = location
        self.timeout = timeout or location.timeout + 0.5
        self.waiting = 0
        self.reopened = 0
        self.writes_fail = False
        self.is_writable = True
        self.commits = 0
        self.errors: Counter[str] = Counter()
        # Called with the kind of each call (see calls.py), and its seconds.
        self.observe: Callable[[str, float], None] = lambda _kind, _seconds: None
        self.on_short: Callable[[], None] = lambda: None  # called if no connection is free
        self.closing: set[asyncio.Task[object]] = set()
        self.writer_lock = writer_lock
        self._key = key
        self._counters = counters
        self._file = file
        self.acquire_timeout = ACQUIRE_TIMEOUT if timeout is None else SORTING
        self._free = _Free(location, writer_lock)
        # SQLite: whether a write failed, and the last reason why the store was not reopened.
        self._healthy = True
        self._reopen_error = ""
        self._reopening = asyncio.Lock()
        # PostgreSQL: the task that reconnects, and an event that is cleared while all connections
        # are dead.
        self._reconnecting: asyncio.Task[None] | None = None
        self._replaced_at = -math.inf
        self._alive = asyncio.Event()
        self._alive.set()

    @property
    def state(self) -> PoolState:
        """The state of the connections."""
        connections = self.location.max_connections
        return PoolState(
            connections,
            self._free.in_use,
            self.waiting,
            self.reopened,
            len(self.closing),
            self.commits,
            self.errors,
            self.is_writable,
        )

    @property
    def is_short(self) -> bool:
        """Tell whether a call waits for a connection, and none is free."""
        return self.waiting > 0 and self._free.in_use >= self.location.max_connections

    async def acquire(self, *, write: bool) -> Callable[[], None]:
        """Wait for a connection; return the function that releases it.

        With `write`, wait for the writer lock as well. Raises StoreUnavailable after a time limit,
        if the store's file is no longer at its path, or if the store cannot be reopened.
        """
        held = list[_Lock]()
        self.waiting += 1
        try:
            async with asyncio.timeout(self.acquire_timeout):
                if not self._alive.is_set():
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_RECONNECT_WAIT):
                            await self._alive.wait()
                free = self._free
                if free.in_use >= self.location.max_connections:
                    self.on_short()
                for lock in free.writing if write else free.reading:
                    await lock.acquire()
                    held.append(lock)
            if self._file is not None:
                self._file.require_in_place()
            if not self._healthy:
                await self._reopen()
        except BaseException as exc:
            for lock in held:
                lock.release()
            if isinstance(exc, TimeoutError):
                self.errors["busy"] += 1
                raise StoreUnavailable("Too many calls wait for the key store.") from None
            raise
        finally:
            self.waiting -= 1
        free.in_use += 1
        free.unused.clear()
        return partial(free.release, held)

    def require_room(self) -> None:
        """Raise StoreUnavailable while the disk is known to be full."""
        if self._file is not None:
            try:
                self._file.require_room()
            except StoreUnavailable:
                self.errors["full"] += 1
                self.is_writable = False
                raise

    async def rekey(self, key: StoreKey) -> None:
        """Let another key open the store."""
        await self.store.rekey(key.askar_method, key.secret)
        self._key = key

    def on_failure(self, store: Store, exc: AskarError) -> None:
        """Note that a transaction failed; leave the connections of an SQLite file.

        If BEGIN failed, Askar 0.5.0 goes on as if in a transaction, and later commits on that
        connection are lost. On a full disk, SQLite may have rolled back by itself.
        """
        if exc.code not in (AskarErrorCode.BACKEND, AskarErrorCode.BUSY):
            return
        self.is_writable = False
        if self._file is None:
            self.writes_fail = True
        elif store is self.store and exc.code is AskarErrorCode.BACKEND:
            LOGGER.warning("the store at %s is reopened: a write failed", self.location)
            self._healthy = False
            self._file.has_room()

    def on_error(self, exc: AskarError, took: float) -> type[StoreUnavailable]:
        """Count a call that failed after `took` seconds; return the error for its caller.

        After a slow statement, the connections stay: the server has answered.
        """
        message = message_of(exc)
        cause = cause_of(message)
        # The server may translate its message, and Askar has none for an UPDATE.
        if cause == "other" and is_answer(message) and took >= self.location.statement_timeout:
            cause = "slow"
        # Askar's pool may have had no connection to give, since hanging ones are in it.
        if cause != "slow" and took >= self.location.timeout:
            self.on_silence()
        else:
            self.errors[cause] += 1
        return StatementTimeout if cause == "slow" else StoreUnavailable

    def on_silence(self) -> None:
        """Make the next health check write; connect again unless the pool is new."""
        self.errors["dead"] += 1
        self.writes_fail = True
        self.is_writable = False
        if self.location.backend != "postgres" or self._is_reconnecting():
            return
        if time.monotonic() - self._replaced_at >= _LONG_PAUSE:
            LOGGER.warning("%s does not answer: connecting again", self.location)
            self._reconnecting = asyncio.create_task(self._reconnect())

    def on_loss(self) -> None:
        """Connect again after a connection ended: the server has ended all others with it.

        A proxy may end only that connection, again and again. So a new pool is replaced only
        after a pause, in which calls continue on its connections.
        """
        pause = self._replaced_at + _LONG_PAUSE - time.monotonic()
        if pause <= 0:
            self._alive.clear()
        if not self._is_reconnecting():
            self._reconnecting = asyncio.create_task(self._reconnect(pause))

    async def aclose(self) -> None:
        """Stop reconnecting."""
        if self._reconnecting is not None:
            self._reconnecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._reconnecting

    async def _reopen(self) -> None:
        """Reopen an SQLite file after a failed write; raises StoreUnavailable."""
        async with self._reopening:
            if self._healthy:
                return
            try:
                store = await open_store(self.location, self._key)
            except StoreError as exc:
                self.errors[cause_of(str(exc))] += 1
                if self._file is not None and not self._file.has_room():
                    return  # the open connections can read, and nobody writes
                if str(exc) != self._reopen_error:  # once, not for every call
                    LOGGER.error("%s", exc)
                self._reopen_error = str(exc)
                raise StoreUnavailable() from None
            self._close_later(close_store(self.store, self.location))
            self._use(store)
            self._reopen_error = ""

    def _is_reconnecting(self) -> bool:
        return self._reconnecting is not None and not self._reconnecting.done()

    async def _reconnect(self, pause: float = 0) -> None:
        """Replace the pool; close the old one after its last call."""
        if pause > 0:
            await asyncio.sleep(pause)
        said = set[str]()
        while True:
            why = f"{len(self.closing)} pools of connections wait for calls that hang"
            if len(self.closing) < _MOST_OLD:
                try:
                    store = await open_second(
                        self.location, self._key, self.timeout, self._close_later
                    )
                    break
                except StoreError as exc:
                    why = str(exc)
                    self.errors["refused"] += 1
            if why not in said:
                LOGGER.warning("no new connections: %s", why)
                said.add(why)
            await asyncio.sleep(_PAUSE)
        self._close_later(close_after(self._free.unused, self.store))
        self._free = _Free(self.location, self.writer_lock)
        self._use(store)
        self._counters.count()  # another server may answer, or calls that hung may have been done
        self._replaced_at = time.monotonic()
        self._alive.set()
        LOGGER.warning("%s answers again, on new connections", self.location)

    def _use(self, store: Store) -> None:
        self.store, self._healthy = store, True
        self.reopened += 1

    def _close_later(self, closing: Coroutine[Any, Any, object]) -> None:
        """Close a store in the background: the next call of an open session there fails."""
        self.closing.add(task := asyncio.create_task(closing))
        task.add_done_callback(self.closing.discard)
