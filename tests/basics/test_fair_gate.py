"""Callers take turns at a gate by name, within bounds."""

import asyncio
from contextlib import suppress

import pytest

from minikms.basics.fair_gate import MAX_WAITING, FairGate
from minikms.errors import TooBusy


def through(name, entered, gate, **options):
    """A task that goes through a gate, and notes that it did."""

    async def enter():
        async with gate.held(name, **options):
            entered.append(name)
            await asyncio.sleep(0)

    return asyncio.create_task(enter())


async def test_names_take_turns_at_a_gate():
    gate, order = FairGate(1, TooBusy), []

    async def work(name, slices):
        for _ in range(slices):
            async with gate.held(name):
                await asyncio.sleep(0)
                order.append(name)

    await asyncio.gather(*(work("many", 3) for _ in range(20)), work("one", 3))
    last = len(order) - order[::-1].index("one")
    assert last <= 10  # every other turn, once it waits
    assert order.count("many") == 60
    assert gate._free == 1
    assert not gate._waiting


async def test_a_cancelled_waiter_takes_no_turn():
    gate, entered = FairGate(1, TooBusy), []
    async with gate.held("a"):
        waiting = [through("a", entered, gate) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
    waiting[1].cancel()  # at the moment in which it has got the turn
    await asyncio.gather(*waiting[:2], return_exceptions=True)
    await waiting[2]
    assert entered == ["a"]
    assert gate._free == 1


async def test_too_many_of_a_name_are_refused_until_one_leaves():
    gate, entered = FairGate(1, TooBusy), []
    async with gate.held("a"):
        waiting = [through("a", entered, gate) for _ in range(MAX_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(TooBusy):
            await through("a", entered, gate)
        # Calls under another name, and callers who gave up their place, are not refused.
        waiting += [through("b", entered, gate), through("a", entered, gate, again=True)]
        await asyncio.sleep(0)
        for task in waiting[:2]:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        waiting.append(through("a", entered, gate))
    await asyncio.gather(*waiting[2:])
    assert entered[:3] == ["a", "b", "a"]
    assert len(entered) == MAX_WAITING + 1


async def test_a_caller_that_waits_too_long_is_refused():
    gate, entered = FairGate(1, TooBusy, patience=0.01), []
    async with gate.held("a"):
        with pytest.raises(TooBusy):
            await through("a", entered, gate)
        assert not gate._waiting
    await through("a", entered, gate)
    assert entered == ["a"]


async def test_a_place_rests_as_long_as_it_was_held():
    gate, loop = FairGate(1, TooBusy, rest=1), asyncio.get_running_loop()
    begin = loop.time()
    async with gate.held("a"):
        await asyncio.sleep(0.03)
    end = loop.time()
    async with gate.held("b"):
        assert loop.time() - end > (end - begin) / 2
