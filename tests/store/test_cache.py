"""The cache: how much it holds, for how long, and until which change."""

import gc
import time
import weakref

import pytest

from minikms.errors import StoreUnavailable
from minikms.store.cache import Cache
from minikms.store.counters import ChangeCounters, slot_of
from minikms.store.notices import PostgresChangeCounters

A, B = ("category", "a"), ("category", "b")


class Value:
    """A value whose end can be observed."""


def remember(cache, key, value, *sources):
    cache.start_fill().fill(key, value, *sources)


def test_the_weight_of_cached_values_is_bounded():
    cache = Cache(ChangeCounters(), 10, 0, weigh=len)
    for key in ("a", "b", "c"):
        remember(cache, key, key * 3, A)
    assert cache.get("a") == "aaa"
    remember(cache, "d", "dddd", A)
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    remember(cache, "a", "a", A)  # in its own place
    remember(cache, "e", "ee", A)
    assert [key for key in "acde" if cache.get(key)] == ["a", "c", "d", "e"]
    remember(cache, "f", "f" * 10, A)
    assert [key for key in "acdef" if cache.get(key)] == ["f"]
    remember(cache, "g", "g" * 11, A)  # the last one, whatever it weighs
    assert [key for key in "acdefg" if cache.get(key)] == ["g"]
    remember(cache, "h", "h", A)
    assert [key for key in "acdefgh" if cache.get(key)] == ["h"]


def test_the_last_used_value_stays_cached():
    cache = Cache(ChangeCounters(), 2, 0)
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
    assert (len(cache), cache.hits, cache.misses) == (2, 2, 1)


def test_a_cache_of_no_size_keeps_nothing():
    cache = Cache(ChangeCounters(), 0, 5)
    remember(cache, "key", "value", A)
    assert (cache.get("key"), len(cache)) == (None, 0)


async def test_a_change_is_noticed_and_no_other():
    counters = ChangeCounters()
    cache = Cache(counters, 10, 0)
    for change, left in ((A, None), (B, "of a")):
        remember(cache, "a", "of a", A)
        remember(cache, "both", "of both", A, B)
        async with counters.changing([slot_of(*change)]):
            pass
        assert (cache.get("a"), cache.get("both")) == (left, None)


async def test_a_change_that_fails_is_noticed():
    counters = ChangeCounters()
    cache = Cache(counters, 10, 0)
    remember(cache, "a", "of a", A)
    with pytest.raises(StoreUnavailable):
        async with counters.changing([slot_of(*A)]):
            raise StoreUnavailable()
    assert cache.get("a") is None


async def test_a_value_that_changes_while_it_is_read_is_not_cached():
    counters = ChangeCounters()
    cache = Cache(counters, 10, 0)
    pending = cache.start_fill()
    async with counters.changing([slot_of(*A)]):
        pass
    pending.fill("a", "read before", A)
    assert cache.get("a") is None


async def test_a_stale_value_is_dropped():
    counters = ChangeCounters()
    cache = Cache(counters, 10, 0)
    value = Value()
    remember(cache, "a", value, A)
    remember(cache, "b", "of b", B)
    dropped = weakref.ref(value)
    del value
    async with counters.changing([slot_of(*A)]):
        pass
    cache.drop_stale()
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
    cache = Cache(counters(), 10, ttl)
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
