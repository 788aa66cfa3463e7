"""A lock between processes that write one SQLite file."""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

from minikms.store.files import open_beside

_POLL_INTERVAL: Final = 0.0005  # seconds


class WriterLock:
    """The lock of the one process that writes an SQLite file.

    SQLite's own waiting sleeps while other processes take its lock again and again, and Askar 0.5.0
    does not recover from a wait that failed. The kernel releases `flock` where a process is killed.
    There are two files: who waits for the first holds the second, so that the process that had the
    lock before is not first again.
    """

    def __init__(self, path: Path) -> None:
        self._lock = open_beside(path, "lock")
        self._next = open_beside(path, "next")
        self._closed = False

    async def acquire(self) -> None:
        """Return once this process has the lock."""
        await _lock(self._next)
        try:
            await _lock(self._lock)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)

    def release(self) -> None:
        """Release the lock."""
        if not self._closed:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the files, which releases the lock."""
        self._closed = True
        os.close(self._lock)
        os.close(self._next)


async def _lock(file: int) -> None:
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(_POLL_INTERVAL)
