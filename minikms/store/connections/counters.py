"""Counters that show whether an entry of a store may have changed since it was read.

A change increments the counters of the changed entries, after its commit and before its answer. A
value that was read after a snapshot of the counters is current as long as the counters of its
entries are the same.
"""

import asyncio
import math
import mmap
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from minikms.basics.background import in_background
from minikms.basics.system_calls import allocate
from minikms.startup_errors import StoreError
from minikms.store.askar.files import open_beside
from minikms.store.askar.sequence import SLOTS, Sequence
from minikms.store.connections.profile_rows import ProfileRows

# A profile with this number of uses during a lease is in use; with fewer, a check costs more than
# it saves. A call that reads a key again is two uses.
IN_USE: Final = 3

_BYTES: Final = 8 * SLOTS

# Seconds between two checks that the file of the counters is in its place.
_WATCH_INTERVAL: Final = 0.5


class Lease:
    """The time at which the values read from one profile were last known to be current.

    `uses` counts the values that were read or looked up in a while.
    """

    __slots__ = ("_confirmed", "_since", "uses")

    def __init__(self) -> None:
        self.uses = 0
        self._since, self._confirmed = math.inf, -math.inf

    def renew(self, began: float, ended: float) -> None:
        """Confirm the values that were read since the first check.

        Call it once the changes of the check are counted.
        """
        self._since = min(self._since, ended)
        self._confirmed = began

    def ask(self) -> bool:
        """Count the profile as in use; tell whether it was checked, so that its values last."""
        self.uses += IN_USE
        return self._since < math.inf

    def confirmed(self, read: float) -> float:
        """The last time at which a value was known to be current; reading it began at `read`."""
        return self._confirmed if self._since <= read < self._confirmed else read


class ChangeCounters:
    """The counters of a store that only this process has open: it makes every change itself."""

    needs_ttl = False
    """True if a change may be seen late or never, so that cached values need a time limit."""

    is_connected = True
    """False while changes by other processes should be received at once, and are not."""

    losses = 0
    """The number of times that this began."""

    @property
    def late_leases(self) -> int:
        """The number of times that a profile in use was not checked in time."""
        return 0

    @property
    def compares_rows(self) -> bool:
        """True while `unchanged` can tell which profiles have not changed."""
        return False

    def __init__(self) -> None:
        self.values = _as_integers(bytearray(_BYTES))

    def snapshot(self) -> memoryview:
        """A copy of all counters, to be taken before an entry is read."""
        return memoryview(self.values.tobytes()).cast("Q")

    def lease(self, sources: Iterable[tuple[str, str]]) -> Lease | None:
        """The lease of a value that was read from these entries; None if values need no lease."""
        return None

    @asynccontextmanager
    async def changing(self, slots: Collection[int]) -> AsyncIterator[None]:
        """Count a change that the block makes, or may have made if it raises."""
        try:
            yield
        finally:
            self.count(slots)

    def note_write(self, profile: str | None, found: Sequence, left: Sequence) -> None:
        """Count the changes by others that a write has found in the sequence of its profile.

        `left` is the sequence after the write, whose own change was counted.
        """

    async def unchanged(self, rows: Collection[ProfileRows]) -> set[ProfileRows] | None:
        """Give the profiles that have not changed since the last call; None if this is unknown."""
        return None

    def count(self, slots: Iterable[int] = range(SLOTS)) -> None:
        """Increment the counters of these slots, or all of them."""
        for slot in slots:
            self.values[slot] += 2  # by two: see FileChangeCounters

    @asynccontextmanager
    async def listening(self, on_loss: Callable[[], None]) -> AsyncIterator[None]:
        """Receive the changes that other processes make, until the end of the block.

        `on_loss` is called if the database connection that only listens has ended.
        """
        yield

    async def aclose(self) -> None:
        """Close the memory or the connection of the counters."""


class FileChangeCounters(ChangeCounters):
    """The counters of an SQLite file, in memory that all processes share: a file beside it.

    Only the holder of the writer lock increments, so that no increment is lost. A counter is odd
    while its entries are being changed, and nothing is cached under an odd counter. So if a process
    is killed between its commit and its increment, others do not keep old values.
    """

    def __init__(self, path: Path) -> None:
        self.file = open_beside(path, "seen")
        try:
            allocate(self.file.descriptor, _BYTES)
            self._memory = mmap.mmap(self.file.descriptor, _BYTES)
        except OSError as exc:
            why = f"The file {path}-seen cannot be written: {exc.strerror}."
            raise StoreError(why) from None
        finally:
            os.close(self.file.descriptor)
        self.values = _as_integers(self._memory)

    @asynccontextmanager
    async def listening(self, on_loss: Callable[[], None]) -> AsyncIterator[None]:
        async with in_background(self._watch()):
            yield

    async def _watch(self) -> None:
        """Invalidate all caches once the file is not at its path: others use another file."""
        while True:
            await asyncio.sleep(_WATCH_INTERVAL)
            if not self.file.is_in_place():
                self.count()

    async def aclose(self) -> None:
        self.values.release()
        self._memory.close()
        # A write may go on without its caller; its counters stay odd in the file.
        self.values = _as_integers(bytearray(_BYTES))

    def repair(self) -> None:
        """Make the odd counters of killed processes even; needs the writer lock."""
        self.count(slot for slot, value in enumerate(self.values) if value % 2)

    @asynccontextmanager
    async def changing(self, slots: Collection[int]) -> AsyncIterator[None]:
        for slot in slots:
            self.values[slot] |= 1
        try:
            yield
        except asyncio.CancelledError:
            raise  # the write goes on: they stay odd until the next opening of the store
        except BaseException:
            self.count(slots)
            raise
        self.count(slots)

    def count(self, slots: Iterable[int] = range(SLOTS)) -> None:
        for slot in slots:
            self.values[slot] = (self.values[slot] | 1) + 1


def _as_integers(memory: bytearray | mmap.mmap) -> memoryview:
    return memoryview(memory).cast("Q")
