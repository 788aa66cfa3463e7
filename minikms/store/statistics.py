"""Renews PostgreSQL's statistics of the store's tables while they grow."""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from minikms.store.location import StoreLocation
from minikms.store.postgres import ServerError, connected, installed

LOGGER = logging.getLogger(__name__)

# Fewer keys are read quickly, whatever PostgreSQL's estimate is.
_LEAST: Final = 500

# In seconds: for ANALYZE, which reads a sample of 30,000 rows.
_TIMEOUT: Final = 60.0

# Tells whether the table has grown by half since it was last analyzed or vacuumed.
_OUTDATED: Final = """
    SELECT pg_relation_size(oid) / current_setting('block_size')::int > relpages * 1.5
    FROM pg_class WHERE oid = to_regclass('items_tags')
"""

# Counts how often a tag's name and value occur together, for the three most frequent pairs. Without
# it, PostgreSQL multiplies the shares of name, value and prefix, and takes a label that half of the
# keys have for a rare one. For less frequent pairs, its plan then begins at the first key, and
# reads more for a page in the middle. Before PostgreSQL 14, an expression cannot have statistics.
_TOGETHER: Final = """
    CREATE STATISTICS IF NOT EXISTS minikms_tags (mcv)
    ON name, value, SUBSTR(value, 1, 12) FROM items_tags;
    ALTER STATISTICS minikms_tags SET STATISTICS 3
"""
_SINCE: Final = 14


class TableStatistics:
    """Lets PostgreSQL analyze the tables in the background each time the number of keys doubles.

    Without statistics it assumes that a profile has one row, and a page of a listing takes seconds.
    Its autovacuum, if it is on, looks for grown tables once a minute. Only PostgreSQL with the
    extra `postgres` is analyzed; other databases have fixed statistics or none.
    """

    def __init__(self, location: StoreLocation) -> None:
        self._location = location
        self._is_used = location.backend == "postgres" and installed()
        self._task: asyncio.Task[None] | None = None

    def note_doubled(self, keys: int) -> None:
        """Renew the statistics, since a profile has twice as many keys by now."""
        if self._is_used and keys >= _LEAST and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._analyze())

    async def aclose(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _analyze(self) -> None:
        import asyncpg  # slow to import, and only PostgreSQL needs it

        try:
            async with (
                asyncio.timeout(_TIMEOUT),
                connected(self._location, "minikms statistics") as session,
            ):
                if await session.fetchval(_OUTDATED):
                    if session.get_server_version().major >= _SINCE:
                        try:
                            await session.execute(_TOGETHER)
                        except asyncpg.PostgresError as exc:  # it needs a right of its own
                            LOGGER.info(
                                "%s has no statistics of pairs: %s",
                                self._location,
                                type(exc).__name__,
                            )
                    await session.execute("ANALYZE items, items_tags")
        except (ServerError, TimeoutError) as exc:
            LOGGER.info("%s is not analyzed: %s", self._location, str(exc) or "TimeoutError")
