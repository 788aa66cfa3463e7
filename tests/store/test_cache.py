"""The cache: its bounds, the order of eviction, and validity."""

import gc
import time
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikms.errors import StoreUnavailable
from minikms.store.askar.slots import slot_of
from minikms.store.cache import NOTHING, Bounds, Cache
from minikms.store.connections.counters import ChangeCounters
from minikms.store.connections.notices import PostgresChangeCounters

A, B = ("category", "a"), ("category", "b")


class Value:
    """A value whose end can be observed."""


def remember(cache, name, value, *sources):
    cache.start_fill().fill((name,), value, *sources)


def weighing(memory):
    """A cache of this memory, of texts that take as many bytes as they have letters."""
    return Cache(ChangeCounters(), Bounds(1000, memory), len)


def there(cache, names):
    """The cached ones of these names; they count as used."""
    return "".join(name for name in names if cache.get(name))


def test_a_used_value_stays_cached():
    cache = Cache(ChangeCounters(), Bounds(2))
    first, second = Value(), Value()
    remember(cache, "first", first, A)
    remember(cache, "second", second, A)
    assert cache.get("first") is first
    evicted = weakref.ref(second)
    del second
    remember(cache, "third", Value(), A)
    gc.collect()
    assert evicted() is None
    assert cache.get("second") is None
    assert cache.get("first") is first
    assert (len(cache), cache.hits, cache.misses, cache.evictions) == (2, 2, 1, 1)


@pytest.mark.parametrize("used", ["before", "meanwhile"])
def test_values_that_are_read_once_evict_no_used_one(used):
    cache = weighing(100)
    for name in range(100):
        remember(cache, name, "a", A)
    in_use = range(20, 90)
    for name in in_use:
        cache.get(name)
    for name in range(1000, 3000):
        remember(cache, name, "a", A)
        if used == "meanwhile":
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


def test_a_cache_of_no_size_keeps_nothing():
    cache = Cache(ChangeCounters(), NOTHING)
    remember(cache, "key", "value", A)
    assert (cache.get("key"), len(cache), cache.weight) == (None, 0, 0)


async def test_a_change_is_noticed_and_no_other():
    counters = ChangeCounters()
    cache = Cache(counters, Bounds(10))
    for change, left in ((A, None), (B, "of a")):
        remember(cache, "a", "of a", A)
        remember(cache, "both", "of both", A, B)
        async with counters.changing([slot_of(*change)]):
            pass
        assert (cache.get("a"), cache.get("both")) == (left, None)


async def test_a_change_that_fails_is_noticed():
    counters = ChangeCounters()
    cache = Cache(counters, Bounds(10))
    remember(cache, "a", "of a", A)
    with pytest.raises(StoreUnavailable):
        async with counters.changing([slot_of(*A)]):
            raise StoreUnavailable()
    assert cache.get("a") is None


async def test_a_value_that_changes_while_it_is_read_is_not_cached():
    counters = ChangeCounters()
    cache = Cache(counters, Bounds(10))
    pending = cache.start_fill()
    async with counters.changing([slot_of(*A)]):
        pass
    pending.fill(("a",), "read before", A)
    assert cache.get("a") is None


async def test_a_value_that_was_read_before_a_change_is_none_of_those_read_after_it():
    """Entries share the counters of a slot, of which a late reader has an earlier one."""
    counters = ChangeCounters()
    cache = Cache(counters, Bounds(10))
    pending = cache.start_fill()
    async with counters.changing([slot_of(*A)]):
        pass
    remember(cache, "b", "read after", A)
    pending.fill(("a",), "read before", A)
    assert (cache.get("a"), cache.get("b")) == (None, "read after")


async def test_a_stale_value_is_dropped():
    counters = ChangeCounters()
    cache = Cache(counters, Bounds(10))
    value = Value()
    remember(cache, "a", value, A)
    remember(cache, "b", "of b", B)
    dropped = weakref.ref(value)
    del value
    async with counters.changing([slot_of(*A)]):
        pass
    await cache.drop_stale()
    gc.collect()
    assert (dropped(), len(cache)) == (None, 1)


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


class Weighed:
    """A value whose weight can grow."""

    def __init__(self, weight):
        self.weight = weight


NAMES = st.integers(0, 30)
STEPS = st.one_of(
    st.tuples(st.just("fill"), st.lists(NAMES, min_size=1, max_size=3)),
    st.tuples(st.just("get"), NAMES),
    st.tuples(st.just("grow"), NAMES),
    st.tuples(st.just("change"), NAMES),
)


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(STEPS, st.integers(1, 60)), min_size=20, max_size=120),
    size=st.integers(1, 12),
    memory=st.integers(1, 200),
)
def test_the_bounds_and_the_values_whatever_happens(steps, size, memory):
    counters = ChangeCounters()
    cache = Cache(counters, Bounds(size, memory), lambda value: value.weight)
    expected = {}
    for (step, on), weight in steps:
        if step == "fill":
            value = Weighed(weight)
            cache.start_fill().fill(on, value, ("category", str(on[0])))
            expected = {name: value for name, value in expected.items() if name not in on}
            expected |= dict.fromkeys(on, value)
            assert all(cache._entries[name].value is value for name in on)
        elif step == "get":
            assert cache.get(on) in (None, expected.get(on))
        elif step == "grow":
            if on in cache:
                cache._entries[on].value.weight += weight
            cache.weigh_again(on)
        elif step == "change":
            counters.count([slot_of("category", str(on))])
            assert cache.get(on) is None or cache._entries[on].names[0] != on
        entries = set(cache._entries.values())
        assert cache.weight == sum(entry.value.weight for entry in entries)
        assert len(cache) == len(entries) <= size
        assert cache.weight <= memory or len(cache) == 1
        assert {name for entry in entries for name in entry.names} == set(cache._entries)
        assert len(cache._evicted) + len(cache._evicted_before) <= size + 2


async def test_a_search_for_stale_values_is_no_use_of_their_profile():
    counters = PostgresChangeCounters()
    cache = Cache(counters, Bounds(10, ttl=3600))
    remember(cache, "key", "value", A)
    uses = counters.lease([A]).uses
    await cache.drop_stale()
    assert counters.lease([A]).uses == uses + 1  # by this line
    assert cache.get("key") == "value"
    assert counters.lease([A]).uses == uses + 3
