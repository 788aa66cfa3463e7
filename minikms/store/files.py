"""Files with one owner that processes share: those beside an SQLite store, and audit logs."""

import fcntl
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

from minikms.startup_errors import StoreError

# Follow no link, wait for no pipe, and take no terminal that somebody has put there.
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# The bytes of its file that SQLite locks (PENDING_BYTE in its os.h): every connection in WAL mode
# has a shared lock on some of them for as long as it is open.
_SQLITE_LOCKED: Final = 512, 0x40000000


def is_open_elsewhere(store: Path) -> bool:
    """Whether another process, of any version, has a connection to an SQLite file open.

    This process must have none: closing the file gives up all locks that it has on it.
    """
    with open(store, "rb+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, *_SQLITE_LOCKED)
        except BlockingIOError:
            return True
    return False


class OpenFile(NamedTuple):
    """An open file: its descriptor, its path, and its device and inode."""

    descriptor: int
    path: Path
    identity: tuple[int, int]

    def is_in_place(self) -> bool:
        """Whether its path still leads to this file."""
        return identity_of(self.path) == self.identity


def identity_of(path: Path | str) -> tuple[int, int] | None:
    """Device and inode of the file at a path; None if there is none."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def open_beside(store: Path, ending: str) -> OpenFile:
    """Open the file beside a store that has this ending, or make it; raises StoreError.

    The file has one name. Its owner is the user of this process, or the owner of the store, whose
    commands root may run. So others who can write in the folder can have the service refuse to
    start, but not have it write to a file that they have chosen.
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


def open_or_make(name: str, flags: int = 0) -> tuple[int, bool]:
    """Open a file, or make it with mode 0600, and say whether it was made; raises OSError."""
    try:
        # Where everybody may write, Linux refuses O_CREAT on another's file.
        return os.open(name, _FLAGS | flags | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        return os.open(name, _FLAGS | flags), False


def why_not_owned(facts: os.stat_result, *owners: int) -> str:
    """Why an open file is refused unless it is regular, with one name and one of these owners."""
    if not stat.S_ISREG(facts.st_mode):
        return "it is not a regular file"
    if facts.st_nlink > 1:
        return "it has several names (hard links)"
    return "" if facts.st_uid in owners else "it belongs to another user"
