"""The file of an SQLite store and the files beside it: their places, owners and room."""

import errno
import fcntl
import logging
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, NamedTuple

from minikms.basics.shared_files import Identified, first_moved, open_or_make, why_not_owned
from minikms.basics.system_calls import allocate
from minikms.errors import StoreUnavailable
from minikms.startup_errors import StoreError

LOGGER = logging.getLogger(__name__)

# SQLite locks these bytes of its file (PENDING_BYTE in its os.h). An open connection in WAL mode
# has a shared lock on some of them.
_SQLITE_LOCKED: Final = 512, 0x40000000

# Free bytes that a disk must have before writes resume after a failed one.
_ROOM: Final = 256 * 1024


def require_one_name(store: Path) -> None:
    """Raise StoreError if an SQLite file has another name, or is mounted by itself.

    SQLite and this service keep files beside the store, such as the log of committed writes, and
    name them after it. Processes that use different names of the store use different logs, and
    overwrite each other's writes. A folder may be mounted, since it has all of these files.
    """
    with suppress(OSError):  # if it cannot be read, its opening says more
        if store.stat().st_nlink > 1:
            raise StoreError(
                f"The store {store} cannot be used: it has several names (hard links)."
            )
    if _is_mounted(store):
        raise StoreError(f"The store {store} cannot be used: it is a mount; mount its folder.")


def _is_mounted(file: Path) -> bool:
    """Tell whether a file is mounted by itself, as a container may do."""
    path = os.fsencode(file.resolve())
    with suppress(OSError):  # only Linux has the list, and such mounts
        for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
            where = line.split(b" ")[4]  # octal for spaces, line feeds and backslashes (proc(5))
            if re.sub(rb"\\(\d{3})", lambda found: bytes([int(found[1], 8)]), where) == path:
                return True
    return False


def is_open_elsewhere(store: Path) -> bool:
    """Tell whether another process, of any version, has a connection to an SQLite file open.

    This process must not have a connection: closing the file gives up all its locks on the file.
    """
    with open(store, "rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *_SQLITE_LOCKED)
        except BlockingIOError:
            return True
    return False


def is_open_here(store: Path) -> bool:
    """Tell whether this process has a file open. It opens nothing, so it gives up no lock."""
    with suppress(OSError):  # the file is gone, or the system has no list of descriptors
        sought = os.stat(store)
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):  # it was closed meanwhile
                if os.path.samestat(sought, os.fstat(int(name))):
                    return True
    return False


class OpenFile(NamedTuple):
    """An open file: its descriptor, its path, and its device and inode."""

    descriptor: int
    path: Path
    identity: tuple[int, int]

    def is_in_place(self) -> bool:
        """Tell whether its path still leads to this file."""
        return first_moved([(self.path, self.identity)]) is None


def open_beside(store: Path, ending: str) -> OpenFile:
    """Open or make the file with this ending beside a store; raises StoreError.

    The file has one name. It belongs to the user of this process, or to the owner of the store if
    root runs this process. So another user who can write in the folder can keep the service from
    starting, but cannot make it write to a file of their choice.
    """
    store = store.resolve()  # the store may be named by a link
    name = f"{store}-{ending}"
    try:
        file, is_new = open_or_make(name)
        try:
            facts, user = store.stat(), os.geteuid()
            if is_new and user == 0:  # so that the owner of the store can use it
                os.fchown(file, facts.st_uid, facts.st_gid)
            opened = os.fstat(file)
            if why := why_not_owned(opened, user, facts.st_uid):
                raise StoreError(f"The file {name} cannot be used: {why}.")
        except BaseException:
            os.close(file)
            raise
    except OSError as exc:
        raise StoreError(f"The file {name} cannot be used: {exc.strerror}.") from None
    return OpenFile(file, Path(name), (opened.st_dev, opened.st_ino))


def disk_fault(folder: Path) -> str:
    """The kernel's error for a folder's disk, quotas included; "" if it has room."""
    try:
        with TemporaryFile(dir=folder) as probe:
            allocate(probe.fileno(), _ROOM)
    except OSError as exc:
        full = exc.errno in (errno.ENOSPC, errno.EDQUOT)
        return "disk is full" if full else f"disk cannot be written: {exc.strerror}"
    return ""


def note_backup(store: Path, begun: float) -> None:
    """Note the time of a backup in a file beside the store, unless its folder is read-only."""
    note = _note_of_backup(store)
    with suppress(OSError):
        note.touch(0o600)
        os.utime(note, (begun, begun))


def last_backup(store: Path | None) -> float:
    """The time of the last backup of a store, in seconds since the epoch; 0 if none is known."""
    with suppress(OSError):
        return _note_of_backup(store).stat().st_mtime if store else 0.0
    return 0.0


def _note_of_backup(store: Path) -> Path:
    return Path(f"{store.resolve()}-backup")


class StoreFile:
    """The file of a store that a process has open, and the files beside it."""

    def __init__(self, path: Path, beside: Iterable[OpenFile]) -> None:
        self._path = path.absolute()
        facts = self._path.stat()
        self._opened: list[Identified] = [(self._path, (facts.st_dev, facts.st_ino))]
        self._opened += [(file.path, file.identity) for file in beside]
        self._moved: Path | str | None = None
        self._fault = ""

    def require_in_place(self) -> None:
        """Raise StoreUnavailable if one of the files is no longer at its path.

        Call it before each use of a connection; it costs a `stat` for each file. Writes to the old
        file would be missing in the new one, and the pool opens connections by the path, so reads
        could see either file. If a file beside the store is replaced, processes no longer exclude
        each other, or no longer learn of changes.
        """
        moved = first_moved(self._opened)
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
        """Raise StoreUnavailable if a write has failed on a full disk that is still full."""
        if self._fault and not self.has_room():
            raise StoreUnavailable(f"The key store's {self._fault}.")

    def has_room(self) -> bool:
        """Tell whether the disk has room again; call it also after a failed write."""
        before, self._fault = self._fault, disk_fault(self._path.parent)
        if self._fault and self._fault != before:
            LOGGER.error("the store's %s: %s is only read", self._fault, self._path)
        elif before and not self._fault:
            LOGGER.warning("the store's disk has room again: %s is written to", self._path)
        return not self._fault
