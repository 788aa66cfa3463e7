"""Files of audit logs, read line by line while others may still write them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Self

from minikms.audit.chain import LONGEST
from minikms.startup_errors import AuditError


class LogFile:
    """A file as it is when opened: lines written later are left out."""

    def __init__(self, path: str) -> None:
        """Open it; raises AuditError."""
        self.path = path
        try:
            self._opened = open(path, "rb")  # noqa: SIM115  # until its lines are read
            self._size = self._opened.seek(0, os.SEEK_END)
        except OSError as exc:
            raise AuditError(f"The audit log {path} cannot be read: {exc.strerror}.") from None

    @classmethod
    def all_of(cls, paths: Iterable[str]) -> list[Self]:
        """Open files, all or none; raises AuditError."""
        with ExitStack() as stack:
            files = []
            for path in paths:
                files.append(file := cls(path))
                stack.callback(file.close)
            stack.pop_all()
            return files

    def close(self) -> None:
        """Close it."""
        self._opened.close()

    def parts(self) -> Iterator[bytes]:
        """Its lines with their newlines; one that is longer than allowed comes in parts."""
        with self._opened as opened:
            place = opened.seek(0)
            while place < self._size and (part := opened.readline(LONGEST)):
                yield part
                place += len(part)
