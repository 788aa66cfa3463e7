"""Work in tasks, a few at a time."""

import asyncio
from contextlib import aclosing

import pytest

from minikms.basics.background import at_once


async def test_at_most_so_many_run_at_a_time():
    running, most = set(), []

    async def work(item):
        running.add(item)
        most.append(len(running))
        await asyncio.sleep(0)
        running.remove(item)
        return item

    assert sorted([each async for each in at_once(3, work, range(9))]) == [*range(9)]
    assert max(most) == 3
    assert [each async for each in at_once(1, work, range(9))] == [*range(9)]


async def test_an_error_ends_the_others():
    ended = []

    async def work(item):
        if item == 1:
            raise ValueError(item)
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(item)

    with pytest.raises(ValueError, match="1"):
        async for _ in at_once(3, work, range(9)):
            pass
    assert sorted(ended) == [0, 2]


async def test_a_caller_that_leaves_ends_them_all():
    ended = []

    async def work(item):
        try:
            return await asyncio.wait_for(asyncio.Event().wait(), None if item else 0)
        except TimeoutError:
            return item
        finally:
            ended.append(item)

    async with aclosing(at_once(3, work, range(9))) as results:
        async for _ in results:
            break
    assert sorted(ended) == [0, 1, 2]
