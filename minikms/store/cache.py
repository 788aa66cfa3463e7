"""A cache of values read from a store, which are valid until their entries change."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from minikms.basics import clocks
from minikms.store.askar.sequence import slot_of
from minikms.store.connections.counters import ChangeCounters, Lease

ValueT = TypeVar("ValueT")

DEFAULT_MEMORY: Final = 128 * 1024 * 1024

# Bytes of a value with its entry if a cache does not weigh its values.
_EACH: Final = 512

# The number of entries that are looked at before calls go on.
_STEP: Final = 1000


class Bounds(NamedTuple):
    """The largest number of cached values, their bytes, and their longest time in seconds.

    With `size` 0, which is the default, nothing is cached.
    """

    size: int = 0
    memory: int = DEFAULT_MEMORY
    ttl: float = 0


NOTHING: Final = Bounds()


class _Entry:
    """A cached value, and the names under which it is found.

    Its default `repr` does not show the value, which may be a key.
    """

    __slots__ = ("counters", "lease", "names", "read", "value", "weight")

    def __init__(
        self,
        names: Sequence[Hashable],
        value: Any,
        weight: int,
        counters: tuple[tuple[int, int], ...],
        read: float,
        lease: Lease | None,
    ) -> None:
        self.names = names
        self.value = value
        self.weight = weight
        self.counters = counters  # slot and value
        self.read = read  # when reading it began
        self.lease = lease


class Cache(Generic[ValueT]):
    """A cache with `bounds`; `weigh` gives the bytes of a value with its entry and its names.

    To make room, the least recently used values are evicted. The newest value stays, even if it
    alone exceeds the memory.

    If `counters` may miss a change, a value is valid for the `ttl` after its lease was last
    renewed. `hits` and `misses` count the calls of `get`.
    """

    def __init__(
        self,
        counters: ChangeCounters,
        bounds: Bounds,
        weigh: Callable[[ValueT], int] = lambda _: _EACH,
    ) -> None:
        self._lease = counters.lease
        self._snapshot = counters.snapshot
        self._current = counters.values
        self._size, self._memory, ttl = bounds
        self._weigh = weigh
        self._ttl = ttl if counters.needs_ttl else math.inf
        self._entries: dict[Hashable, _Entry] = {}
        # All entries, the least recently used first.
        self._order: OrderedDict[_Entry, None] = OrderedDict()
        self.weight = 0  # bytes of all values, with their entries
        # The counters of entries by slot, which entries share.
        self._counters: dict[int, tuple[int, int]] = {}
        self.hits = self.misses = self.evictions = 0

    def __len__(self) -> int:
        return len(self._order)

    def get(self, name: Hashable) -> ValueT | None:
        """The value with this name, or None if it must be read from the store."""
        entry = self._entries.get(name)
        if entry is not None:
            if entry.lease is not None:
                entry.lease.uses += 1
            if self._is_valid(entry):
                self._order.move_to_end(entry)
                self.hits += 1
                value: ValueT = entry.value
                return value
            self._drop(entry)
        self.misses += 1
        return None

    def start_fill(self) -> "PendingEntry[ValueT]":
        """Take a snapshot of the counters; call it before a value is read."""
        return PendingEntry(self, self._snapshot(), clocks.now())

    def __contains__(self, name: Hashable) -> bool:
        """Tell whether a value has this name, valid or not; this does not count as a use."""
        return name in self._entries

    def has_room(self, value: ValueT) -> bool:
        """Tell whether a value can be cached without an eviction."""
        fits = self.weight + self._weigh(value) <= self._memory
        return fits and len(self) < self._size

    def keeps(self, *sources: tuple[str, str]) -> bool:
        """Tell whether values read from now on stay valid while these entries do not change."""
        lease = self._lease(sources)
        return lease is None or (self._ttl > 0 and lease.ask())

    def weigh_again(self, name: Hashable) -> None:
        """Count a value that has grown since it was cached."""
        entry = self._entries.get(name)
        if entry is not None:
            weight = self._weigh(entry.value)
            self.weight += weight - entry.weight
            entry.weight = weight
            self._make_room(0)

    async def drop_stale(self) -> None:
        """Drop the values that are no longer valid, which otherwise stay until their next `get`."""
        async for entry in self._each():
            if not self._is_valid(entry):
                self._drop(entry)

    async def values(self) -> AsyncIterator[ValueT]:
        """Yield the valid values, once for each name; this does not count as a use."""
        async for entry in self._each():
            if self._is_valid(entry):
                yield entry.value

    async def _each(self) -> AsyncIterator[_Entry]:
        """Yield the entry of each name; now and then, calls go on in between."""
        for number, entry in enumerate(list(self._entries.values()), 1):
            yield entry
            if number % _STEP == 0:
                await asyncio.sleep(0)

    def _is_valid(self, entry: _Entry) -> bool:
        current = self._current
        for slot, counter in entry.counters:
            if current[slot] != counter:
                return False
        lease = entry.lease
        return lease is None or clocks.now() < lease.confirmed(entry.read) + self._ttl

    def _put(self, entry: _Entry) -> None:
        if not self._size:
            return
        for _, counter in entry.counters:
            if counter % 2:
                return
        for name in entry.names:
            before = self._entries.get(name)
            if before is not None:
                self._drop(before)
        self._make_room(entry.weight, 1)
        self._order[entry] = None
        self.weight += entry.weight
        for name in entry.names:
            self._entries[name] = entry

    def _make_room(self, weight: int, number: int = 0) -> None:
        """Evict entries until `number` more, of this weight, have room, or none is left."""
        while self.weight + weight > self._memory or len(self) + number > self._size:
            if not self._order:
                return
            self._drop(next(iter(self._order)))
            self.evictions += 1

    def _drop(self, entry: _Entry) -> None:
        """Remove an entry, unless it was removed already."""
        if entry not in self._order:
            return
        del self._order[entry]
        self.weight -= entry.weight
        for name in entry.names:
            self._entries.pop(name, None)  # a damaged record may list an alias twice


class PendingEntry(NamedTuple, Generic[ValueT]):
    """A cache entry whose value is yet to be read, with the counters from before."""

    cache: Cache[ValueT]
    counters: memoryview
    read: float

    def is_current(self, *sources: tuple[str, str]) -> bool:
        """Tell whether these entries, by category and name, are unchanged since the snapshot."""
        current = self.cache._current
        slots = [slot_of(*source) for source in sources]
        unchanged = all(self.counters[slot] == current[slot] for slot in slots)
        return unchanged and clocks.now() < self.read + self.cache._ttl

    def fill(self, names: Sequence[Hashable], value: ValueT, *sources: tuple[str, str]) -> None:
        """Cache a value that was read since, from entries with these categories and names."""
        cache = self.cache
        counters = []
        for source in sources:
            slot = slot_of(*source)
            counter = cache._counters.get(slot)
            if counter is None or counter[1] != self.counters[slot]:
                counter = cache._counters[slot] = slot, self.counters[slot]
            counters.append(counter)
        weight = cache._weigh(value)
        lease = cache._lease(sources)
        cache._put(_Entry(names, value, weight, tuple(counters), self.read, lease))
