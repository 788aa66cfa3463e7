"""Reads rows of a store: in batches from a cursor, and by halving."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

from aries_askar.store import Scan

from minikms.store.askar.errors import UndecryptableError
from minikms.store.askar.sessions import Entry
from minikms.store.connections.calls import StoreCalls
from minikms.store.connections.pool import SORTING

ResultT = TypeVar("ResultT")

# The number of rows in a batch.
BATCH: Final = 256


async def all_rows(
    calls: StoreCalls, askar_profile: str, category: str, *, in_order: bool = True
) -> AsyncGenerator[list[Entry | None], None]:
    """The present entries of a category, in batches, by default in the order of rows.

    The cursor of one statement holds a connection until the end, so the pool must have two
    connections. None stands for an entry that does not decrypt. A new statement continues after it,
    so each statement needs the same order. Without `in_order`, SQLite reads in the order of its
    index; PostgreSQL, whose order may change, still reads in the order of rows.
    """
    is_sorted = in_order or calls.pool.location.backend == "postgres"
    order, patience = ("id", SORTING) if is_sorted else (None, None)

    def scan(start: int, limit: int) -> Any:
        return calls.pool.store.scan(category, {}, start, limit, askar_profile, order_by=order)

    async def read(start: int, end: int) -> list[Entry | None]:
        async def work() -> list[Entry | None]:
            return list(await scan(start, end - start).fetch_all())

        return await calls.run(work, write=True)

    calls.pool.location.require_two_connections()
    offset = 0
    async with calls.held():
        while True:
            cursor = scan(offset, -1)
            try:
                # With the writer lock: the cursor may have to open its connection.
                first = partial(_next_rows, cursor)
                batch = await calls.run(first, write=True, timeout=patience)
                while batch:
                    yield batch
                    offset += len(batch)
                    batch = await calls.run_held(_next_rows(cursor))
                return
            except UndecryptableError:
                pass
            del cursor  # to release its connection
            batch = await read_by_halves(offset, offset + BATCH, read, lambda _: [None])
            yield batch
            offset += len(batch)


async def read_by_halves(
    start: int,
    end: int,
    read: Callable[[int, int], Awaitable[list[ResultT]]],
    lost: Callable[[int], list[ResultT]],
) -> list[ResultT]:
    """The results of `read` for the places from `start` up to, and without, `end`.

    Askar gives all requested entries or none, so a place that does not decrypt is found by
    halving; `lost` gives its replacement.
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
