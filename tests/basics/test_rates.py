"""Sliding windows, and the table in which processes count them."""

import random

import pytest

from minikms.basics import rates
from minikms.basics.rates import DAY, MINUTE, SECOND, RateTable, Window, new_table

NAME = ("alice", "kid", "rule")


class Clock:
    """The clock of the tables, which a test sets."""

    def __init__(self, monkeypatch):
        self.now = 1000 * DAY
        monkeypatch.setattr(rates, "now_ns", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def tables():
    """Two tables of two processes, which share a file."""
    with new_table() as file:
        yield [RateTable(file) for _ in range(2)]


def passed(take, clock, most, length, calls, interval):
    """Count the admitted calls, if `calls` are made at equal intervals."""
    number = 0
    for _ in range(calls):
        number += take(NAME, length, most) == 0
        clock.now += interval
    return number


@pytest.mark.parametrize("most", [1, 2, 3, 7, 60, 97, 1000])
@pytest.mark.parametrize("length", [SECOND, MINUTE])
def test_at_ten_times_the_rate_a_tenth_of_ten_thousand_calls_passes(tables, clock, most, length):
    turn = iter(range(10**6))

    def take(*args):
        return tables[next(turn) % 2].take(*args)

    number = passed(take, clock, most, length, 10_000, length // most // 10)
    assert 1000 * 0.9 <= number <= 1000 * 1.1


@pytest.mark.parametrize("most", [1, 5, 60, 1000])
def test_callers_that_wait_as_told_have_the_rate(clock, most):
    table, begun = RateTable(), clock.now
    for _ in range(10 * most + 1):
        while wait := table.take(NAME, MINUTE, most):
            clock.now += wait
    assert 9 * MINUTE <= clock.now - begun <= 11 * MINUTE


def test_from_rest_the_calls_of_a_window_pass_at_once(clock):
    table = RateTable()
    assert [table.take(NAME, MINUTE, 3) for _ in range(3)] == [0, 0, 0]
    wait = table.take(NAME, MINUTE, 3)
    assert 0 < wait <= MINUTE + 1
    clock.now += wait - 1
    assert table.take(NAME, MINUTE, 3) == 1
    clock.now += 1
    assert table.take(NAME, MINUTE, 3) == 0
    clock.now += 3 * MINUTE
    assert [bool(table.take(NAME, MINUTE, 3)) for _ in range(4)] == [False, False, False, True]


def test_no_window_has_twice_the_rate(clock):
    chance, table, taken = random.Random(1), RateTable(), []
    for _ in range(20_000):
        clock.now += chance.choice((0, 0, 0, SECOND // 7, SECOND, 20 * SECOND))
        if table.take(NAME, MINUTE, 20) == 0:
            taken.append(clock.now)
    most = max(sum(begun <= at < begun + MINUTE for at in taken) for begun in taken[::50])
    assert 20 <= most <= 40


def test_calls_before_the_edge_of_a_window_count_after_it(clock):
    table = RateTable()
    assert table.take(NAME, MINUTE, 10) == 0
    clock.now += MINUTE - SECOND
    assert table.take(NAME, MINUTE, 10, 9) == 0
    clock.now += 2 * SECOND
    assert [bool(table.take(NAME, MINUTE, 10)) for _ in range(2)] == [False, True]
    clock.now += MINUTE - 2 * SECOND
    assert table.take(NAME, MINUTE, 10, 8) == 0
    assert table.take(NAME, MINUTE, 10, 2) == SECOND  # the next edge


def test_several_calls_pass_together_or_not_at_all(clock):
    table = RateTable()
    assert table.take(NAME, MINUTE, 10, 8) == 0
    assert table.take(NAME, MINUTE, 10, 3)
    assert table.take(NAME, MINUTE, 10, 2) == 0
    assert table.take(NAME, MINUTE, 10, 11) == MINUTE


def test_each_rate_counts_for_itself(clock):
    table = RateTable()
    names = [("alice", str(number)) for number in range(1000)]
    for name in names:
        assert table.take(name, MINUTE, 1) == 0
    assert all(table.take(name, MINUTE, 1) for name in names)


def test_a_used_slot_is_free_after_its_time(clock, monkeypatch):
    monkeypatch.setattr(rates, "_BUCKETS", 1)
    table = RateTable()
    for turn in range(3):
        for number in range(rates._SLOTS):
            name = str(turn), str(number)
            assert table.take(name, MINUTE, 1) == 0
            assert table.take(name, MINUTE, 1)
        clock.now += 2 * MINUTE


def test_more_rates_than_a_bucket_has_room_for_replace_the_one_used_longest_ago(clock, monkeypatch):
    monkeypatch.setattr(rates, "_BUCKETS", 1)
    table = RateTable()
    for number in range(rates._SLOTS + 1):
        assert table.take((str(number),), MINUTE, 1) == 0
        clock.now += 1
    assert table.take((str(rates._SLOTS),), MINUTE, 1)
    assert table.take(("0",), MINUTE, 1) == 0


def test_a_rate_of_a_second_that_is_in_use_keeps_its_slot(clock, monkeypatch):
    monkeypatch.setattr(rates, "_BUCKETS", 1)
    table = RateTable()
    for number in range(rates._SLOTS - 1):
        table.lease((str(number),), 1, DAY)
    clock.now += SECOND
    assert table.take(("in use",), SECOND, 1) == 0
    assert table.take(("new",), MINUTE, 1) == 0
    assert table.take(("in use",), SECOND, 1)
    # The lease that was not used for longest has gone.
    assert [table.take_leased((str(number),), 1)[0] for number in range(2)] == [1, 0]


def test_a_clock_that_is_set_back_forgets_no_call():
    window = Window(10 * DAY, 3, 4).at(2 * DAY, DAY)
    assert window == (2 * DAY, 3, 4)
    assert window.room(2 * DAY, DAY, 6) == 0


def test_a_lease_is_used_up_by_both_processes(tables, clock):
    one, other = tables
    assert one.take_leased(NAME, 1) == (1, 0)
    one.lease(NAME, 3, MINUTE)
    assert [one.take_leased(NAME, 1), other.take_leased(NAME, 2)] == [(0, 0), (0, 0)]
    assert other.take_leased(NAME, 1) == (1, 0)


def test_a_lease_ends_after_its_time(clock):
    table = RateTable()
    table.lease(NAME, 3, MINUTE)
    assert table.take_leased(NAME, 5) == (2, 0)
    clock.now += MINUTE
    assert table.take_leased(NAME, 1) == (1, 0)


def test_nothing_is_leased_again_before_there_is_room(clock):
    table = RateTable()
    table.lease(NAME, 2, MINUTE)
    table.close_lease(NAME, 3, 5 * MINUTE)
    # Three more, or a larger number, are refused; fewer are worth a question to the store.
    assert table.take_leased(NAME, 5) == (3, 5 * MINUTE)
    assert table.take_leased(NAME, 9) == (7, 5 * MINUTE)
    assert table.take_leased(NAME, 4) == (2, 0)
    assert table.take_leased(NAME, 2) == (0, 0)
    clock.now += 4 * MINUTE
    assert table.take_leased(NAME, 3) == (3, MINUTE)
    clock.now += MINUTE
    assert table.take_leased(NAME, 3) == (3, 0)
