"""Where work runs: on the event loop, in a thread where it is slow, and batches in threads apart.

A single call never waits for a batch.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from minikms.errors import TooBusy
from minikms.fair_semaphore import FairSemaphore
from minikms.plugin.protocol import Capability, Jwe, KeyAlgorithm

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

_CONCURRENT: Final = min(os.cpu_count() or 1, 16)
# How many slices are given out: one for each thread, and as many that a thread finds when it is
# through with one, without waiting for the event loop.
_GIVEN: Final = 2 * _CONCURRENT
# How long a batch has a thread at a time, in seconds: some items of RSA, all of Ed25519, and a
# hundred times what it costs to hand a call to a thread.
_SLICE: Final = 0.01
# How many items are computed at a time where none is slow: they take less than a slice, or little
# more, and what it takes to look at the clock is nothing to them.
_QUICK: Final = 100
# How many batches a profile may have under way, those that wait included.
_MOST: Final = 100


class Batches:
    """Runs batches in slices of time, in as many threads as there are processors.

    After each slice the thread goes to the next batch, round robin over the profiles, and over the
    batches of each. So the cost of a batch does not decide how long others wait.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_CONCURRENT, thread_name_prefix="batch")
        self._permits = FairSemaphore(_GIVEN)
        self._under_way: Counter[str] = Counter()
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
        """What `call` gives for all items, in order: for one at a time where each is slow.

        Raises TooBusy, and what `check` does before a slice: it raises where nobody wants the rest.
        """
        loop = asyncio.get_running_loop()
        done: list[ResultT] = []

        def work() -> None:
            until, number = time.perf_counter() + _SLICE, 1 if slow else _QUICK
            while len(done) < len(items) and not self._stopped:
                done.extend(call(items[len(done) : len(done) + number]))
                if time.perf_counter() >= until:
                    return

        with self._counted(profile):
            while len(done) < len(items):
                async with self._permits.held(profile):
                    if self._stopped:
                        raise TooBusy("The service is stopping.")
                    check()
                    await loop.run_in_executor(self._threads, work)
        return done

    def stop(self) -> None:
        """Have every batch that is under way refused, after its present slice at the latest."""
        self._stopped = True
        self._threads.shutdown(wait=False)

    @contextmanager
    def _counted(self, profile: str) -> Iterator[None]:
        if self._under_way[profile] == _MOST:
            raise TooBusy("Enough batches of this profile are under way.")
        self._under_way[profile] += 1
        try:
            yield
        finally:
            self._under_way[profile] -= 1
            if not self._under_way[profile]:
                del self._under_way[profile]


def is_slow(algorithm: KeyAlgorithm[Any] | Capability, operation: str) -> bool:
    """Whether an operation leaves the event loop; "import" stands for every way to import."""
    slow = algorithm.slow
    if not slow:
        return False
    if isinstance(algorithm, Jwe) and algorithm.jwe_work.get(operation) in slow:
        return True
    return operation in slow or ("import" in slow and operation.startswith("import-"))


async def run(
    algorithm: KeyAlgorithm[Any] | Capability,
    operation: str,
    call: Callable[[], ResultT],
    *,
    is_long: bool = False,
) -> ResultT:
    """`call` here, or in a thread where it is long, or the algorithm says that it is slow."""
    if is_long or is_slow(algorithm, operation):
        return await asyncio.to_thread(call)
    return call()
