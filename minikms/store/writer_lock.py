"""Turns among processes, where the database itself does not keep order."""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

from minikms.store.files import open_beside

_POLL: Final = 0.0005  # seconds


class WriterLock:
    """The turn of one writer among all processes that have an SQLite file open.

    SQLite's own way of waiting sleeps while others take the lock again and again, and Askar 0.5.0
    does not get over a wait that was in vain. `flock` on files beside it is let go by the kernel
    where a process is killed. Whoever waits holds the second, so that the writer before does not
    come first again.
    """

    def __init__(self, path: Path) -> None:
        self._turn = open_beside(path, "lock")
        self._next = open_beside(path, "next")
        self._closed = False

    async def acquire(self) -> None:
        """Return once no other process has the turn."""
        await _lock(self._next)
        try:
            await _lock(self._turn)
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)

    def release(self) -> None:
        """Let others have it."""
        if not self._closed:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give up the files, and with them the turn."""
        self._closed = True
        os.close(self._turn)
        os.close(self._next)


async def _lock(file: int) -> None:
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await asyncio.sleep(_POLL)
