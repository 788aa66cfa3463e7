"""Queries for records of keys, by their places in the order of creation."""

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from aries_askar import AskarErrorCode

from minikms.records import KeyRecord, PrivateRecordError
from minikms.store.askar.errors import UndecryptableError
from minikms.store.askar.sequence import SEQ_TAG, seq_of
from minikms.store.askar.sessions import Entry, Session
from minikms.store.categories import KEY
from minikms.store.connections.rows import read_by_halves
from minikms.store.profiles.marker import require_profile

LOGGER = logging.getLogger(__name__)

# The bytes of the records of a page, unless one record has more. A step ends at this number.
MAX_PAGE_BYTES: Final = 4 * 1024 * 1024

# The number of records that one dense query fetches, since each may have the largest size. A page
# of 100 is one query: in memory, SQLite reads all rows of the profile for each.
_FETCHED: Final = 128

# The number of records that are read ahead together. No other call goes on while they are parsed,
# which takes some 40 µs for each.
_AHEAD: Final = 32

# If fewer keys match, they are all read, without a bound.
_FEW: Final = 256


class ReadRecord(NamedTuple):
    """A record, and its size in the store in bytes."""

    record: KeyRecord
    size: int


# The records of a step, and the place after which to continue, None at the end.
Step: TypeAlias = tuple[list[ReadRecord], int | None]


async def read_dense(session: Session, *, start: int, length: int) -> Step:
    """The records at the `length` places after `start`, without damaged ones.

    Stop earlier once they have `MAX_PAGE_BYTES`.

    Each place is a parameter of its own: for a range with two bounds, the database would collect
    all rows beyond either bound. The last place is repeated up to a power of two: every connection
    keeps its last 100 statements prepared, with 200 bytes for each parameter.
    """
    last = await session.last_place()
    if not last:
        await require_profile(session)

    end, size = min(start + length, last), 0
    found: list[ReadRecord] = []
    while start < end and size <= MAX_PAGE_BYTES:
        behind = min(start + _FETCHED, end)
        fetched = await _read_places(session, start + 1, behind + 1)
        size += sum(each.size for each in fetched)
        found += fetched
        start = behind
    return found, start if start < last else None


async def read_back(session: Session, end: int) -> tuple[list[KeyRecord], int]:
    """The records of some places up to `end`, newest first, and the place before them.

    A record that does not decrypt is logged and left out.
    """
    start = max(end - _AHEAD, 0)
    found = await _read_places(session, start + 1, end + 1) if end else []
    return [each.record for each in reversed(found)], start


async def _read_places(session: Session, first: int, behind: int) -> list[ReadRecord]:
    """The records at the places from `first` up to, and without, `behind`."""

    async def read(first: int, behind: int) -> list[ReadRecord]:
        places = [seq_of(place) for place in range(first, behind)]
        places += places[-1:] * (power_of_two(len(places)) - len(places))
        return _records(await session.fetch_all(KEY, {SEQ_TAG: {"$in": places}}))

    def lost(place: int) -> list[ReadRecord]:
        _log_damaged(place)
        return []

    return await read_by_halves(first, behind, read, lost)


async def read_rest(
    session: Session, *, filters: Sequence[dict[str, Any]], start: int, limit: int
) -> Step:
    """The first records after `start` that match the filters, up to `limit`, without damaged ones.

    Rows of a profile are in the order of places, since both are assigned in one transaction.
    """
    while True:
        # With a bound, the database collects all rows after it.
        bound = [{SEQ_TAG: {"$gt": seq_of(start)}}] if start else []
        query = {"$and": [*bound, *filters]}
        try:
            found = _records(await session.fetch_all(KEY, query, limit, order_by="id"))
        except UndecryptableError:
            if limit > 1:  # to read the records before the damaged one
                limit //= 2
                continue
            start = await _first_place(session, query, start)
            _log_damaged(start)
            continue
        if not found:
            await require_profile(session)
        return found, int(found[-1].record.seq) if len(found) == limit else None


async def read_few(
    session: Session, *, filters: Sequence[dict[str, Any]], start: int, limit: int
) -> Step:
    """Read as `read_rest` does, if only few keys of the profile may match."""
    if filters and start and await session.count(KEY, {"$and": filters}) < _FEW:
        found, more = await read_rest(session, filters=filters, start=0, limit=_FEW)
        if more is None:
            return [each for each in found if int(each.record.seq) > start], None
    return await read_rest(session, filters=filters, start=start, limit=limit)


async def _first_place(session: Session, query: dict[str, Any], start: int) -> int:
    """Find the place of the first match of a query after `start`, by counting."""
    low, high = start + 1, await session.last_place()
    while low < high:
        middle = (low + high) // 2
        until = {SEQ_TAG: {"$lte": seq_of(middle)}}
        if await session.count(KEY, {"$and": [query, until]}):
            high = middle
        else:
            low = middle + 1
    return low


def power_of_two(number: int) -> int:
    """The least power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()


def _records(rows: Iterable[Entry]) -> list[ReadRecord]:
    """The records of entries, in order of creation; raises UndecryptableError for a bad one."""
    values = (row.value for row in rows)
    try:
        records = [ReadRecord(KeyRecord.from_bytes(value), len(value)) for value in values]
    except PrivateRecordError as exc:
        raise UndecryptableError(AskarErrorCode.ENCRYPTION, "a record is refused") from exc
    return sorted(records, key=lambda each: each.record.seq)


def _log_damaged(place: int) -> None:
    LOGGER.error("a listing leaves out key number %d: its record cannot be read", place)
