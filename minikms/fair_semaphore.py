"""A semaphore that serves those who wait round robin, by name, so that no name delays others."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairSemaphore:
    """A number of permits; those who wait get them name by name, and in order within a name."""

    def __init__(self, permits: int) -> None:
        self._free = permits
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def held(self, name: str) -> AsyncIterator[None]:
        """Wait for a permit, and hold it until the end of the block."""
        await self.acquire(name)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, name: str) -> None:
        """Wait for a permit, which must be released."""
        if self._free:
            self._free -= 1
            return
        permit = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(permit)
        try:
            await permit
        except asyncio.CancelledError:
            if permit.done() and not permit.cancelled():  # granted at the same moment
                self.release()
            raise

    def release(self) -> None:
        """Give a permit to the next who waits."""
        while self._waiting:
            name, permits = self._waiting.popitem(last=False)
            permit = permits.popleft()
            if permits:
                self._waiting[name] = permits  # behind all other names
            if not permit.done():
                permit.set_result(None)
                return
        self._free += 1
