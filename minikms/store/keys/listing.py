"""Pages of keys in order of creation."""

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from minikms.basics.fair_gate import FairGate
from minikms.errors import KeyUnreadable, StoreUnavailable
from minikms.plugin.protocol import Stored
from minikms.records import KeyRecord
from minikms.store.askar.sequence import seq_of
from minikms.store.askar.sessions import Session
from minikms.store.connections.calls import LONG_TIMEOUT
from minikms.store.database import Database
from minikms.store.keys.deletions import Deletions
from minikms.store.keys.entries import NEXT_TAG, DueKey, label_tag, material_of
from minikms.store.keys.record_queries import (
    MAX_PAGE_BYTES,
    ReadRecord,
    power_of_two,
    read_back,
    read_dense,
    read_few,
    read_rest,
)
from minikms.store.profiles.marker import require_profile

# The largest number of places in one query; each is a parameter. A power of two, since a connection
# keeps a statement for each number of parameters. Databases limit parameters (SQLite 32,766).
_RANGE: Final = 1024

# The least number of places in the later queries of a page, since each query has a cost of its own.
_LEAST: Final = 16

# One query reads the rest if fewer than one in `_SPARSE` matches of at least `_READ` records, or of
# at least `_RANGE` places. A record takes some 20 µs.
_SPARSE: Final = 10
_READ: Final = 64

# If fewer than one key in `_RARE` matches, matching keys are counted: a few are read without a
# bound.
_RARE: Final = 40

# The number of records that one sparse query fetches, since each may have the largest size.
_FETCHED_SPARSE: Final = 256

# Seconds that a sparse step waits for other ones.
_WAIT: Final = 10.0


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
        """The number of places to read next, to find the `missing` keys by the present density."""
        if not self.places:
            return min(missing, _RANGE)
        expected = missing * self.places // max(self.matches, 1)
        return min(max(power_of_two(expected + expected // 4), _LEAST), _RANGE)


class KeyListing:
    """Pages of the keys of a store's profiles.

    A page is read in steps, each a session of its own. If keys are dense, a step is a range of
    places. If they are sparse, since most were deleted or do not match, one step reads the whole
    rest: its cost depends on the number of keys, not of places. One sparse step runs at a time, so
    that other calls find connections; profiles take turns. Raises StoreUnavailable if a step waits
    too long.
    """

    def __init__(self, database: Database, deletions: Deletions) -> None:
        self._database = database
        self._deletions = deletions
        refusal = partial(StoreUnavailable, "Too many listings of profiles with few keys wait.")
        self._sparse = FairGate(1, refusal, patience=_WAIT)

    async def page(
        self,
        profile: str,
        *,
        limit: int,
        after: str = "",
        alg: str | None = None,
        labels: Collection[tuple[str, str]] = (),
        only_next: bool = False,
    ) -> tuple[list[KeyRecord], bool]:
        """Up to `limit` records in order of creation, and whether there are more.

        The records have at most `MAX_PAGE_BYTES`, unless the first one has more. `after` is the
        `seq` of the last record of the page before. `alg` is the one algorithm to list; a key must
        have all `labels`, and with `only_next` be a next key. A record that does not decrypt is
        logged and left out.
        """
        filters: list[dict[str, Any]] = [] if alg is None else [{"alg": alg}]
        filters.extend({label_tag(name): value} for name, value in labels)
        if only_next:
            filters.append(NEXT_TAG)
        found: list[ReadRecord] = []
        due: list[DueKey] = []
        size = 0
        place: int | None = int(after or 0)
        density = _Density()
        while place is not None and len(found) <= limit and size <= MAX_PAGE_BYTES:
            if density.is_sparse:
                if not after:  # start anew: a query without a bound is quicker
                    after, place, found, due, size = seq_of(place), 0, [], [], 0
                missing = min(limit + 1 - len(found), _FETCHED_SPARSE)
                rest = partial(read_rest, filters=filters, start=place, limit=missing)
                if density.matches * _RARE < density.records:
                    rest = partial(read_few, filters=filters, start=place, limit=missing)
                async with self._sparse.held(profile):
                    read, place = await self._database.run(profile, rest, timeout=LONG_TIMEOUT)
            else:
                start, length = place, density.length(limit + 1 - len(found))
                dense = partial(read_dense, start=start, length=length)
                every, place = await self._database.run(profile, dense)
                read = [
                    each for each in every if each.record.fits(alg, labels, only_next=only_next)
                ]
                density.note((place or start + length) - start, len(every), len(read))
            for each in read:
                if not each.record.is_gone:
                    found.append(each)
                    size += each.size
                elif each.record.deletes:
                    due.append(DueKey(each.record.kid, each.record.deletes))
        fitting = _fitting(found[:limit])
        await self._deletions.record(profile, due)
        return fitting, place is not None or len(fitting) < len(found)

    async def last_place(self, profile: str) -> int:
        """The last place in the order of creation that was assigned; 0 before the first."""

        async def work(session: Session) -> int:
            last = await session.last_place()
            if not last:
                await require_profile(session)
            return last

        return await self._database.run(profile, work)

    async def read_back(self, profile: str, end: int) -> tuple[list[tuple[KeyRecord, Stored]], int]:
        """Read some keys up to a place in the order of creation, newest first.

        Return the keys with their material, and the place to continue from, 0 at the end. Keys that
        are disabled, scheduled for deletion or cannot be read are left out.
        """

        async def work(session: Session) -> tuple[list[tuple[KeyRecord, Stored]], int]:
            records, start = await read_back(session, end)
            keys = []
            for record in records:
                if record.deletes is None and record.state != "disabled":
                    with suppress(KeyUnreadable):  # it is logged
                        material = await material_of(session, record)
                        if material is not None:
                            keys.append((record.drop_material(), material))
            return keys, start

        return await self._database.run(profile, work)


def _fitting(found: Iterable[ReadRecord]) -> list[KeyRecord]:
    """The first records with `MAX_PAGE_BYTES` together at most, but one at least."""
    fitting: list[KeyRecord] = []
    room = MAX_PAGE_BYTES
    for record, size in found:
        room -= size
        if room < 0 and fitting:
            break
        fitting.append(record)
    return fitting
