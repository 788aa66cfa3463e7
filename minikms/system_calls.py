"""System calls that macOS lacks, each with another way."""

import os
from tempfile import TemporaryFile
from typing import IO


def allocate(file: int, size: int) -> None:
    """Let a file have at least `size` bytes, with room on the disk; raises OSError.

    Without room, a later write to its mapped memory would kill the process. Nobody else may
    lengthen the file meanwhile.
    """
    if fallocate := getattr(os, "posix_fallocate", None):
        fallocate(file, 0, size)
        return
    length = os.fstat(file).st_size
    while length < size:
        length += os.pwrite(file, bytes(size - length), length)


def memory_file(name: str) -> IO[bytes]:
    """A new file that no path leads to, in memory if the system can; raises OSError."""
    if make := getattr(os, "memfd_create", None):
        return os.fdopen(make(name), "w+b")
    return TemporaryFile()
