"""Rows of a store in the order of their numbers: batches from a cursor, and halving."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final, TypeVar

from aries_askar.store import Scan

from minikms.store.askar_errors import UndecryptableError
from minikms.store.handle import StoreHandle
from minikms.store.location import StoreLocation
from minikms.store.permits import Permits
from minikms.store.sessions import Entry

ResultT = TypeVar("ResultT")

# How many rows are read from a cursor in one step.
BATCH: Final = 256


class Rows:
    """All entries of one category in a profile, in batches."""

    def __init__(self, handle: StoreHandle, permits: Permits, location: StoreLocation) -> None:
        self._handle = handle
        self._permits = permits
        self._location = location

    async def batches(
        self, askar_profile: str, category: str
    ) -> AsyncGenerator[list[Entry | None], None]:
        """All entries in the order of rows, as they are now, in batches.

        They are the result of one statement, whose cursor holds a connection until the end, so
        there must be two. None stands for an entry that does not decrypt; a new statement goes on
        behind it.
        """
        self._location.require_two_connections()
        offset = 0
        async with self._permits.held():
            while True:
                scan = self._scan(askar_profile, category, offset, -1)
                try:
                    # With a permit to write: the scan may have to open its connection.
                    batch = await self._permits.run(_next_rows(scan), write=True)
                    while batch:
                        yield batch
                        offset += len(batch)
                        batch = await self._permits.run_held(_next_rows(scan))
                    return
                except UndecryptableError:
                    pass
                del scan  # which releases its connection
                batch = await self._range(askar_profile, category, offset, BATCH)
                yield batch
                offset += len(batch)

    async def _range(
        self, askar_profile: str, category: str, offset: int, limit: int
    ) -> list[Entry | None]:
        """Up to `limit` entries from `offset` on; None for one that does not decrypt."""

        async def work(start: int, end: int) -> list[Entry | None]:
            return list(await self._scan(askar_profile, category, start, end - start).fetch_all())

        async def read(start: int, end: int) -> list[Entry | None]:
            return await self._permits.run(work(start, end), write=True)

        return await read_by_halves(offset, offset + limit, read, lambda _: [None])

    def _scan(self, askar_profile: str, category: str, offset: int, limit: int) -> Scan:
        store = self._handle.store
        return store.scan(category, {}, offset, limit, askar_profile, order_by="id")


async def read_by_halves(
    start: int,
    end: int,
    read: Callable[[int, int], Awaitable[list[ResultT]]],
    lost: Callable[[int], list[ResultT]],
) -> list[ResultT]:
    """What `read` gives for the places from `start` up to, and without, `end`.

    Askar gives all that is asked for or nothing, so a place that does not decrypt is found by
    halving; `lost` gives what replaces it.
    """
    try:
        return await read(start, end)
    except UndecryptableError:
        if end - start == 1:
            return lost(start)
    half = (start + end) // 2
    first = await read_by_halves(start, half, read, lost)
    return first + await read_by_halves(half, end, read, lost)


async def _next_rows(scan: Scan) -> list[Entry | None]:
    """The next rows of a cursor, at most a batch."""
    rows: list[Entry | None] = []
    async for row in scan:
        rows.append(row)
        if len(rows) == BATCH:
            break
    return rows
