"""What was read from a store, remembered while it has not changed there."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from minikms.store.counters import Versions, slot_of

ValueT = TypeVar("ValueT")


class Bounds(NamedTuple):
    """How many values are remembered, and for how many seconds at most; nothing by default."""

    size: int = 0
    ttl: float = 0


NOTHING: Final = Bounds()


class _Entry(NamedTuple):
    value: Any
    counters: tuple[tuple[int, int], ...]  # by slot
    until: float

    def __repr__(self) -> str:  # the value may be a key
        return f"_Entry(counters={self.counters!r})"


class Cache(Generic[ValueT]):
    """Values by their keys, those that were used last: up to `size` in all, as `weigh` has it.

    Without that each weighs one. Where `versions` may miss a change, a value counts for `ttl`
    seconds from before it was read. `hits` and `misses` count the calls of `get`.
    """

    def __init__(
        self,
        versions: Versions,
        size: int,
        ttl: float,
        *,
        weigh: Callable[[ValueT], int] = lambda _: 1,
    ) -> None:
        self._versions = versions
        self._counters = versions.counters
        self._size = size
        self._weigh = weigh
        self._weight = 0
        self._ttl = ttl if versions.bounded else math.inf
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> ValueT | None:
        """The value of `key`, None where it is to be read from the store."""
        entry = self._entries.get(key)
        if entry is not None:
            if self._holds(entry):
                self._entries.move_to_end(key)
                self.hits += 1
                value: ValueT = entry.value
                return value
            self._drop(key)
        self.misses += 1
        return None

    def begin(self) -> "Reading[ValueT]":
        """What must be called before a value is read, for its `keep` to be called after."""
        return Reading(self, self._versions.snapshot(), time.monotonic() + self._ttl)

    def drop_stale(self) -> None:
        """Forget what has changed, which otherwise stays until it is asked for again."""
        for key in [key for key, entry in self._entries.items() if not self._holds(entry)]:
            self._drop(key)

    def _holds(self, entry: _Entry) -> bool:
        counters = self._counters
        for slot, counter in entry.counters:
            if counters[slot] != counter:
                return False
        return time.monotonic() < entry.until

    def _put(self, key: Hashable, entry: _Entry) -> None:
        weight = self._weigh(entry.value)
        if weight > self._size or any(counter % 2 for _, counter in entry.counters):
            return
        if key in self._entries:
            self._drop(key)
        self._entries[key] = entry
        self._weight += weight
        while self._weight > self._size:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Hashable) -> None:
        self._weight -= self._weigh(self._entries.pop(key).value)


class Reading(NamedTuple, Generic[ValueT]):
    """A moment before something is read, so that what is changed after it is noticed."""

    cache: Cache[ValueT]
    counters: memoryview
    until: float

    def holds(self, *sources: tuple[str, str]) -> bool:
        """Whether nothing has changed since in the entries with these categories and names."""
        now = self.cache._counters
        slots = [slot_of(*source) for source in sources]
        unchanged = all(self.counters[slot] == now[slot] for slot in slots)
        return unchanged and time.monotonic() < self.until

    def keep(self, key: Hashable, value: ValueT, *sources: tuple[str, str]) -> None:
        """Remember what was read since, from the entries with these categories and names."""
        slots = (slot_of(*source) for source in sources)
        counters = tuple((slot, self.counters[slot]) for slot in slots)
        self.cache._put(key, _Entry(value, counters, self.until))
