"""The cache: its bounds, the order of eviction, and validity."""

import time
import weakref
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from minikms.errors import StoreUnavailable
from minikms.store.askar.sequence import slot_of
from minikms.store.cache import Bounds, Cache
from minikms.store.connections.counters import ChangeCounters
from minikms.store.connections.notices import PostgresChangeCounters

A = "category", "a"


def remember(cache, name, value, *sources):
    cache.start_fill().fill((name,), value, *sources)


def weighing(memory):
    """A cache of this memory, of texts that take as many bytes as they have letters."""
    return Cache(ChangeCounters(), Bounds(1000, memory), len)


def test_the_least_recently_used_values_are_evicted():
    cache = weighing(100)
    for name in range(100):
        remember(cache, name, "a", A)
    for name in range(20):
        cache.get(name)
    for name in range(100, 180):
        remember(cache, name, "a", A)
    assert [name for name in range(180) if name in cache] == [*range(20), *range(100, 180)]


def test_values_in_use_stay_while_others_are_read_once():
    cache = weighing(100)
    in_use = range(40)
    for name in in_use:
        remember(cache, name, "a", A)
    for name in range(1000, 3000):
        remember(cache, name, "a", A)
        cache.get(in_use[name % len(in_use)])
    assert [name for name in in_use if cache.get(name)] == list(in_use)


def test_values_that_are_no_longer_used_make_room_for_others():
    cache = weighing(100)
    found = []
    for start in (0, 1000):
        for _ in range(4):
            used = range(start, start + 60)
            missing = [name for name in used if not cache.get(name)]
            for name in missing:
                remember(cache, name, "a", A)
            found.append(60 - len(missing))
    assert found[1:4] == [60] * 3
    assert found[-1] == 60


@pytest.mark.parametrize(
    ("counters", "ttl", "found"),
    [
        (ChangeCounters, 0, "value"),
        (PostgresChangeCounters, 0, None),
        (PostgresChangeCounters, 3600, "value"),
    ],
)
def test_a_value_older_than_its_ttl_is_not_used(counters, ttl, found):
    cache = Cache(counters(), Bounds(10, ttl=ttl))
    remember(cache, "key", "value", A)
    assert cache.get("key") == found


def test_a_lease_confirms_values_that_were_read_after_the_first_check():
    counters = PostgresChangeCounters()
    lease = counters.lease([A])
    began = time.monotonic()
    lease.renew(began, began + 1)
    for read, confirmed in ((began - 1, began - 1), (began + 0.5, began + 0.5)):
        assert lease.confirmed(read) == confirmed
    lease.renew(began + 4, began + 5)
    assert lease.confirmed(began + 0.5) == began + 0.5  # perhaps changed before the first check
    assert lease.confirmed(began + 2) == began + 4
    assert lease.confirmed(began + 6) == began + 6


class Value:
    """A value whose weight can grow, and whose end can be observed."""

    def __init__(self, weight):
        self.weight = weight


NAMES = st.integers(0, 15)
SOURCES = st.integers(0, 8).map(lambda number: ("category", str(number)))
WEIGHTS = st.integers(1, 60)
VALUES = {
    "names": st.lists(NAMES, min_size=1, max_size=3),
    "sources": st.lists(SOURCES, min_size=1, max_size=2),
    "weight": WEIGHTS,
}


class CacheMachine(RuleBasedStateMachine):
    """Overlapping reads, changes of the values read, and growing values."""

    reads = Bundle("reads")

    @initialize(size=st.sampled_from([0, 1, 3, 12]), memory=st.sampled_from([20, 100, 700]))
    def make(self, size, memory):
        self.counters = ChangeCounters()
        self.size, self.memory = size, memory
        self.cache = Cache(self.counters, Bounds(size, memory), lambda value: value.weight)
        self.changes = Counter()  # by slot
        self.values = weakref.WeakSet()  # all that anything still refers to
        self.filled = {}  # by name: the last value, its sources, and the changes before its read

    def is_current(self, name):
        """Tell whether nothing has changed since the value with this name began to be read."""
        sources, began = self.filled[name][1:]
        return all(self.changes[slot_of(*each)] == began[slot_of(*each)] for each in sources)

    @rule(target=reads)
    def begin(self):
        return self.cache.start_fill(), self.changes.copy()

    @rule(read=consumes(reads), **VALUES)
    def end(self, read, names, sources, weight):
        self.fill(read, names, sources, weight)

    @rule(**VALUES)
    def read_at_once(self, names, sources, weight):
        self.fill(self.begin(), names, sources, weight)

    def fill(self, read, names, sources, weight):
        pending, began = read
        value = Value(weight)
        pending.fill(names, value, *sources)
        self.values.add(value)
        self.filled |= dict.fromkeys(names, (weakref.ref(value), sources, began))
        assert all((name in self.cache) == (self.size > 0) for name in names)

    @rule(name=NAMES)
    def get(self, name):
        there, hits, misses = name in self.cache, self.cache.hits, self.cache.misses
        found = self.cache.get(name)
        if there and self.is_current(name):
            assert found is self.filled[name][0]()
        else:
            assert found is None
        assert self.cache.hits == hits + (found is not None)
        assert self.cache.misses == misses + (found is None)

    @rule(name=NAMES, weight=WEIGHTS)
    def grow(self, name, weight):
        if name in self.cache:
            self.filled[name][0]().weight += weight
        self.cache.weigh_again(name)

    @rule(source=SOURCES, is_done=st.booleans())
    def change(self, source, is_done):
        async def commit():
            async with self.counters.changing([slot_of(*source)]):
                if not is_done:
                    raise StoreUnavailable()

        with pytest.raises(StopIteration if is_done else StoreUnavailable):
            commit().send(None)
        self.changes[slot_of(*source)] += 1

    @rule()
    def drop_stale(self):
        there = [name for name in self.filled if name in self.cache]
        with pytest.raises(StopIteration):
            self.cache.drop_stale().send(None)
        for name in there:
            assert (name in self.cache) == self.is_current(name)

    @invariant()
    def is_bounded(self):
        cache, entries = self.cache, set(self.cache._entries.values())
        assert {entry.value for entry in entries} == set(self.values)
        assert cache.weight == sum(value.weight for value in self.values)
        assert len(cache) == len(entries) <= self.size
        assert cache.weight <= self.memory or len(cache) == 1
        assert {name for entry in entries for name in entry.names} == set(cache._entries)


TestBoundsAndValuesWhateverHappens = CacheMachine.TestCase
TestBoundsAndValuesWhateverHappens.settings = settings(deadline=None, stateful_step_count=80)


async def test_a_search_for_stale_values_is_no_use_of_their_profile():
    counters = PostgresChangeCounters()
    cache = Cache(counters, Bounds(10, ttl=3600))
    remember(cache, "key", "value", A)
    uses = counters.lease([A]).uses
    await cache.drop_stale()
    assert counters.lease([A]).uses == uses + 1  # by this line
    assert cache.get("key") == "value"
    assert counters.lease([A]).uses == uses + 3
