"""Reads files named by options: only small regular files, which cannot block or fill memory."""

import errno
import os
import stat
from typing import NamedTuple


class SmallFile(NamedTuple):
    """The content and the mode of a file."""

    content: bytes
    mode: int


def read_small_file(path: str, most: int) -> SmallFile:
    """Read a regular file of at most `most` bytes; otherwise raises OSError with `strerror`."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(number, "rb") as file:
        mode = os.fstat(number).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", path)
    return SmallFile(content, mode)
