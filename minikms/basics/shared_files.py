"""Files that processes share: opens them, checks their owner and place, and syncs them."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

# Do not follow a link, wait for a pipe, or take a terminal that somebody has put there.
_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# A path, and the device and inode of the file at it when it was opened.
Identified: TypeAlias = tuple[Path | str, tuple[int, int]]


def open_or_make(name: str, flags: int = 0) -> tuple[int, bool]:
    """Open or make a file with mode 0600; tell whether it was made; raises OSError."""
    try:
        # If everybody may write to the folder, Linux refuses O_CREAT on another user's file.
        return os.open(name, _FLAGS | flags | os.O_CREAT | os.O_EXCL, 0o600), True
    except FileExistsError:
        return os.open(name, _FLAGS | flags), False


def why_not_owned(facts: os.stat_result, *owners: int) -> str:
    """Say why a file is refused: it is not regular, or has several names or another owner."""
    if not stat.S_ISREG(facts.st_mode):
        return "it is not a regular file"
    if facts.st_nlink > 1:
        return "it has several names (hard links)"
    return "" if facts.st_uid in owners else "it belongs to another user"


def first_moved(files: Iterable[Identified]) -> Path | str | None:
    """The first of some paths that does not lead to the file with its device and inode."""
    for path, identity in files:
        try:
            facts = os.stat(path)
        except OSError:
            return path
        if (facts.st_dev, facts.st_ino) != identity:
            return path
    return None


def sync(path: Path) -> None:
    """Sync a file, or the names in a folder, to the disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
