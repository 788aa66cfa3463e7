"""Times at which keys or tokens were used, until they are stored."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

NameT = TypeVar("NameT")


class NotedUses(Generic[NameT]):
    """The time of each name's first use in this `period`, in nanoseconds.

    A cache remembers in which period it last noted each name, so that further uses in the same
    period cost nothing. `write` stores times.
    """

    __slots__ = ("_write", "period", "times")

    def __init__(self, write: Callable[[Mapping[NameT, int]], Awaitable[None]]) -> None:
        self._write = write
        self.times: dict[NameT, int] = {}
        self.period = 1

    async def store(self) -> None:
        """Store the times of uses since the last call, and begin the next period.

        If it raises, as for StoreUnavailable, the next call stores them.
        """
        times, self.times = self.times, {}
        self.period += 1
        try:
            await self._write(times)
        except BaseException:
            self.times = times | self.times
            raise
