"""Whether an SQLite store that is open can be written: its file at its path, room on its disk."""

import errno
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from minikms.errors import StoreUnavailable
from minikms.store.files import OpenFile, identity_of

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
    """The file of a store that a process has open, and those beside it."""

    def __init__(self, path: Path, beside: Iterable[OpenFile]) -> None:
        self._path = path.absolute()
        self._opened = [(self._path, identity_of(self._path))]
        self._opened += [(file.path, file.identity) for file in beside]
        self._moved: Path | None = None
        self._fault = ""

    def require_in_place(self) -> None:
        """Raise StoreUnavailable if one of the files is no longer at its path.

        It is called before every use of a connection, and costs a `stat` for each file. What is
        written to the file that was there is not in the one that is opened next; and the pool opens
        connections by the path, so that reads would be of either. With another file beside the
        store, processes would neither exclude each other nor learn of changes.
        """
        moved = None
        for path, identity in self._opened:
            if identity_of(path) != identity:
                moved = path
                break
        if moved != self._moved:
            if moved:
                LOGGER.error("%s was moved or replaced: the store is not used any more", moved)
            else:
                LOGGER.warning("%s is in its place again", self._moved)
            self._moved = moved
        if moved:
            raise StoreUnavailable(
                "A file of the key store was moved or replaced: restart the service."
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
