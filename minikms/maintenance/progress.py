"""The profiles that a long command has done, in a file, so that it can continue after a kill."""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import orjson

from minikms.basics.shared_files import open_or_make, why_not_owned
from minikms.startup_errors import StoreError

# The form of these files; a version with another form refuses them.
_FORM: Final = 1

# Seconds after which a file is refused: the store has changed too much since.
_MOST_AGE: Final = 7 * 86400

_MOST_BYTES: Final = 64 * 1024 * 1024

_PROFILE: Final = "profile"


class Progress:
    """The profiles that a command has done, by Askar's names of them, which are never used twice.

    `done` has the facts that were noted of each. `mark` is the mark of an unfinished copy. Without
    a file, the command starts afresh and notes nothing.
    """

    def __init__(
        self,
        path: Path | None = None,
        file: int | None = None,
        facts: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.done: dict[str, dict[str, Any]] = {}
        self.mark = b""
        self._path = path
        self._file = file
        self._facts = facts

    @classmethod
    @contextmanager
    def open(
        cls, path: Path | None, facts: Mapping[str, str], noted: Mapping[str, type]
    ) -> Iterator[Self]:
        """Read a file, or make it; remove it at the end of the block unless that raises.

        `facts` say which command works on which stores, and `noted` has the types of the facts that
        it notes of a profile. Raises StoreError if the file belongs to another command or other
        stores, is older than a week, or is used by another process.
        """
        if path is None:
            yield cls()
            return
        try:
            file, _ = open_or_make(str(path), os.O_APPEND)
        except OSError as exc:
            raise _refused(path, exc.strerror) from None
        try:
            progress = cls(path, file, facts)
            progress._read(file, path, noted)
            yield progress
            path.unlink()
        finally:
            os.close(file)

    def begin(self, mark: bytes = b"") -> None:
        """Write the facts into a new file; `mark` is the mark of an unfinished copy."""
        if self._file is not None and not os.fstat(self._file).st_size:
            head = {"form": _FORM, "began": int(time.time()), "mark": mark.hex()}
            self._write({**self._facts, **head})

    def note(self, askar_profile: str, **facts: int | str) -> None:
        """Note that a profile is done. It stays noted if the process or the machine stops."""
        self._write({_PROFILE: askar_profile, **facts})

    def kept(self, askar_profiles: Iterable[str]) -> set[str]:
        """Give the store's profiles that are done; raises StoreError if none is."""
        kept = self.done.keys() & set(askar_profiles)
        if self._path and self.done and not kept:
            raise _refused(self._path, "it is of another store, which was at this place before")
        return kept

    def _read(self, file: int, path: Path, noted: Mapping[str, type]) -> None:
        if why := why_not_owned(os.fstat(file), os.geteuid()):
            raise _refused(path, why)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _refused(path, "another process uses it") from None
        content = os.pread(file, _MOST_BYTES + 1, 0)
        if not content:
            return
        # A line that was cut short is dropped.
        whole = content[: content.rfind(b"\n") + 1]
        try:
            head, *lines = map(orjson.loads, whole.splitlines())
            found = {name: head[name] for name in self._facts}
            form, age = head["form"], time.time() - head["began"]
            self.mark = bytes.fromhex(head["mark"])
            types = {_PROFILE: str, **noted}
            if any({name: type(line[name]) for name in line} != types for line in lines):
                raise ValueError
            self.done = {line.pop(_PROFILE): line for line in lines}
        except (ValueError, TypeError, LookupError):
            raise _refused(path, "it is not a file of progress, or it was changed") from None
        if form != _FORM or len(content) > _MOST_BYTES:
            raise _refused(path, "it is not a file of progress of this version")
        for name, value in self._facts.items():
            if found[name] != value:
                raise _refused(path, f"its {name} is {found[name]}, not {value}")
        if not 0 <= age <= _MOST_AGE:
            raise _refused(path, "it is not of the last seven days")
        os.ftruncate(file, len(whole))

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._path is None or self._file is None:
            return
        try:
            os.write(self._file, orjson.dumps(line) + b"\n")
            os.fsync(self._file)
        except OSError as exc:
            raise _refused(self._path, exc.strerror) from None


def _refused(path: Path, why: str | None) -> StoreError:
    return StoreError(
        f"The file of progress {path} cannot be used: {why}. Remove it, or name another file."
    )
