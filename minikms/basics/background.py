"""Background tasks."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import islice
from typing import Any, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine as a task during the block, and cancel it at the end."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def at_once(
    most: int, work: Callable[[ItemT], Coroutine[Any, Any, ResultT]], items: Iterable[ItemT]
) -> AsyncGenerator[ResultT, None]:
    """Yield the results of `work` for items, at most `most` of them at a time, as they come.

    With `most` of 1, they come in the order of the items. The first error ends all others.
    """
    left, tasks = iter(items), set[asyncio.Task[ResultT]]()
    try:
        while True:
            for item in islice(left, most - len(tasks)):
                tasks.add(asyncio.create_task(work(item)))
            if not tasks:
                return
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
            tasks -= done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
