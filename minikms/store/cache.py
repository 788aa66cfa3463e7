"""A cache of what was read from a store, valid while it has not changed there."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from minikms.store.counters import ChangeCounters, Lease, slot_of

ValueT = TypeVar("ValueT")


class Bounds(NamedTuple):
    """The largest number of cached values, and their longest time in seconds; 0 by default."""

    size: int = 0
    ttl: float = 0


NOTHING: Final = Bounds()


class _Entry(NamedTuple):
    value: Any
    counters: tuple[tuple[int, int], ...]  # slot and value
    read: float  # when reading it began
    lease: Lease | None

    def __repr__(self) -> str:  # the value may be a key
        return f"_Entry(counters={self.counters!r})"


class Cache(Generic[ValueT]):
    """An LRU cache whose values weigh at most `size` together; `weigh` is 1 for each by default.

    The last value stays, even if it alone exceeds `size`, unless `size` is 0. If `counters` may
    miss a change, a value is valid for `ttl` seconds after its lease was last renewed. `hits` and
    `misses` count the calls of `get`.
    """

    def __init__(
        self,
        counters: ChangeCounters,
        size: int,
        ttl: float,
        *,
        weigh: Callable[[ValueT], int] | None = None,
    ) -> None:
        self._lease = counters.lease
        self._snapshot = counters.snapshot
        self._current = counters.values
        self._size = size
        self._weigh = weigh
        self._weight = 0
        self._ttl = ttl if counters.needs_ttl else math.inf
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> ValueT | None:
        """The value of `key`, or None if it must be read from the store."""
        entry = self._entries.get(key)
        if entry is not None:
            if self._is_valid(entry):
                self._entries.move_to_end(key)
                self.hits += 1
                value: ValueT = entry.value
                return value
            self._drop(key)
        self.misses += 1
        return None

    def start_fill(self) -> "PendingEntry[ValueT]":
        """Take a snapshot of the counters; call it before a value is read."""
        return PendingEntry(self, self._snapshot(), time.monotonic())

    def drop_stale(self) -> None:
        """Drop the values that are no longer valid, which otherwise stay until their next `get`."""
        for key in [key for key, entry in self._entries.items() if not self._is_valid(entry)]:
            self._drop(key)

    def _is_valid(self, entry: _Entry) -> bool:
        current = self._current
        for slot, counter in entry.counters:
            if current[slot] != counter:
                return False
        lease = entry.lease
        return lease is None or time.monotonic() < lease.confirmed(entry.read) + self._ttl

    def _put(self, key: Hashable, entry: _Entry) -> None:
        if not self._size:
            return
        for _, counter in entry.counters:
            if counter % 2:
                return
        if key in self._entries:
            self._drop(key)
        self._entries[key] = entry
        self._weight += self._weigh(entry.value) if self._weigh else 1
        while self._weight > self._size and len(self._entries) > 1:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key)
        self._weight -= self._weigh(entry.value) if self._weigh else 1


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
        return unchanged and time.monotonic() < self.read + self.cache._ttl

    def fill(self, key: Hashable, value: ValueT, *sources: tuple[str, str]) -> None:
        """Cache a value that was read since, from entries with these categories and names."""
        slots = [slot_of(*source) for source in sources]
        counters = tuple([(slot, self.counters[slot]) for slot in slots])
        lease = self.cache._lease(sources)
        self.cache._put(key, _Entry(value, counters, self.read, lease))
