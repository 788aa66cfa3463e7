"""Work in threads takes turns by name, whatever it costs."""

import asyncio
import threading
import time
from functools import partial

import pytest

from minikms.basics.fair_gate import MAX_WAITING
from minikms.basics.fair_threads import PROCESSORS, FairThreads
from minikms.errors import TooBusy


def anyway():
    """A check of a batch that is wanted."""


def each(call):
    """A function that a batch calls for an item."""
    return lambda items: [call(item) for item in items]


@pytest.fixture
def batches():
    made = FairThreads(TooBusy)
    yield made
    made.stop()


async def test_all_of_it_is_done_in_order_a_slice_at_a_time(batches):
    slices = []

    def square(number):
        time.sleep(0.004)
        return number * number

    done = await batches.run_all("a", range(20), each(square), lambda: slices.append(1), slow=True)
    assert done == [number * number for number in range(20)]
    assert len(slices) > 1
    assert await batches.run_all("a", [], each(square), anyway, slow=True) == []


@pytest.mark.parametrize(("slow", "sizes"), [(True, [1] * 250), (False, [100, 100, 50])])
async def test_slow_ones_one_at_a_time_and_others_many(batches, slow, sizes):
    seen = []

    def call(items):
        seen.append(len(items))
        return items

    items = list(range(250))
    assert await batches.run_all("a", items, call, anyway, slow=slow) == items
    assert seen == sizes


async def test_so_many_threads_and_so_many_batches_of_a_profile(batches):
    go_on, begun, most = threading.Event(), set(), []

    def call(item):
        begun.add(threading.get_ident())
        most.append(len(begun))
        go_on.wait(60)
        return item

    def run(profile):
        return asyncio.create_task(batches.run_all(profile, [1, 2], each(call), anyway, slow=True))

    number = 2 * PROCESSORS + MAX_WAITING
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
    assert max(most) <= PROCESSORS
    assert await run("a") == [1, 2]


async def test_a_thread_finds_its_next_slice_while_the_event_loop_is_busy(batches):
    go_on, through = threading.Event(), threading.Semaphore(0)

    def call(items):
        go_on.wait(60)
        through.release()
        return items

    runs = [batches.run_all("a", [n], call, anyway, slow=True) for n in range(3 * PROCESSORS)]
    tasks = [asyncio.create_task(run) for run in runs]
    await asyncio.sleep(0)
    go_on.set()
    for _ in range(2 * PROCESSORS):
        assert through.acquire(timeout=20)  # and nothing else runs in the event loop
    assert await asyncio.gather(*tasks) == [[n] for n in range(3 * PROCESSORS)]


@pytest.mark.parametrize("error", [ZeroDivisionError, ConnectionResetError])
async def test_one_that_fails_or_is_not_wanted_gives_its_turn_back(batches, error):
    def fail(*_):
        raise error

    for _ in range(PROCESSORS + 1):
        with pytest.raises(error):
            await batches.run_all("a", [1], each(fail), anyway, slow=True)
        with pytest.raises(error):
            await batches.run_all("a", [1], each(abs), fail, slow=True)
    assert await batches.run_all("a", [1], each(abs), anyway, slow=True) == [1]


async def test_none_goes_on_once_it_is_stopped(batches):
    go_on, begun = threading.Event(), []

    def call(item):
        begun.append(item)
        go_on.wait(60)
        return item

    tasks = [
        asyncio.create_task(batches.run_all("a", range(99), each(call), anyway, slow=True))
        for _ in range(9)
    ]
    while len(begun) < PROCESSORS:
        await asyncio.sleep(0.01)
    batches.stop()
    time.sleep(0.02)  # so that the slices are over
    go_on.set()
    for task in tasks:
        with pytest.raises(TooBusy):
            await task
    assert len(begun) == PROCESSORS


async def test_a_batch_whose_caller_leaves_while_it_waits_does_not_begin():
    free, here, computed = asyncio.Event(), [True], []

    async def one_at_a_time(work):
        await free.wait()
        work()

    def check():
        if not here[0]:
            raise ConnectionResetError

    made = FairThreads(TooBusy, given=1, in_thread=one_at_a_time)
    first = asyncio.create_task(made.run_all("p", [1], list, lambda: None, slow=True))
    await asyncio.sleep(0)
    second = asyncio.create_task(made.run_all("p", [2], computed.append, check, slow=True))
    await asyncio.sleep(0)
    here[0] = False
    free.set()
    assert await first == [1]
    with pytest.raises(ConnectionResetError):
        await second
    assert computed == []
    made.stop()


async def test_single_calls_take_turns_by_name():
    made, go_on, order = FairThreads(TooBusy, 1, given=1), threading.Event(), []

    def work(name):
        go_on.wait(60)
        order.append(name)
        return name

    names = ["many"] * 9 + ["one"]
    tasks = [asyncio.create_task(made.run(name, partial(work, name))) for name in names]
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*tasks) == names
    assert order.index("one") <= 2


async def test_a_cancelled_call_keeps_its_turn_until_its_end():
    made, go_on, begun = FairThreads(TooBusy, 2, given=1), threading.Event(), threading.Event()

    def work():
        begun.set()
        go_on.wait(60)

    first = asyncio.create_task(made.run("a", work))
    second = asyncio.create_task(made.run("a", lambda: "second"))
    assert await asyncio.to_thread(begun.wait, 60)
    first.cancel()
    done, _ = await asyncio.wait([first, second], timeout=0.1)
    assert not done
    go_on.set()
    assert await second == "second"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_list_that_has_begun_may_go_before_others_of_its_name():
    made, begun = FairThreads(TooBusy, 1, given=1), []

    def call(items):
        begun.append(items[0] // 10)
        time.sleep(0.02)  # longer than a slice
        return items

    lists = [range(10 * number, 10 * number + 4) for number in range(5)]
    runs = (made.run_all("a", each, call, slow=True, first=True) for each in lists)
    await asyncio.gather(*runs)
    assert begun.index(2) > begun.index(0) + 3
    assert begun[-1] == 4
