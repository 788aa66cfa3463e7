"""Files with a secret on one line, which only their owner can read."""

import errno
import os
import stat
from typing import Final

from minikms.small_files import read_small_file
from minikms.startup_errors import SetupError

_MOST: Final = 64 * 1024  # bytes; a passphrase may be long
_TOO_OPEN: Final = stat.S_IWGRP | stat.S_IRWXO


def read_secret(file: str, what: str, error: type[SetupError]) -> str:
    """Read the line in a file; raises `error`, whose text calls the file the `what` file."""
    try:
        content, mode = read_small_file(file, _MOST)
        lines = content.decode().splitlines()
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


def require_new(file: str, what: str, error: type[SetupError]) -> None:
    """Raise `error` if it is clear beforehand that the file cannot be made."""
    folder = os.path.dirname(file) or os.curdir
    if os.path.lexists(file):
        why = errno.EEXIST
    elif not os.path.isdir(folder):
        why = errno.ENOENT
    elif not os.access(folder, os.W_OK | os.X_OK):
        why = errno.EACCES
    else:
        return
    raise _not_made(file, os.strerror(why), what, error)


def write_secret(file: str, secret: str, what: str, error: type[SetupError]) -> None:
    """Write a line into a new file that only its owner can read; removes it before it raises."""
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise _not_made(file, exc.strerror, what, error) from None
    try:
        with os.fdopen(number, "w", encoding="utf-8") as opened:
            opened.write(f"{secret}\n")
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as exc:
        os.unlink(file)
        raise _not_made(file, exc.strerror, what, error) from None


def _not_made(file: str, why: str | None, what: str, error: type[SetupError]) -> SetupError:
    return error(f"The {what} file {file} cannot be made: {why}.")
