"""Threads for one kind of work, in which callers take turns by name.

All work of callers that leaves the event loop runs in such threads.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, TypeAlias, TypeVar

from minikms.basics.fair_gate import MAX_WAITING, FairGate
from minikms.errors import TooBusy

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

PROCESSORS: Final = min(os.cpu_count() or 1, 16)
"""The number of threads that can compute at a time."""

# Seconds of a slice, for which a list has a thread: enough for some RSA signatures or a whole batch
# of Ed25519, and a hundred times the cost of passing a call to a thread.
_SLICE: Final = 0.01
# The number of quick items between two looks at the clock. Together they take about a slice.
_QUICK: Final = 100

# Calls a function in a thread, and returns its result.
InThread: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]


class FairThreads:
    """Runs work in threads; callers take turns by name, as at a FairGate.

    A list is worked off in slices of time, and waits for a turn before each. `given` is the number
    of calls that may be submitted, by default two for each thread, so that a thread that ends the
    first starts the second without waiting for the event loop. `in_thread` replaces the threads.
    FairGate describes the other arguments.
    """

    def __init__(
        self,
        refusal: Callable[[], Exception],
        threads: int = PROCESSORS,
        *,
        given: int | None = None,
        in_thread: InThread | None = None,
        most: float = MAX_WAITING,
        patience: float | None = None,
        rest: float = 0,
    ) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="fair")
        self._in_thread = in_thread or self._in_own_thread
        places = 2 * threads if given is None else given
        self._gate = FairGate(places, refusal, most=most, patience=patience, rest=rest)
        self._stopped = False

    async def run(self, name: str, work: Callable[[], ResultT]) -> ResultT:
        """Call `work` in a thread, and return its result; raises the refusal.

        It keeps its turn until its end, also if the caller is cancelled.
        """
        async with self._gate.held(name):
            result: ResultT = await self._in_thread(work)
            return result

    async def run_all(
        self,
        name: str,
        items: Sequence[ItemT],
        call: Callable[[Sequence[ItemT]], Sequence[ResultT]],
        check: Callable[[], None] = lambda: None,
        *,
        slow: bool = False,
        first: bool = False,
    ) -> list[ResultT]:
        """Return the results of `call` for all items, in order; slow items are called one by one.

        Lists of a name take turns after each slice; with `first`, a list that has begun goes before
        others, so that the results of few are in memory. `check` is called before each slice, and
        raises if the caller is gone. Raises the refusal, and TooBusy once it is stopped.
        """
        done: list[ResultT] = []

        def work() -> None:
            until, number = time.perf_counter() + _SLICE, 1 if slow else _QUICK
            while len(done) < len(items) and not self._stopped:
                done.extend(call(items[len(done) : len(done) + number]))
                if time.perf_counter() >= until:
                    return

        while len(done) < len(items):
            async with self._gate.held(name, again=bool(done), first=first):
                if self._stopped:
                    raise TooBusy("The service is stopping.")
                check()
                await self._in_thread(work)
        return done

    async def _in_own_thread(self, work: Callable[[], Any]) -> Any:
        running = self._threads.submit(copy_context().run, called, work)
        try:
            return await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            if not running.done():  # a thread cannot be cancelled
                await asyncio.wait([asyncio.wrap_future(running)])
            raise

    def stop(self) -> None:
        """Stop every list with TooBusy, at the end of its current slice; other work goes on."""
        self._stopped = True


def called(work: Callable[[], ResultT]) -> ResultT:
    """Call `work`; raises RuntimeError for StopIteration, as a coroutine does.

    Python 3.11 cannot raise StopIteration for a task that awaits a thread: it would wait forever.
    """
    try:
        return work()
    except StopIteration as exc:
        raise RuntimeError("the work raised StopIteration") from exc
