"""Counters that tell whether something in a store may have changed since it was read.

A change counts up the slot of what it changed, after its commit and before it is answered. What was
read once all counters had been noted is still so as long as those of its slots are what they were.
"""

import asyncio
import mmap
import os
import zlib
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from minikms.errors import StoreError
from minikms.store.files import open_beside

SLOTS: Final = 4096

_BYTES: Final = 8 * SLOTS


def slot_of(category: str, name: str) -> int:
    """Where changes of what has this name are counted; the same in every process.

    What else has the same slot only counts as changed more often.
    """
    return zlib.crc32(f"{category}/{name}".encode()) % SLOTS


class Versions:
    """The counters of a store that one process has, which sees every change."""

    bounded = False
    """Whether a change may be told late or never, so that time must bound what is remembered."""

    def __init__(self) -> None:
        self.counters = _counters(bytearray(_BYTES))

    def snapshot(self) -> memoryview:
        """All counters, to be noted before something is read."""
        return memoryview(self.counters.tobytes()).cast("Q")

    @asynccontextmanager
    async def changing(self, slots: Collection[int]) -> AsyncIterator[None]:
        """Count a change that the block makes, or may have made where it raises."""
        try:
            yield
        finally:
            self.count(slots)

    def count(self, slots: Iterable[int] = range(SLOTS)) -> None:
        """Count a change in these slots, or in all."""
        for slot in slots:
            self.counters[slot] += 2  # see FileVersions

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Hear of what other processes change, as long as the block lasts."""
        yield

    async def aclose(self) -> None:
        """Give up what is needed for it."""


class FileVersions(Versions):
    """The counters of an SQLite file, in memory that all processes share: a file beside it.

    Only who has the turn to write counts, so that none is lost. A counter is odd while what it
    counts is being changed, and nothing may be remembered meanwhile: so a process that is killed
    between its commit and the count leaves nobody with what was before.
    """

    def __init__(self, path: Path) -> None:
        file = open_beside(path, "seen")
        try:
            # Whole, since a full disk would end the process when it writes to this memory.
            os.posix_fallocate(file, 0, _BYTES)
            self._memory = mmap.mmap(file, _BYTES)
        except OSError as exc:
            why = f"The file {path}-seen cannot be written: {exc.strerror}."
            raise StoreError(why) from None
        finally:
            os.close(file)
        self.counters = _counters(self._memory)

    async def aclose(self) -> None:
        self.counters.release()
        self._memory.close()
        # For a write that nobody waits for any more; what it has begun to count stays odd.
        self.counters = _counters(bytearray(_BYTES))

    def settle(self) -> None:
        """Count what was begun by processes that were killed; to be called in a writer's turn."""
        self.count(slot for slot, counter in enumerate(self.counters) if counter % 2)

    @asynccontextmanager
    async def changing(self, slots: Collection[int]) -> AsyncIterator[None]:
        for slot in slots:
            self.counters[slot] |= 1
        try:
            async with super().changing(slots):
                yield
        except asyncio.CancelledError:
            for slot in slots:  # it goes on without us: whoever opens the store next settles it
                self.counters[slot] |= 1
            raise

    def count(self, slots: Iterable[int] = range(SLOTS)) -> None:
        for slot in slots:
            self.counters[slot] = (self.counters[slot] | 1) + 1


def _counters(memory: bytearray | mmap.mmap) -> memoryview:
    return memoryview(memory).cast("Q")
