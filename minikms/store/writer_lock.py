"""The lock between processes that write one SQLite file."""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Final

from minikms.store.files import open_beside
from minikms.store.layout import LAYOUTS

_POLL_INTERVAL: Final = 0.0005  # seconds

# The number of this version's files; the files of the first layout are not numbered.
_NUMBER: Final = len(LAYOUTS) - 1


class WriterLock:
    """The lock of the one process that writes an SQLite file.

    SQLite's own waiting sleeps while other processes take its lock again and again, and Askar 0.5.0
    does not recover from a failed wait. The kernel releases `flock` if a process is killed. There
    are two files: the process that waits for the first holds the second, so that the last holder of
    the lock is not first again.

    Each layout has files of its own. A writer also shares the locks of older layouts, whose
    processes need them exclusively.
    """

    def __init__(self, path: Path) -> None:
        names = [*(("lock", number) for number in range(_NUMBER + 1)), ("next", _NUMBER)]
        self.files = [open_beside(path, _ending(*name)) for name in names]
        *self._older, self._lock, self._next = (file.descriptor for file in self.files)
        self._excludes_older = self._closed = False

    async def acquire(self) -> None:
        """Return once this process has the lock."""
        await _lock((self._next, fcntl.LOCK_EX))
        try:
            older = [(file, fcntl.LOCK_SH) for file in self._older]
            await _lock(*older, (self._lock, fcntl.LOCK_EX))
        except BaseException:
            self._release_older()
            raise
        finally:
            fcntl.flock(self._next, fcntl.LOCK_UN)

    def exclude_older(self) -> None:
        """Keep the shares of the older locks after each write: older processes cannot write."""
        self._excludes_older = True

    def release(self) -> None:
        """Release the lock."""
        if not self._closed:
            fcntl.flock(self._lock, fcntl.LOCK_UN)
            self._release_older()

    def close(self) -> None:
        """Close the files, which releases the lock."""
        self._closed = True
        for file in self.files:
            os.close(file.descriptor)

    def _release_older(self) -> None:
        if not self._excludes_older:
            for file in self._older:
                fcntl.flock(file, fcntl.LOCK_UN)


def _ending(name: str, number: int) -> str:
    return f"{name}-{number}" if number else name


async def _lock(*files: tuple[int, int]) -> None:
    """Lock files one after the other, each shared or exclusively."""
    for file, how in files:
        while True:
            try:
                fcntl.flock(file, how | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_POLL_INTERVAL)
