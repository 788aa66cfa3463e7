"""The file of an audit log: one process appends whole lines to it."""

import asyncio
import errno
import fcntl
import os
import socket
import stat
from typing import Final

from minikms.audit.chain import LONGEST, START, Line
from minikms.basics.shared_files import first_moved, open_or_make, why_not_owned
from minikms.startup_errors import AuditError

# Mode bits that let users other than the owner write to a file.
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH

# An impossible size; a file with this size is not appended to.
_SPOILT: Final = -1

# The descriptor of a closed file.
_CLOSED: Final = -1


class AuditFile:
    """A file that this process appends to, unless others changed, moved or removed it."""

    def __init__(self, path: str) -> None:
        """Open or create it (mode 0600), and lock it.

        Raises AuditError for a link, and for a file that another user owns or may write to.
        """
        self.path = path
        try:
            self._fd, _ = open_or_make(path, os.O_APPEND)
        except OSError as exc:
            raise AuditError(f"The audit log {path} cannot be opened: {exc.strerror}.") from None
        try:
            facts = os.fstat(self._fd)
            why = why_not_owned(facts, os.geteuid())
            if not why and facts.st_mode & _WRITABLE:
                why = f"other users may write to it (mode {stat.S_IMODE(facts.st_mode):04o})"
            if why:
                raise AuditError(f"The audit log {path} cannot be used: {why}.")
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AuditError(f"Another process writes the audit log {path}.") from None
        except AuditError:
            os.close(self._fd)
            raise
        self._identity = facts.st_dev, facts.st_ino
        self._size, self._torn = _SPOILT, 0

    def is_in_place(self) -> bool:
        """Tell whether it is open and still at its path."""
        return self._fd != _CLOSED and first_moved([(self.path, self._identity)]) is None

    def begin(self) -> tuple[Line | None, int]:
        """Prepare to append; return the last complete line or None, and the size of the rest.

        The rest is a part of a line, whose process was killed. Raises AuditError for a file with
        other content, and OSError.
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
            raise AuditError(f"The file {self.path} is not an audit log.")
        self._size, self._torn = size, 0
        if open_end:
            self.append(b"\n")
        return line, torn

    def append(self, lines: bytes) -> None:
        """Append lines, all or none; raises OSError."""
        facts = os.stat(self.path)
        size = self._size + self._torn
        if (facts.st_dev, facts.st_ino) != self._identity or facts.st_size != size:
            raise OSError(errno.ESTALE, "it was moved, replaced or changed")
        if self._torn:
            self._take_back()
        written = os.write(self._fd, lines)
        if written < len(lines):
            self._torn = written
            self._take_back()
            raise OSError(errno.ENOSPC, "there is no room for a complete line")
        self._size += written

    def sync(self) -> None:
        """Wait until everything written is on disk (fsync), unless the file was left."""
        if self._fd != _CLOSED:
            os.fsync(self._fd)

    async def leave(self) -> None:
        """Append nothing more; sync the file and close it.

        The file is closed even if the sync fails. Closing twice is harmless.
        """
        descriptor = self._close()
        if descriptor != _CLOSED:
            await asyncio.shield(asyncio.to_thread(_sync_and_close, descriptor))

    def close(self) -> None:
        """Close and unlock it."""
        descriptor = self._close()
        if descriptor != _CLOSED:
            os.close(descriptor)

    def _close(self) -> int:
        """Append nothing more; return the descriptor for the caller to close."""
        self._size, self._torn = _SPOILT, 0
        descriptor, self._fd = self._fd, _CLOSED
        return descriptor

    def _take_back(self) -> None:
        """Remove partly written lines. If this raises OSError, the next call tries again."""
        os.ftruncate(self._fd, self._size)
        self._torn = 0


def _sync_and_close(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_name(path: str) -> str:
    """Return the name of a file in its lines and in heads: machine and path."""
    return f"{socket.gethostname()}:{os.path.abspath(path)}"
