"""Marks faulty providers for all processes of a service."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager


class Fault:
    """A mark, shared by the processes of a service, that forbids to open a provider again.

    Wrong PINs lock a token, so only one process may try one. A provider's own lock, such as the
    lock of minikms_pkcs11, stops other services and commands, but ends with its process. The mark
    also stops a worker that replaces a killed worker. It is the byte at `place` in the file with
    the descriptor `file`, or -1 for a single process.
    """

    def __init__(self, file: int, place: int) -> None:
        self._file = file
        self._place = place
        self._is_set = False

    def is_set(self) -> bool:
        if not self._is_set and self._file >= 0:
            self._is_set = os.pread(self._file, 1, self._place) == b"\1"
        return self._is_set

    def set(self) -> None:
        """Set the mark, for all processes."""
        self._is_set = True
        if self._file >= 0:
            os.pwrite(self._file, b"\1", self._place)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Run the block while no other process runs such a block."""
        if self._file < 0:
            yield
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, self._place)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, self._place)
