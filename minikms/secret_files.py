"""Files that hold a secret on their one line, for their owner alone."""

import os
import stat
from typing import Final

from minikms.errors import SetupError

_TOO_OPEN: Final = stat.S_IWGRP | stat.S_IRWXO


def read_secret(file: str, what: str, error: type[SetupError]) -> str:
    """The line in a file; raises `error`, with a sentence that calls the file `what`."""
    try:
        with open(file, encoding="utf-8") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            lines = opened.read().splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise error(f"The {what} file {file} cannot be read: {why}.") from None
    if mode & _TOO_OPEN:
        raise error(
            f"The {what} file {file} is open to others (mode {stat.S_IMODE(mode):04o}): chmod 600."
        )
    if len(lines) != 1 or not lines[0]:
        raise error(f"The {what} file {file} must have the {what} on one line, and nothing else.")
    return lines[0]


def write_secret(file: str, secret: str, what: str, error: type[SetupError]) -> None:
    """Write a line into a new file that its owner alone may read; raises `error`."""
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise error(f"The {what} file {file} cannot be made: {exc.strerror}.") from None
    with os.fdopen(number, "w", encoding="utf-8") as opened:
        opened.write(f"{secret}\n")
        opened.flush()
        os.fsync(opened.fileno())
