"""Whether an SQLite store that is open can be written: its file at its path, room on its disk."""

import errno
import logging
import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from minikms.errors import StoreUnavailable

LOGGER = logging.getLogger(__name__)

# What a disk must have room for, once a write has failed for want of it: in bytes.
_ROOM: Final = 256 * 1024


def disk_fault(folder: Path) -> str:
    """What is wrong with the disk of a folder, by the kernel's own answer, which counts quotas."""
    try:
        with TemporaryFile(dir=folder) as probe:
            os.posix_fallocate(probe.fileno(), 0, _ROOM)
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        return "disk is full" if full else f"disk cannot be written: {exc.strerror}"
    return ""


class StoreFile:
    """The file at a path that a process has open."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._opened = self._identity()
        self._moved = False
        self._fault = ""

    def require_in_place(self) -> None:
        """Raise StoreUnavailable where another file is at the path by now, or none.

        It is called before every use of a connection, and costs one `stat`. What is written to the
        file that was there is not in the one that is opened next; and the pool opens connections by
        the path, so that reads would be of either.
        """
        moved = self._identity() != self._opened
        if moved is not self._moved:
            self._moved = moved
            if moved:
                LOGGER.error("%s was moved or replaced: it is not used any more", self._path)
            else:
                LOGGER.warning("%s is in its place again", self._path)
        if moved:
            raise StoreUnavailable(
                "The key store's file was moved or replaced: restart the service."
            )

    def require_room(self) -> None:
        """Raise StoreUnavailable where a write has failed since its disk was full, and still is."""
        if self._fault and not self.has_room():
            raise StoreUnavailable(f"The key store's {self._fault}.")

    def has_room(self) -> bool:
        """Whether the disk has room by now. Where a write has failed, this finds out why."""
        before, self._fault = self._fault, disk_fault(self._path.parent)
        if self._fault and self._fault != before:
            LOGGER.error("the store's %s: %s is only read", self._fault, self._path)
        elif before and not self._fault:
            LOGGER.warning("the store's disk has room again: %s is written to", self._path)
        return not self._fault

    def _identity(self) -> tuple[int, int] | None:
        """Device and inode of the file at the path, None where there is none."""
        try:
            facts = os.stat(self._path)
        except OSError:
            return None
        return facts.st_dev, facts.st_ino
