"""The files of an audit log that a search reads, with the times of their lines."""

import logging
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Self, TypeAlias

from minikms.audit.chain import LONGEST
from minikms.startup_errors import AuditError

LOGGER = logging.getLogger("minikms.audit")

# Sizes of the end of a file, in bytes, that contain a complete line: usually, and always.
_ENDS: Final = 8192, 2 * LONGEST

OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

TIME: Final = re.compile(
    rb'\{"chain":"[0-9a-f]{32}","n":[1-9][0-9]{0,15},"time":"([0-9T:.-]{26}Z)"'
)

# The suffix of a rotated file, which is a number or a time, and any other suffix.
_ENDING: Final = r"(?:(?P<rotated>[.-][0-9][0-9TZ.:_+-]*)|(?P<other>[.-].+))?"

Identity: TypeAlias = tuple[int, int]
"""The device and the inode of a file."""

# A file's identity, its size, and the time of its last change in nanoseconds.
_State: TypeAlias = tuple[Identity, int, int]


class MovedError(Exception):
    """A file is not at its path any more."""


@dataclass(frozen=True, slots=True)
class SearchedFile:
    """A file of an audit log, as it was when read.

    `first` and `last` are the times of its first and last complete line, empty if it has none. A
    process may still be writing to a file that `is_live`.
    """

    path: str
    identity: Identity
    size: int
    first: str
    last: str
    is_live: bool = True

    @classmethod
    def read(cls, path: str) -> Self | None:
        """Read a file's times; None if it is not a regular file; raises OSError."""
        descriptor = os.open(path, OPEN_FLAGS)
        try:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                return None
            first = TIME.match(os.pread(descriptor, 256, 0))
            return cls(
                path,
                identity_of(facts),
                facts.st_size,
                first[1].decode() if first else "",
                _last_time(descriptor, facts.st_size),
            )
        finally:
            os.close(descriptor)

    @property
    def key(self) -> tuple[str, Identity]:
        """Its sort key among files that are not live, by time."""
        return self.last, self.identity


def identity_of(facts: os.stat_result) -> Identity:
    """The device and the inode of a file."""
    return facts.st_dev, facts.st_ino


class LogFiles:
    """The files of the log at a path: the file of each worker, and rotated files.

    The times in a rotated file are read once and remembered.
    """

    def __init__(self, path: str) -> None:
        self._folder, name = os.path.split(os.path.abspath(path))
        stem, suffix = map(re.escape, os.path.splitext(name))
        self._form = re.compile(rf"{stem}(?:\.[0-9]+)?{suffix}{_ENDING}")
        self._known: dict[_State, SearchedFile] = {}
        self._left_out = set[str]()

    def read(self, advance: Callable[[], None] = lambda: None) -> list[SearchedFile]:
        """Read the times of all files; call `advance` after each new rotated file.

        Raises OSError, MovedError, and errors of `advance`.
        """
        files: list[SearchedFile] = []
        kept: dict[_State, SearchedFile] = {}
        for path, (state, is_live) in self._places().items():
            file = self._known.get(state) or _read_again(path, state[0])
            if not is_live:
                is_new = state not in self._known
                self._known[state] = kept[state] = file
                if is_new:
                    advance()
            files.append(replace(file, path=path, is_live=is_live))
            if file.size and not file.last:
                self._leave_out(path, "it has no audit lines")
        self._known = kept
        # Otherwise a file could be missed, or read twice.
        if {path: state[0] for path, (state, _) in self._places().items()} != {
            file.path: file.identity for file in files
        }:
            raise MovedError
        return files

    def _places(self) -> dict[str, tuple[_State, bool]]:
        """List the files by path, each with its state and whether a process may be writing it."""
        found = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                form = self._form.fullmatch(entry.name)
                if form is None:
                    continue
                try:
                    # Not entry.inode(): a file that is mounted there has another one.
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    raise MovedError from None
                if not stat.S_ISREG(facts.st_mode):
                    self._leave_out(entry.path, "it is not a regular file")
                elif form.lastgroup == "other":
                    self._leave_out(entry.path, "its suffix is neither a number nor a time")
                else:
                    state = identity_of(facts), facts.st_size, facts.st_mtime_ns
                    found[entry.path] = state, form.lastgroup is None
        return found

    def _leave_out(self, path: str, why: str) -> None:
        """Log, once per file, that a file beside the log is not searched."""
        if path not in self._left_out:
            self._left_out.add(path)
            LOGGER.warning("%s is not searched: %s", path, why)


def read_files(paths: Iterable[str]) -> list[SearchedFile]:
    """Read the files at these paths; raises AuditError."""
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


def _read_again(path: str, identity: Identity) -> SearchedFile:
    """Reread a listed file; raises OSError, and MovedError if another file is at its path now."""
    try:
        file = SearchedFile.read(path)
    except FileNotFoundError:
        file = None
    if file is None or file.identity != identity:
        raise MovedError
    return file


def _last_time(descriptor: int, size: int) -> str:
    """Return the time of the last complete line, empty if there is none."""
    for length in _ENDS:
        start = max(0, size - length)
        for line in reversed(os.pread(descriptor, size - start, start).split(b"\n")[:-1]):
            if found := TIME.match(line):
                return found[1].decode()
    return ""
