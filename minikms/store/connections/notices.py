"""Notices of changes between the processes on a PostgreSQL store: LISTEN and NOTIFY.

A notice is sent after the commit. It is lost if its connection is lost, or if its process ends
before. So cached values need leases (`store/connections/leases.py`), and notices only shorten the
time for which they are stale.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from minikms.basics.background import in_background
from minikms.store.askar.layout import SYSTEM
from minikms.store.askar.location import StoreLocation
from minikms.store.askar.postgres import NOTICES, connect, installed
from minikms.store.askar.sequence import SLOTS, Sequence
from minikms.store.categories import PROFILE, TOKENS
from minikms.store.connections import profile_rows
from minikms.store.connections.counters import ChangeCounters, Lease
from minikms.store.connections.leases import Leases
from minikms.store.connections.profile_rows import ProfileRows

if TYPE_CHECKING:
    import asyncpg

LOGGER = logging.getLogger(__name__)

# The name of a store's channel. Only roles that may read the store know it; every role may notify.
_CHANNEL: Final = """
    SELECT 'minikms ' || pg_catalog.left(
        pg_catalog.encode(pg_catalog.sha256(profile_key), 'hex'), 32)
    FROM profiles WHERE name = $1
"""

# PostgreSQL takes payloads below 8,000 bytes; a slot has at most four digits and a space.
_MAX_SLOTS: Final = 1_500
_ALL: Final = "all"

# Characters of notices that are read at a time; more count as a change of everything.
_MAX_READ: Final = 8_000

# The time limit for sending a notice, in seconds.
_SEND_TIMEOUT: Final = 1.0
# Seconds between attempts to connect.
_PAUSE: Final = 0.5
# Seconds between two tests of the connection: only its use shows that it died without a reset.
_HEARTBEAT: Final = 5.0


class PostgresChangeCounters(ChangeCounters):
    """The counters of a PostgreSQL store without notices; leases show changes by others."""

    needs_ttl = True

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases(self)

    @property
    def late_leases(self) -> int:
        return self.leases.late

    def lease(self, sources: Iterable[tuple[str, str]]) -> Lease:
        for category, name in sources:
            if category == TOKENS:  # it was read from the store's own profile alone
                break
            if category == PROFILE:
                return self.leases.of(name)
        return self.leases.of(None)

    def note_write(self, profile: str | None, found: Sequence, left: Sequence) -> None:
        self.leases.note_write(profile, found, left)

    @asynccontextmanager
    async def listening(self, on_loss: Callable[[], None]) -> AsyncIterator[None]:
        LOGGER.info(
            "no notices of changes by other processes, which are seen after --cache-ttl: "
            "asyncpg is not installed, which the extra postgres brings"
        )
        yield


class NotifyChangeCounters(PostgresChangeCounters):
    """The counters of a PostgreSQL store whose processes notify each other of changes.

    One connection sends and receives; the first use makes it.
    """

    def __init__(self, location: StoreLocation) -> None:
        super().__init__()
        self._location = location
        self._connection: asyncpg.Connection | None = None
        self._channel = ""
        self._unread = ""
        self._using = asyncio.Lock()
        self._is_slow = False
        self.is_connected = False

    @asynccontextmanager
    async def changing(self, slots: Collection[int]) -> AsyncIterator[None]:
        try:
            async with super().changing(slots):
                yield
        finally:
            if slots:
                await self._notify(slots)

    @asynccontextmanager
    async def listening(self, on_loss: Callable[[], None]) -> AsyncIterator[None]:
        async with in_background(self._listen(on_loss)):
            yield

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # the connection is given up either way
                await connection.close(timeout=_SEND_TIMEOUT)

    @property
    def compares_rows(self) -> bool:
        return self.is_connected and not self._is_slow

    async def unchanged(self, rows: Collection[ProfileRows]) -> set[ProfileRows] | None:
        listening = self._connection
        if not self.is_connected:
            return None
        with suppress(Exception):  # the listener logs the loss of a connection
            async with self._connected() as connection:
                if connection is not listening:  # another server may answer: values are dropped
                    return None
                try:
                    same = await profile_rows.unchanged(connection, rows)
                except Exception as exc:  # such as a statement that takes long
                    if not self._is_slow:
                        LOGGER.warning(
                            "the rows of profiles are not compared: %s", type(exc).__name__
                        )
                    self._is_slow = True
                    return None
                self._is_slow = False
                return same
        return None

    async def _notify(self, slots: Collection[int]) -> None:
        payload = " ".join(map(str, slots)) if len(slots) <= _MAX_SLOTS else _ALL
        try:
            async with asyncio.timeout(_SEND_TIMEOUT), self._connected() as connection:
                await connection.execute(
                    "SELECT pg_catalog.pg_notify($1, $2)", self._channel, payload
                )
        except Exception as exc:
            LOGGER.warning(
                "other processes see a change only after --cache-ttl: no notice, %s",
                type(exc).__name__,
            )

    async def _listen(self, on_loss: Callable[[], None]) -> None:
        missed = False
        while True:
            lost = asyncio.Event()
            try:
                async with self._connected() as connection:
                    connection.add_termination_listener(partial(self._end, lost, on_loss))
                    await connection.add_listener(self._channel, self._receive)
            except Exception as exc:
                if not missed:
                    LOGGER.warning("no notices from %s: %s", self._location, type(exc).__name__)
                missed = True
                await asyncio.sleep(_PAUSE)
                continue
            if missed:
                LOGGER.warning("notices come again from %s", self._location)
            self.count()  # earlier notices were missed
            self.is_connected = True
            await self._watch(lost)
            self.is_connected = False
            self.losses += 1
            self.count()
            LOGGER.warning("the connection that notices come from %s by is lost", self._location)
            missed = True
            await asyncio.sleep(_PAUSE)  # a proxy may end each connection at once

    def _end(
        self, lost: asyncio.Event, on_loss: Callable[[], None], connection: "asyncpg.Connection"
    ) -> None:
        lost.set()
        if connection is self._connection:  # it was not given up here
            on_loss()

    async def _watch(self, lost: asyncio.Event) -> None:
        """Return once the connection is lost, or does not answer."""
        with suppress(Exception):  # any failure closes the connection
            while not lost.is_set():
                # `wait_for` of Python 3.11 loses a cancellation that comes with the loss.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_HEARTBEAT):
                        await lost.wait()
                    return
                async with asyncio.timeout(_SEND_TIMEOUT), self._connected() as connection:
                    await connection.execute("SELECT 1")

    def _receive(
        self,
        connection: "asyncpg.Connection | asyncpg.pool.PoolConnectionProxy",
        pid: int,
        channel: str,
        payload: object,
    ) -> None:
        if pid == connection.get_server_pid():
            return  # sent by this process, which has counted it
        if not self._unread:
            asyncio.get_running_loop().call_soon(self._read)
        if len(self._unread) <= _MAX_READ:
            self._unread += f"{payload} "

    def _read(self) -> None:
        """Count the slots in all notices since the last call, or all slots."""
        unread, self._unread = self._unread, ""
        words = unread.split() if len(unread) <= _MAX_READ else [_ALL]
        slots = {int(word) for word in words if len(word) <= 4 and word.isdecimal()}
        known = len(slots) == len(set(words)) and max(slots, default=SLOTS) < SLOTS
        self.count(slots if known else range(SLOTS))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator["asyncpg.Connection"]:
        """Lend the connection to one caller at a time; close it if its use is interrupted."""
        async with self._using:
            connection, is_new = self._connection, False
            if connection is None or connection.is_closed():
                connection = await connect(self._location, NOTICES, _SEND_TIMEOUT)
                self._connection, is_new = connection, True
            try:
                if is_new:
                    channel = connection.fetchval(_CHANNEL, SYSTEM, timeout=_SEND_TIMEOUT)
                    self._channel = await channel
                yield connection
            except BaseException:
                if not connection.is_closed():
                    self._connection = None
                    connection.terminate()
                raise


def postgres_counters(location: StoreLocation) -> ChangeCounters:
    """The counters of a PostgreSQL store, with notices if the extra `postgres` is installed."""
    return NotifyChangeCounters(location) if installed() else PostgresChangeCounters()
