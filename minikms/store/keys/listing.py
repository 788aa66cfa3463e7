"""Pages of keys in order of creation."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from aries_askar import AskarErrorCode

from minikms.errors import StoreUnavailable
from minikms.fair_gate import FairGate
from minikms.records import KeyRecord, PrivateRecordError
from minikms.store.askar.errors import UndecryptableError
from minikms.store.askar.sequence import seq_of
from minikms.store.askar.sessions import Entry, Session
from minikms.store.categories import KEY
from minikms.store.connections.calls import LONG_TIMEOUT
from minikms.store.connections.rows import read_by_halves
from minikms.store.database import Database
from minikms.store.keys.entries import DueKey, label_tag
from minikms.store.profiles.marker import require_profile

LOGGER = logging.getLogger(__name__)

# The largest number of places in one query, each a parameter. It is a power of two, since each
# length is one more statement that a connection keeps. Databases limit parameters (SQLite 32,766).
_RANGE: Final = 1024

# The least number of places in the later queries of a page, since each query has a cost of its own.
_LEAST: Final = 16

# If fewer than one place in so many has a matching key, one query reads the rest. Records that do
# not match, each some 20 µs of a range's work, decide this sooner than places without a key.
_SPARSE: Final = 10
_READ: Final = 64

# If fewer than one key in so many matches, they are counted: fewer than `_FEW` are read from the
# first on, which takes less than a query with a bound.
_RARE: Final = 40
_FEW: Final = 256

# A page ends at this many bytes of records, or at its limit. The number of records that one query
# fetches is also bounded, dense or sparse, since each record may have the largest size. A page of
# 100 is one dense query: in memory, SQLite reads all rows of the profile for each.
MAX_PAGE_BYTES: Final = 4 * 1024 * 1024
_FETCHED: Final = 128
_FETCHED_SPARSE: Final = 256

# Seconds that a sparse step waits for others.
_WAIT: Final = 10.0


class _Read(NamedTuple):
    """A record, and its size in the store in bytes."""

    record: KeyRecord
    size: int


# The records of a step, and the place behind which to continue, None at the end.
_Step: TypeAlias = tuple[list[_Read], int | None]


class Page(NamedTuple):
    """Records in order of creation, and whether there are `more`.

    `due` are keys that were left out: their deletion is due, but not yet recorded as due.
    """

    records: list[KeyRecord]
    more: bool
    due: list[DueKey]


@dataclass
class _Density:
    """The `places` and `records` that a page has read so far, and the keys that match in them."""

    places: int = 0
    records: int = 0
    matches: int = 0

    def note(self, places: int, records: int, matches: int) -> None:
        """Add the numbers of a range."""
        self.places += places
        self.records += records
        self.matches += matches

    @property
    def is_sparse(self) -> bool:
        """Tell whether to read the rest by one query."""
        few = self.matches * _SPARSE
        return (self.records >= _READ and few < self.records) or (
            self.places >= _RANGE and few < self.places
        )

    def length(self, missing: int) -> int:
        """The number of places to read next, which probably have the `missing` keys."""
        if not self.places:
            return min(missing, _RANGE)
        expected = missing * self.places // max(self.matches, 1)
        return min(max(_power_of_two(expected + expected // 4), _LEAST), _RANGE)


class KeyListing:
    """Pages of the keys of a store's profiles.

    A page is read in steps, each a session of its own. If keys are dense, a step is a range of
    places. If they are sparse, since most were deleted or do not match, one step reads the whole
    rest: its cost depends on the number of keys, not of places. One sparse step runs at a time,
    which leaves connections for other calls, and profiles take turns. Raises StoreUnavailable if it
    waits too long.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        refusal = partial(StoreUnavailable, "Too many listings of profiles with few keys wait.")
        self._sparse = FairGate(1, refusal, patience=_WAIT)

    async def page(
        self,
        profile: str,
        *,
        limit: int,
        after: str,
        alg: str | None,
        labels: tuple[tuple[str, str], ...],
    ) -> Page:
        """Up to `limit` records in order of creation, one at least, of `MAX_PAGE_BYTES` at most."""
        filters: list[dict[str, Any]] = [] if alg is None else [{"alg": alg}]
        filters.extend({label_tag(name): value} for name, value in labels)
        found: list[_Read] = []
        due: list[DueKey] = []
        size = 0
        place: int | None = int(after or 0)
        density = _Density()
        while place is not None and len(found) <= limit and size <= MAX_PAGE_BYTES:
            if density.is_sparse:
                if not after:  # start anew: a query without a bound is quicker
                    after, place, found, due, size = seq_of(place), 0, [], [], 0
                missing = min(limit + 1 - len(found), _FETCHED_SPARSE)
                rest = partial(_read_rest, filters=filters, start=place, limit=missing)
                if density.matches * _RARE < density.records:
                    rest = partial(_read_few, filters=filters, start=place, limit=missing)
                async with self._sparse.held(profile):
                    read, place = await self._database.run(profile, rest, timeout=LONG_TIMEOUT)
            else:
                start, length = place, density.length(limit + 1 - len(found))
                dense = partial(_read_dense, start=start, length=length)
                every, place = await self._database.run(profile, dense)
                read = [each for each in every if each.record.fits(alg, labels)]
                density.note((place or start + length) - start, len(every), len(read))
            for each in read:
                if not each.record.is_gone:
                    found.append(each)
                    size += each.size
                elif each.record.deletes:
                    due.append(DueKey(each.record.kid, each.record.deletes))
        fitting = _fitting(found[:limit])
        more = place is not None or len(fitting) < len(found)
        return Page(fitting, more, due)


async def _read_dense(session: Session, *, start: int, length: int) -> _Step:
    """The records at the `length` places after `start`, without damaged ones.

    It stops earlier once they have `MAX_PAGE_BYTES`.

    Each place is a parameter of its own: for a range with two bounds, the database would collect
    all rows beyond either bound. The last place is repeated up to a power of two: every connection
    keeps its last 100 statements prepared, with 200 bytes for each parameter.
    """
    last = await session.last_place()
    if not last:
        await require_profile(session)

    end, size = min(start + length, last), 0
    found: list[_Read] = []
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
    start = max(end - _FETCHED, 0)
    found = await _read_places(session, start + 1, end + 1) if end else []
    return [each.record for each in reversed(found)], start


async def _read_places(session: Session, first: int, behind: int) -> list[_Read]:
    """The records at the places from `first` up to, and without, `behind`."""

    async def read(first: int, behind: int) -> list[_Read]:
        places = [seq_of(place) for place in range(first, behind)]
        places += places[-1:] * (_power_of_two(len(places)) - len(places))
        return _records(await session.fetch_all(KEY, {"~seq": {"$in": places}}))

    def lost(place: int) -> list[_Read]:
        _log_damaged(place)
        return []

    return await read_by_halves(first, behind, read, lost)


async def _read_rest(
    session: Session, *, filters: Sequence[dict[str, Any]], start: int, limit: int
) -> _Step:
    """The first records after `start` that match the filters, up to `limit`, without damaged ones.

    Rows of a profile are in the order of places, since both are assigned in one transaction.
    """
    while True:
        # The database collects all rows behind a bound.
        bound = [{"~seq": {"$gt": seq_of(start)}}] if start else []
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


async def _read_few(
    session: Session, *, filters: Sequence[dict[str, Any]], start: int, limit: int
) -> _Step:
    """Read as `_read_rest` does, if only few keys of the profile may match."""
    if filters and start and await session.count(KEY, {"$and": filters}) < _FEW:
        found, more = await _read_rest(session, filters=filters, start=0, limit=_FEW)
        if more is None:
            return [each for each in found if int(each.record.seq) > start], None
    return await _read_rest(session, filters=filters, start=start, limit=limit)


async def _first_place(session: Session, query: dict[str, Any], start: int) -> int:
    """The place of the first record that a query matches, which is after `start`, by counting."""
    low, high = start + 1, await session.last_place()
    while low < high:
        middle = (low + high) // 2
        until = {"~seq": {"$lte": seq_of(middle)}}
        if await session.count(KEY, {"$and": [query, until]}):
            high = middle
        else:
            low = middle + 1
    return low


def _power_of_two(number: int) -> int:
    """The least power of two that is not below a positive number."""
    return 1 << (number - 1).bit_length()


def _records(rows: Iterable[Entry]) -> list[_Read]:
    """The records of entries, in order of creation; raises UndecryptableError for a bad one."""
    values = (row.value for row in rows)
    try:
        records = [_Read(KeyRecord.from_bytes(value), len(value)) for value in values]
    except PrivateRecordError as exc:
        raise UndecryptableError(AskarErrorCode.ENCRYPTION, "a record is refused") from exc
    return sorted(records, key=lambda each: each.record.seq)


def _fitting(found: Iterable[_Read]) -> list[KeyRecord]:
    """The first records, one at least, which together have `MAX_PAGE_BYTES` at most."""
    fitting: list[KeyRecord] = []
    room = MAX_PAGE_BYTES
    for record, size in found:
        room -= size
        if room < 0 and fitting:
            break
        fitting.append(record)
    return fitting


def _log_damaged(place: int) -> None:
    LOGGER.error("a listing leaves out key number %d: its record cannot be read", place)
