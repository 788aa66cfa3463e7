"""A file that one process writes, line by line, and never in part."""

import errno
import fcntl
import os
import socket
import stat
from typing import Final

from minikms.audit.chain import LONGEST, START, Line
from minikms.startup_errors import AuditError

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK

# In the place of a size, where none fits.
_SPOILT: Final = -1


class AuditFile:
    """A file at its path, which nobody else writes, moves or removes as long as lines are taken."""

    def __init__(self, path: str) -> None:
        """Open it, or make it for its owner alone; raises AuditError."""
        self.path = path
        try:
            self._fd = os.open(path, _FLAGS, 0o600)
        except OSError as exc:
            raise AuditError(f"The audit log {path} cannot be opened: {exc.strerror}.") from None
        try:
            facts = os.fstat(self._fd)
            if not stat.S_ISREG(facts.st_mode):
                raise AuditError(f"The audit log {path} is no regular file.")
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AuditError(f"Another process writes the audit log {path}.") from None
        except AuditError:
            os.close(self._fd)
            raise
        self._identity = facts.st_dev, facts.st_ino
        self._size = _SPOILT

    def is_in_place(self) -> bool:
        """Whether it is still what is at its path."""
        try:
            facts = os.stat(self.path)
        except OSError:
            return False
        return (facts.st_dev, facts.st_ino) == self._identity

    def begin(self) -> tuple[Line | None, int]:
        """Go on at its end: its last whole line, None where there is none yet, and what is torn.

        That is how many bytes are behind that line, which a process left that was killed while it
        wrote. Raises AuditError where other things are in it, and OSError.
        """
        size = os.fstat(self._fd).st_size
        found = os.pread(self._fd, 2 * LONGEST, max(0, size - 2 * LONGEST))
        open_end = found and not found.endswith(b"\n")
        found += b"\n" if open_end else b""
        line, torn = None, 0
        for part in reversed(found.splitlines(keepends=True)):
            if line := Line.parse(part):
                break
            torn += len(part)
        if line is None and found and not START.startswith(found[:-1][: len(START)]):
            raise AuditError(f"The file {self.path} has something else than an audit log in it.")
        self._size = size
        if open_end:
            self.append(b"\n")
        return line, torn

    def append(self, lines: bytes) -> None:
        """Write whole lines at its end; raises OSError, and has then written nothing."""
        facts = os.stat(self.path)
        if (facts.st_dev, facts.st_ino) != self._identity or facts.st_size != self._size:
            raise OSError(errno.ESTALE, "another has moved, replaced or changed it")
        written = 0
        try:
            written = os.write(self._fd, lines)
        finally:
            if written == len(lines):
                self._size += written
            else:
                self._take_back()
        if written < len(lines):
            raise OSError(errno.ENOSPC, "it takes no whole line")

    def sync(self) -> None:
        """Return once what was written is on the disk."""
        os.fsync(self._fd)

    def close(self) -> None:
        """Let others write it."""
        self._size = _SPOILT
        os.close(self._fd)

    def _take_back(self) -> None:
        """Remove what was written of a line; where that fails, take no more until `begin`."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._size = _SPOILT
            raise


def place(path: str) -> str:
    """What a file is called in its own lines and in heads: where it is, and on which machine."""
    return f"{socket.gethostname()}:{os.path.abspath(path)}"
