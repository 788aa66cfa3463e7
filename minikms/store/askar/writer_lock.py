"""The lock between processes that write one SQLite file."""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

from minikms.store.askar.files import open_beside
from minikms.store.askar.layout import BEFORE, LAYOUT, Layout

_POLL_INTERVAL: Final = 0.0005  # seconds


class WriterLock:
    """The lock of the one process that writes an SQLite file.

    SQLite's own waiting sleeps while other processes take its lock again and again, and Askar 0.5.0
    does not recover from a failed wait. The kernel releases `flock` if a process is killed. There
    are two files: the next process holds the second while it waits for the first, so that the last
    holder does not get the lock again before it.

    Each layout has files of its own. A writer also shares the earlier layout's lock, which older
    processes need exclusively.
    """

    def __init__(self, path: Path) -> None:
        names = ("lock", BEFORE), ("lock", LAYOUT), ("next", LAYOUT)
        self.files = [open_beside(path, _ending(*name)) for name in names]
        older, lock, self._next = (file.descriptor for file in self.files)
        # The locks of each write, in order, and whether they are shared or exclusive.
        self._of_write = [(older, fcntl.LOCK_SH), (lock, fcntl.LOCK_EX)]
        self._closed = False

    async def acquire(self) -> None:
        """Return once this process has the lock."""
        await _lock(self._next, fcntl.LOCK_EX)
        try:
            for file, how in self._of_write:
                await _lock(file, how)
        except BaseException:
            self.release()
            raise
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)

    def exclude_older(self) -> None:
        """Keep the share of the older lock, which is held: older processes cannot write."""
        self._of_write = self._of_write[-1:]

    def release(self) -> None:
        """Release the lock."""
        if not self._closed:
            for file, _ in self._of_write:
                fcntl.flock(file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files, which releases the lock."""
        self._closed = True
        for file in self.files:
            os.close(file.descriptor)


def _ending(name: str, layout: Layout) -> str:
    """The end of a file's name; layout 3.0 has `lock-2`."""
    return f"{name}-{layout.major - 1}"


async def _lock(file: int, how: int) -> None:
    """Wait for a shared or exclusive lock on a file."""
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(_POLL_INTERVAL)
        else:
            return
