"""Connections of our own to a store's PostgreSQL, for checks and statistics."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreLocation

if TYPE_CHECKING:
    import asyncpg

LOGGER = logging.getLogger(__name__)

# Settings without which the locks of a stopped process stay.
_REQUIRED: Final = ("idle_in_transaction_session_timeout", "lock_timeout")

# The name in the server of the connection that each service has.
NOTICES: Final = "minikms notices"

# Statements name the schema `pg_catalog`: the role's `search_path` may have another before
# it; `store/askar/postgres_schema.py` checks that no other has such operators.

# The server process that answers a statement.
_BACKEND: Final = "SELECT pg_catalog.pg_backend_pid()"

# The number of connections to this database with a given name.
_SERVICES: Final = (
    "SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity "
    "WHERE datname = pg_catalog.current_database() AND application_name = $1"
)

# With fewer keys, reads are quick in any case.
_LEAST: Final = 500

# The time limit of ANALYZE, which reads a sample of 30,000 rows.
_ANALYZE_TIMEOUT: Final = 60.0
# The time limit for closing a connection: a proxy may not pass its end on.
_CLOSE_TIMEOUT: Final = 0.5

# Tells whether the table has grown by half since it was last analyzed or vacuumed.
_OUTDATED: Final = """
    SELECT pg_catalog.pg_relation_size(oid)
        / pg_catalog.current_setting('block_size')::pg_catalog.int4 > relpages * 1.5
    FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass('items_tags')
"""

# Finds the tags with a place in the order of creation: each key and each token has one. Names of
# tags are encrypted. Values are, except places and times, which have 20 digits; times are larger.
_PLACES: Final = "FROM items_tags WHERE value > '00000000000000000000' AND value < '0001'"
_COUNT: Final = f"SELECT pg_catalog.count(*) {_PLACES}"
# The planner's estimate, for which the query does not run.
_ESTIMATE: Final = f"EXPLAIN (FORMAT JSON) SELECT {_PLACES}"


# The share of entries that the largest profile has, by the statistics; NULL if none stands out.
_SHARE: Final = """
    SELECT most_common_freqs[1] FROM pg_catalog.pg_stats
    JOIN pg_catalog.pg_namespace ON nspname = schemaname
    JOIN pg_catalog.pg_class ON relnamespace = pg_namespace.oid AND relname = tablename
    WHERE pg_class.oid = pg_catalog.to_regclass('items') AND attname = 'profile_id'
"""


class _Made(NamedTuple):
    """The first version of PostgreSQL that has something, and the statements that make it."""

    since: int
    make: str


# The statistics and the settings of tables that the service makes, by their names in `_FOUND`.
# Without the statistics, PostgreSQL takes columns for independent, and multiplies their shares.
_MADE: Final = {
    # A category, which is encrypted, belongs to one profile. Otherwise a profile among thousands
    # seems to have one key, and a page reads all of its keys.
    "minikms_items": _Made(
        12,
        "CREATE STATISTICS IF NOT EXISTS minikms_items (dependencies, ndistinct) "
        "ON profile_id, kind, category FROM items",
    ),
    # How often a tag's name and value occur together, for the three most frequent pairs. Otherwise
    # a label that half of the keys have seems to be a rare one. For less frequent pairs, the plan
    # then begins at the first key, and reads more for a page in the middle. Before PostgreSQL 14,
    # an expression cannot have statistics.
    "minikms_tags": _Made(
        14,
        "CREATE STATISTICS IF NOT EXISTS minikms_tags (mcv) "
        "ON name, value, SUBSTR(value, 1, 12) FROM items_tags; "
        "ALTER STATISTICS minikms_tags SET STATISTICS 3",
    ),
    # Each change of a key leaves a dead row of the key, and one of each of its tags. By default,
    # a fifth of a table may be dead: of ten million keys, two million.
    "items.autovacuum_vacuum_scale_factor": _Made(
        9, "ALTER TABLE items SET (autovacuum_vacuum_scale_factor = 0.02)"
    ),
    "items_tags.autovacuum_vacuum_scale_factor": _Made(
        9, "ALTER TABLE items_tags SET (autovacuum_vacuum_scale_factor = 0.02)"
    ),
    # A changed item keeps all values that are in indexes. So its new row needs no new entries
    # there, if its page has room.
    "items.fillfactor": _Made(9, "ALTER TABLE items SET (fillfactor = 90)"),
}
_FOUND: Final = """
    SELECT stxname::pg_catalog.text FROM pg_catalog.pg_statistic_ext
    WHERE stxrelid IN (pg_catalog.to_regclass('items'), pg_catalog.to_regclass('items_tags'))
    UNION ALL SELECT relname || '.' || pg_catalog.split_part(setting, '=', 1)
    FROM pg_catalog.pg_class, pg_catalog.unnest(reloptions) AS setting
    WHERE oid IN (pg_catalog.to_regclass('items'), pg_catalog.to_regclass('items_tags'))
"""


def installed() -> bool:
    """Tell whether the extra `postgres`, which such connections need, is installed."""
    return find_spec("asyncpg") is not None


async def connect(
    location: StoreLocation, application: str, timeout: float, *, prepared: int = 100
) -> "asyncpg.Connection":
    """Open a connection with the settings of Askar's; `application` is its name in the server.

    It keeps up to `prepared` statements.
    """
    import asyncpg  # slow to import, and only PostgreSQL needs it

    return await asyncpg.connect(
        location.dsn,
        timeout=timeout,
        statement_cache_size=prepared,
        server_settings={"application_name": application, "options": location.server_options},
    )


class ServerError(Exception):
    """A statement or a connection of our own failed; the message is the name of the error."""


@asynccontextmanager
async def connected(
    location: StoreLocation, application: str = "minikms check"
) -> AsyncIterator["asyncpg.Connection"]:
    """A connection for the block, with the time limit of the store; raises ServerError.

    A connection that does not end in time is no error of the block.
    """
    import asyncpg

    failures = asyncpg.PostgresError, asyncpg.InterfaceError, OSError
    try:
        session = await connect(location, application, location.timeout, prepared=0)
        try:
            yield session
        finally:
            with suppress(*failures):  # it is given up either way
                await session.close(timeout=_CLOSE_TIMEOUT)
    except failures as exc:
        raise ServerError(type(exc).__name__) from exc


async def check_sessions(location: StoreLocation) -> str:
    """Warn if the settings of sessions are not in force; return why they cannot be checked.

    The result is empty if they were checked, and without the extra `postgres`, which the check
    needs. Raises StoreError if a pooler gives each transaction another session.
    """
    if location.backend != "postgres" or not installed():
        return ""
    try:
        async with (
            connected(location) as one,
            connected(location) as other,
            asyncio.timeout(location.timeout),
        ):
            off = [name for name in _REQUIRED if await one.fetchval(f"SHOW {name}") == "0"]
            pids = [{await each.fetchval(_BACKEND) for _ in range(3)} for each in (one, other)]
            shared = len(pids[0]) + len(pids[1]) > 2 or pids[0] == pids[1]
    except (ServerError, TimeoutError) as exc:
        # The name of a statement that another session has.
        shared = str(exc) == "InvalidSQLStatementNameError"
        if not shared:
            return str(exc) or "TimeoutError"
    if shared:
        raise StoreError(
            f"A pooler at {location} gives each transaction another session: "
            "use its session mode (PgBouncer: pool_mode = session)."
        )
    if off:
        LOGGER.warning(
            "%s %s not set in sessions at %s, so that a stopped process may block all writes of a "
            "profile: a pooler drops settings; set them for the role",
            " and ".join(off),
            "is" if len(off) == 1 else "are",
            location,
        )
    return ""


async def require_no_service(location: StoreLocation) -> None:
    """Raise StoreError if a service of any version is connected to the store's database.

    It finds only services with the extra `postgres`, and only if this process has that extra.
    """
    if not installed():
        return
    try:
        async with connected(location) as session:
            services = await session.fetchval(_SERVICES, NOTICES)
    except ServerError as exc:
        raise StoreError(
            f"The services that use the store at {location} cannot be listed: {exc}."
        ) from None
    if services:
        raise StoreError(f"A service uses the database of the store at {location}: stop it first.")


class TableStatistics:
    """Makes extended statistics and settings of the tables, and analyzes these as they grow.

    Without statistics PostgreSQL assumes that a profile has one row, and a page of a listing takes
    seconds. Its autovacuum, if it is on, looks for grown tables once a minute. Only PostgreSQL with
    the extra `postgres` is analyzed; other databases have fixed statistics or none.
    """

    def __init__(self, location: StoreLocation) -> None:
        self._location = location
        self._is_used = location.backend == "postgres" and installed()
        self._task: asyncio.Task[None] | None = None

    def note_doubled(self, keys: int) -> None:
        """Renew the statistics, since a profile has twice as many keys by now."""
        if keys >= _LEAST:
            self.begin_renewal()

    def begin_renewal(self) -> None:
        """Renew the statistics in the background."""
        if self._is_used and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._renew())

    async def renew(self) -> None:
        """Renew the statistics, and return once they are."""
        if self._is_used:
            if self._task is not None:
                await self._task
            await self._renew()

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def number_of_keys(self, most: int) -> tuple[int, float | None] | None:
        """Count the keys and tokens, or estimate them if there seem to be `most` or more.

        An estimate reads no rows. Also estimate the share of entries that the largest profile has,
        None if none stands out. None if the database has no statistics of ours. Raises ServerError.
        """
        if not self._is_used:
            return None
        async with connected(self._location) as session:
            [found] = orjson.loads(await session.fetchval(_ESTIMATE))
            number = int(found["Plan"]["Plan Rows"])
            if number < most:
                number = await session.fetchval(_COUNT)
            return number, await session.fetchval(_SHARE)

    async def missing(self) -> list[str]:
        """Name the statistics and settings that the database lacks; raises ServerError."""
        if not self._is_used:
            return []
        async with connected(self._location) as session:
            return await _missing(session)

    async def make(self) -> None:
        """Make the statistics and settings that are missing, without analyzing the tables."""
        if self._is_used:
            await self._run(self._make_missing)

    async def _renew(self) -> None:
        async def work(session: "asyncpg.Connection") -> None:
            if await self._make_missing(session) or await session.fetchval(_OUTDATED):
                await session.execute("ANALYZE items, items_tags")

        await self._run(work)

    async def _run(self, work: Callable[["asyncpg.Connection"], Awaitable[object]]) -> None:
        try:
            async with (
                asyncio.timeout(_ANALYZE_TIMEOUT),
                connected(self._location, "minikms statistics") as session,
            ):
                await work(session)
        except (ServerError, TimeoutError) as exc:
            LOGGER.warning("%s is not analyzed: %s", self._location, str(exc) or "TimeoutError")

    async def _make_missing(self, session: "asyncpg.Connection") -> bool:
        """Make the statistics and settings that are missing; tell whether some were made."""
        import asyncpg  # slow to import, and only PostgreSQL needs it

        made = False
        for name in await _missing(session):
            try:
                await session.execute(_MADE[name].make)
                made = True
            except asyncpg.PostgresError as exc:  # only the owner of the tables may
                LOGGER.info("%s lacks %s: %s", self._location, name, type(exc).__name__)
        return made


async def _missing(session: "asyncpg.Connection") -> list[str]:
    found = {row[0] for row in await session.fetch(_FOUND)}
    version = session.get_server_version().major
    return [name for name, each in _MADE.items() if version >= each.since and name not in found]
