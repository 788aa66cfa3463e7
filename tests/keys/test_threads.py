"""Batches take turns, whatever they cost."""

import asyncio
import threading
import time

import pytest

from minikms.errors import TooBusy
from minikms.fair_gate import MAX_WAITING
from minikms.keys.threads import _CONCURRENT, _GIVEN, Batches


def anyway():
    """A check of a batch that is wanted."""


def each(call):
    """A function that a batch calls for an item."""
    return lambda items: [call(item) for item in items]


@pytest.fixture
def batches():
    made = Batches()
    yield made
    made.stop()


async def test_all_of_it_is_done_in_order_a_slice_at_a_time(batches):
    slices = []

    def square(number):
        time.sleep(0.004)
        return number * number

    done = await batches.run("a", range(20), each(square), lambda: slices.append(1), slow=True)
    assert done == [number * number for number in range(20)]
    assert len(slices) > 1
    assert await batches.run("a", [], each(square), anyway, slow=True) == []


@pytest.mark.parametrize(("slow", "sizes"), [(True, [1] * 250), (False, [100, 100, 50])])
async def test_slow_ones_one_at_a_time_and_others_many(batches, slow, sizes):
    seen = []

    def call(items):
        seen.append(len(items))
        return items

    items = list(range(250))
    assert await batches.run("a", items, call, anyway, slow=slow) == items
    assert seen == sizes


async def test_so_many_threads_and_so_many_batches_of_a_profile(batches):
    go_on, begun, most = threading.Event(), set(), []

    def call(item):
        begun.add(threading.get_ident())
        most.append(len(begun))
        go_on.wait(60)
        return item

    def run(profile):
        return asyncio.create_task(batches.run(profile, [1, 2], each(call), anyway, slow=True))

    number = _GIVEN + MAX_WAITING
    tasks = [run("a") for _ in range(number)]
    await asyncio.sleep(0)
    try:
        with pytest.raises(TooBusy) as caught:
            await run("a")
        assert caught.value.headers == {"Retry-After": "1"}
        tasks.append(run("b"))
    finally:
        go_on.set()
    assert await asyncio.gather(*tasks) == [[1, 2]] * (number + 1)
    assert max(most) <= _CONCURRENT
    assert await run("a") == [1, 2]


async def test_a_thread_finds_its_next_slice_while_the_event_loop_is_busy(batches):
    go_on, through = threading.Event(), threading.Semaphore(0)

    def call(items):
        go_on.wait(60)
        through.release()
        return items

    runs = [batches.run("a", [n], call, anyway, slow=True) for n in range(3 * _CONCURRENT)]
    tasks = [asyncio.create_task(run) for run in runs]
    await asyncio.sleep(0)
    go_on.set()
    for _ in range(2 * _CONCURRENT):
        assert through.acquire(timeout=20)  # and nothing else runs in the event loop
    assert await asyncio.gather(*tasks) == [[n] for n in range(3 * _CONCURRENT)]


@pytest.mark.parametrize("error", [ZeroDivisionError, ConnectionResetError])
async def test_one_that_fails_or_is_not_wanted_gives_its_turn_back(batches, error):
    def fail(*_):
        raise error

    for _ in range(_CONCURRENT + 1):
        with pytest.raises(error):
            await batches.run("a", [1], each(fail), anyway, slow=True)
        with pytest.raises(error):
            await batches.run("a", [1], each(abs), fail, slow=True)
    assert await batches.run("a", [1], each(abs), anyway, slow=True) == [1]


async def test_none_goes_on_once_it_is_stopped(batches):
    go_on, begun = threading.Event(), []

    def call(item):
        begun.append(item)
        go_on.wait(60)
        return item

    tasks = [
        asyncio.create_task(batches.run("a", range(99), each(call), anyway, slow=True))
        for _ in range(9)
    ]
    while len(begun) < _CONCURRENT:
        await asyncio.sleep(0.01)
    batches.stop()
    time.sleep(0.02)  # so that the slices are over
    go_on.set()
    for task in tasks:
        with pytest.raises(TooBusy):
            await task
    assert len(begun) == _CONCURRENT


async def test_a_batch_whose_caller_leaves_while_it_waits_does_not_begin():
    free, here, computed = asyncio.Event(), [True], []

    async def one_at_a_time(work):
        await free.wait()
        work()

    def check():
        if not here[0]:
            raise ConnectionResetError

    made = Batches(one_at_a_time, given=1)
    first = asyncio.create_task(made.run("p", [1], list, lambda: None, slow=True))
    await asyncio.sleep(0)
    second = asyncio.create_task(made.run("p", [2], computed.append, check, slow=True))
    await asyncio.sleep(0)
    here[0] = False
    free.set()
    assert await first == [1]
    with pytest.raises(ConnectionResetError):
        await second
    assert computed == []
    made.stop()
