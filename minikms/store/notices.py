"""What changes in a PostgreSQL store, told by one process to all others: LISTEN and NOTIFY.

A notice may be lost, with a connection or with the process that was to send it, and a change has
been committed before it is told. So time bounds what is remembered, and notices only shorten it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from minikms.background import in_background
from minikms.store.counters import SLOTS, Versions
from minikms.store.location import StoreLocation

if TYPE_CHECKING:
    import asyncpg

LOGGER = logging.getLogger(__name__)

# The stores of one database share it: what changes in another is read once too often.
_CHANNEL: Final = "minikms"
# How PostgreSQL shows the connection: pg_stat_activity.
_APPLICATION: Final = "minikms notices"

# PostgreSQL takes payloads below 8,000 bytes; a slot has four digits and a space.
_MOST_SLOTS: Final = 1_500
_ALL: Final = "all"

# In seconds: how long a change waits for its notice to be sent, and how long from one attempt to
# connect to the next.
_TELLING: Final = 1.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0

# Of Askar's options in a store URL, what concerns any connection.
_CONNECTION_OPTIONS: Final = {"sslmode", "sslrootcert", "sslcert", "sslkey"}


class SharedVersions(Versions):
    """The counters of a store that other processes change unheard."""

    bounded = True

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        LOGGER.info(
            "no notices of changes by other processes, which are seen after --cache-ttl: "
            "asyncpg is not installed, which the extra postgres brings"
        )
        yield


class NoticedVersions(SharedVersions):
    """The counters of a store whose other processes tell what they change, as this one does.

    It has one connection, made when it is needed.
    """

    def __init__(self, location: StoreLocation) -> None:
        super().__init__()
        self._location = location
        self._connection: asyncpg.Connection | None = None
        self._using = asyncio.Lock()

    @asynccontextmanager
    async def changing(self, slots: Collection[int]) -> AsyncIterator[None]:
        try:
            async with super().changing(slots):
                yield
        finally:
            if slots:
                await self._tell(slots)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with in_background(self._listen()):
            yield

    async def aclose(self) -> None:
        if self._connection is not None:
            with suppress(Exception):  # it is given up, whatever becomes of it
                await self._connection.close(timeout=_TELLING)

    async def _tell(self, slots: Collection[int]) -> None:
        payload = " ".join(map(str, slots)) if len(slots) <= _MOST_SLOTS else _ALL
        try:
            async with asyncio.timeout(_TELLING), self._connected() as connection:
                await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, payload)
        except Exception as exc:
            LOGGER.warning(
                "other processes see a change only after --cache-ttl: no notice, %s",
                type(exc).__name__,
            )

    async def _listen(self) -> None:
        pause, missed = _FIRST_PAUSE, False
        while True:
            lost = asyncio.Event()
            try:
                async with self._connected() as connection:
                    connection.add_termination_listener(lambda _: lost.set())  # noqa: B023
                    await connection.add_listener(_CHANNEL, self._hear)
            except Exception as exc:
                LOGGER.warning("no notices from %s: %s", self._location, type(exc).__name__)
                await asyncio.sleep(pause)
                pause, missed = min(2 * pause, _LONGEST_PAUSE), True
                continue
            if missed:
                LOGGER.warning("notices come again from %s", self._location)
            self.count()  # what was told before is not known
            await lost.wait()
            self.count()
            LOGGER.warning("the connection that notices come from %s by is lost", self._location)
            pause, missed = _FIRST_PAUSE, True

    def _hear(
        self,
        connection: "asyncpg.Connection | asyncpg.pool.PoolConnectionProxy",
        pid: int,
        channel: str,
        payload: object,
    ) -> None:
        if pid == connection.get_server_pid():
            return  # counted already
        told = str(payload)
        slots = [int(word) for word in told.split() if word.isdecimal() and int(word) < SLOTS]
        self.count(slots) if slots else self.count()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator["asyncpg.Connection"]:
        """The connection, for one at a time; it is given up where its use is broken off."""
        import asyncpg  # takes its time, and is needed for PostgreSQL alone

        async with self._using:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(
                    _dsn(self._location),
                    timeout=_TELLING,
                    server_settings={"application_name": _APPLICATION},
                )
            try:
                yield self._connection
            except BaseException:
                self._connection.terminate()
                raise


def versions_of(location: StoreLocation) -> Versions:
    """What tells of changes in a PostgreSQL store, as far as the extra `postgres` is installed."""
    return NoticedVersions(location) if find_spec("asyncpg") else SharedVersions()


def _dsn(location: StoreLocation) -> str:
    """The store's URL as asyncpg takes it, for whom other options are settings of the server."""
    parts = urlsplit(location.uri)
    options = [
        (name, value) for name, value in parse_qsl(parts.query) if name in _CONNECTION_OPTIONS
    ]
    return parts._replace(query=urlencode(options)).geturl()
