"""Runs work on the event loop, in a thread if it is slow, and batches in a pool of their own.

A single call never waits for a batch.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from minikms.errors import TooBusy
from minikms.fair_gate import FairGate
from minikms.plugin.protocol import Capability, Jwe, KeyAlgorithm

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_CONCURRENT: Final = min(os.cpu_count() or 1, 16)
# The number of slices that may be submitted: two for each thread, so that a thread that ends the
# first starts the second without waiting for the event loop.
_GIVEN: Final = 2 * _CONCURRENT
# Seconds of a slice, for which a batch has a thread. It is enough for some signatures by RSA, or a
# whole batch by Ed25519, and a hundred times the cost of handing a call to a thread.
_SLICE: Final = 0.01
# The number of quick items between two looks at the clock. Together they take about a slice.
_QUICK: Final = 100

# Calls a function in a thread.
InThread: TypeAlias = Callable[[Callable[[], None]], Awaitable[None]]


class Batches:
    """Runs batches in slices of time, by default in as many threads as there are processors.

    After each slice, the thread goes to the next batch, round robin over profiles and over the
    batches of a profile. So an expensive batch does not make others wait longer.

    `in_thread` replaces the threads; `given` is the number of slices that may be submitted.
    """

    def __init__(self, in_thread: InThread | None = None, given: int = _GIVEN) -> None:
        self._threads = ThreadPoolExecutor(_CONCURRENT, thread_name_prefix="batch")
        self._in_thread = in_thread or self._in_own_thread
        self._gate = FairGate(given, partial(TooBusy, "Too many batches of this profile wait."))
        self._stopped = False

    async def run(
        self,
        profile: str,
        items: Sequence[ItemT],
        call: Callable[[Sequence[ItemT]], Sequence[ResultT]],
        check: Callable[[], None],
        *,
        slow: bool,
    ) -> list[ResultT]:
        """Return the results of `call` for all items, in order; slow items are called one by one.

        `check` is called before each slice, and raises if the caller is gone. Raises TooBusy.
        """
        done: list[ResultT] = []

        def work() -> None:
            until, number = time.perf_counter() + _SLICE, 1 if slow else _QUICK
            while len(done) < len(items) and not self._stopped:
                done.extend(call(items[len(done) : len(done) + number]))
                if time.perf_counter() >= until:
                    return

        while len(done) < len(items):
            async with self._gate.held(profile, again=bool(done)):
                if self._stopped:
                    raise TooBusy("The service is stopping.")
                check()
                await self._in_thread(work)
        return done

    async def _in_own_thread(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def stop(self) -> None:
        """Stop every running batch with TooBusy, at the end of its current slice."""
        self._stopped = True
        self._threads.shutdown(wait=False)


def is_slow(algorithm: KeyAlgorithm[Any] | Capability, operation: str) -> bool:
    """Tell whether an algorithm names an operation as slow, so that it runs in a thread."""
    slow = algorithm.slow
    return operation in slow or (
        isinstance(algorithm, Jwe) and algorithm.jwe_work.get(operation) in slow
    )


async def run(
    algorithm: KeyAlgorithm[Any] | Capability,
    operation: str,
    call: Callable[[], ResultT],
    *,
    is_long: bool = False,
) -> ResultT:
    """Run `call`, in a thread if it is long or if its algorithm names the operation as slow."""
    if is_long or is_slow(algorithm, operation):
        return await asyncio.to_thread(call)
    return call()
