"""The files of an audit log that are searched, with the times of their lines."""

import errno
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from minikms.audit.chain import LONGEST
from minikms.startup_errors import AuditError

# Bytes in which the end of a file has a whole line, mostly and at the latest.
_ENDS: Final = 8192, 2 * LONGEST

OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

TIME: Final = re.compile(
    rb'\{"chain":"[0-9a-f]{32}","n":[1-9][0-9]{0,15},"time":"([0-9T:.-]{26}Z)"'
)


class MovedError(Exception):
    """A file is not at its path any more."""


@dataclass(frozen=True, slots=True)
class SearchedFile:
    """A file of an audit log, as it was when it was read.

    `first` and `last` are the times of its first and last whole line, empty without any. A process
    may still be writing to a file that `is_live`.
    """

    path: str
    inode: int
    size: int
    is_live: bool
    first: str
    last: str

    @classmethod
    def read(cls, path: str, *, is_live: bool = True) -> Self | None:
        """Read its times; None for a link, and for anything but a file; raises OSError."""
        try:
            descriptor = os.open(path, OPEN_FLAGS)
        except OSError as exc:
            if exc.errno == errno.ELOOP:
                return None
            raise
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                return None
            first = TIME.match(os.pread(descriptor, 256, 0))
            return cls(
                path,
                facts.st_ino,
                facts.st_size,
                is_live,
                first[1].decode() if first else "",
                _last_time(descriptor, facts.st_size),
            )
        finally:
            os.close(descriptor)

    @property
    def key(self) -> tuple[str, int]:
        """Its place among files that are not live, in the order of time."""
        return self.last, self.inode


def files_of(path: str) -> list[SearchedFile]:
    """The files of the log at a path: of one process, of workers, and rotated ones.

    Raises OSError.
    """
    folder, name = os.path.split(os.path.abspath(path))
    stem, suffix = map(re.escape, os.path.splitext(name))
    form = re.compile(rf"{stem}(?:\.[0-9]+)?{suffix}([.-].+)?")

    def places() -> dict[str, int]:
        with os.scandir(folder) as entries:
            return {each.name: each.inode() for each in entries if form.fullmatch(each.name)}

    files = []
    before = places()
    for name, inode in before.items():
        rotated = form.fullmatch(name)
        try:
            file = SearchedFile.read(
                f"{folder}/{name}", is_live=rotated is not None and not rotated[1]
            )
        except FileNotFoundError:
            raise MovedError from None
        if file is None:
            continue
        if file.inode != inode:
            raise MovedError
        files.append(file)
    if places() != before:  # otherwise a file could be missed, or read twice
        raise MovedError
    return files


def read_files(paths: Iterable[str]) -> list[SearchedFile]:
    """The files at these paths; raises AuditError."""
    files = []
    for path in paths:
        try:
            file = SearchedFile.read(path)
        except OSError as exc:
            raise AuditError(f"The audit log {path} cannot be read: {exc.strerror}.") from None
        if file is None or (file.size and not file.last):
            raise AuditError(f"The file {path} is not an audit log.")
        files.append(file)
    return files


def _last_time(descriptor: int, size: int) -> str:
    """The time of the last whole line, or empty."""
    for length in _ENDS:
        start = max(0, size - length)
        for line in reversed(os.pread(descriptor, size - start, start).split(b"\n")[:-1]):
            if found := TIME.match(line):
                return found[1].decode()
    return ""
