"""Files that processes share beside an SQLite store: their names, and whose they must be."""

import os
import stat
from pathlib import Path
from typing import Final

from minikms.startup_errors import StoreError

# Nothing that was put there is followed, waited for or made the terminal of this process.
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_beside(store: Path, ending: str) -> int:
    """Open the file beside a store that has this ending, or make it; raises StoreError.

    It has one name, and belongs to the user of this process, or to whoever owns the store, which
    root may look after. So where others can write in the folder, they can have the service refuse
    to start, but not have it write to a file that they have chosen.
    """
    store = store.resolve()  # whatever links lead to the store itself
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
        # In a folder where everybody may write, Linux lets nobody else open a file with O_CREAT.
        file = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(name, _FLAGS)
    if os.geteuid() == 0 and store.exists():  # so that its owner can go on with the store
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
