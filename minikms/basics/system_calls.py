"""System calls that macOS lacks, each with a replacement."""

import os
from tempfile import TemporaryFile
from typing import IO


def allocate(file: int, size: int) -> None:
    """Extend a file to at least `size` bytes, reserved on the disk; raises OSError.

    Without the reserved room, a later write to its mapped memory could kill the process. No other
    process may extend the file meanwhile.
    """
    if fallocate := getattr(os, "posix_fallocate", None):
        fallocate(file, 0, size)
        return
    length = os.fstat(file).st_size
    while length < size:
        length += os.pwrite(file, bytes(size - length), length)


def memory_file(name: str) -> IO[bytes]:
    """Create a file without a path, in memory if the system supports it; raises OSError."""
    if make := getattr(os, "memfd_create", None):
        return os.fdopen(make(name), "w+b")
    return TemporaryFile()
