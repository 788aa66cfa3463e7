"""A gate with a limited number of places, shared fairly among callers by name."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

MAX_WAITING: Final = 100
"""The largest number of callers with one name that may wait at a gate, by default."""


class FairGate:
    """Gives its places to waiting callers: round robin by name, in order of arrival within a name.

    If `most` callers with a name wait already, or one waits longer than `patience` seconds, the
    error from `refusal` is raised. After use, a place stays closed for `rest` times as long as it
    was held.
    """

    def __init__(
        self,
        places: int,
        refusal: Callable[[], Exception],
        *,
        most: float = MAX_WAITING,
        patience: float | None = None,
        rest: float = 0,
    ) -> None:
        self._free = places
        self._refusal = refusal
        self._most = most
        self._patience = patience
        self._rest = rest
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def held(
        self, name: str, *, again: bool = False, first: bool = False
    ) -> AsyncIterator[None]:
        """Wait for a place, and hold it until the end of the block.

        Pass `again` if the caller gave up a place for others: it may then wait even if `most`
        callers with the name are waiting, and before them with `first`.
        """
        await self._enter(name, again, first)
        loop = asyncio.get_running_loop()
        begin = loop.time()
        try:
            yield
        finally:
            if self._rest:
                loop.call_later(self._rest * (loop.time() - begin), self._leave)
            else:
                self._leave()

    async def _enter(self, name: str, again: bool, first: bool) -> None:
        if self._free:
            self._free -= 1
            return
        waiting = self._waiting.setdefault(name, deque())
        if len(waiting) >= self._most and not again:
            raise self._refusal()
        place = asyncio.get_running_loop().create_future()
        if again and first:
            waiting.appendleft(place)
        else:
            waiting.append(place)
        try:
            if self._patience is None:
                await place
            else:
                async with asyncio.timeout(self._patience):
                    await place
        except BaseException as exc:
            if place.done() and not place.cancelled():  # the place was given at the same moment
                self._leave()
            else:
                self._forget(name, place)
            if isinstance(exc, TimeoutError):
                raise self._refusal() from None
            raise

    def _leave(self) -> None:
        """Give the place to the next waiting caller."""
        while self._waiting:
            name, waiting = self._waiting.popitem(last=False)
            place = waiting.popleft()
            if waiting:
                self._waiting[name] = waiting  # behind all other names
            if not place.done():
                place.set_result(None)
                return
        self._free += 1

    def _forget(self, name: str, place: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(name)
        if waiting and place in waiting:
            waiting.remove(place)
            if not waiting:
                del self._waiting[name]
