"""The files beside an SQLite store that processes share: their names, and who must own them."""

import fcntl
import os
import stat
from pathlib import Path
from typing import Final

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


def open_beside(store: Path, ending: str) -> int:
    """Open the file beside a store that has this ending, or make it; raises StoreError.

    The file has one name. Its owner is the user of this process, or the owner of the store, whose
    commands root may run. So others who can write in the folder can have the service refuse to
    start, but not have it write to a file that they have chosen.
    """
    store = store.resolve()  # the store may be named by a link
    name = f"{store}-{ending}"
    try:
        file = _open_or_make(name, store)
        try:
            _require_own(file, name, store)
        except BaseException:
            os.close(file)
            raise
    except OSError as exc:
        raise StoreError(f"The file {name} cannot be used: {exc.strerror}.") from None
    return file


def _open_or_make(name: str, store: Path) -> int:
    try:
        # Where everybody may write, Linux refuses O_CREAT on another's file.
        file = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(name, _FLAGS)
    if os.geteuid() == 0 and store.exists():  # so that its owner can use the store
        facts = store.stat()
        os.fchown(file, facts.st_uid, facts.st_gid)
    return file


def _require_own(file: int, name: str, store: Path) -> None:
    facts, why = os.fstat(file), ""
    if not stat.S_ISREG(facts.st_mode):
        why = "it is no regular file"
    elif facts.st_nlink > 1:
        why = "it has another name, too; remove it while nothing has the store open"
    elif facts.st_uid != os.geteuid() and facts.st_uid != store.stat().st_uid:
        why = "it belongs to another user"
    if why:
        raise StoreError(f"The file {name} cannot be used: {why}.")
