"""Files with a secret on one line, which only their owner can read."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from minikms.basics.shared_files import sync
from minikms.basics.small_files import read_small_file

_MOST: Final = 64 * 1024  # bytes; a passphrase may be long
_TOO_OPEN: Final = stat.S_IWGRP | stat.S_IRWXO

_Refusal: TypeAlias = Callable[[str], Exception]


def read_secret(file: str, what: str, error: _Refusal) -> str:
    """Read the line in a file; raises `error`, whose message calls it the `what` file."""
    return secret_of(read_private(file, what, error), file, what, error)


def read_private(file: str, what: str, error: _Refusal) -> str:
    """Read a file that only its owner and group can read; raises `error`."""
    try:
        content, mode = read_small_file(file, _MOST)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not text"
        raise error(f"The {what} file {file} cannot be read: {why}.") from None
    if mode & _TOO_OPEN:
        raise error(
            f"The {what} file {file} is open to others (mode {stat.S_IMODE(mode):04o}): chmod 600."
        )
    return text


def secret_of(text: str, file: str, what: str, error: _Refusal) -> str:
    """Return the only line of a file; raises `error`."""
    lines = text.splitlines()
    if len(lines) != 1 or not lines[0]:
        raise error(f"The {what} file {file} must have the {what} on one line, and nothing else.")
    return lines[0]


def require_new(file: str, what: str, error: _Refusal) -> None:
    """Raise `error` early if the file cannot be made."""
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


def write_secret(file: str, secret: str, what: str, error: _Refusal) -> None:
    """Write a line into a new file that only its owner can read; remove the file if that fails.

    It returns once the file and its name are on the disk.
    """
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise _not_made(file, exc.strerror, what, error) from None
    try:
        with os.fdopen(number, "w", encoding="utf-8") as opened:
            opened.write(f"{secret}\n")
            opened.flush()
            os.fsync(opened.fileno())
        sync(Path(file).parent)
    except OSError as exc:
        os.unlink(file)
        raise _not_made(file, exc.strerror, what, error) from None


def replace_secret(file: str, text: str, what: str, error: _Refusal) -> None:
    """Replace the contents of a file, which keeps its owner and mode; raises `error`.

    At each moment the file has the old or the new contents. A killed process may leave a file
    `FILE-….part`.
    """
    path = Path(file).resolve()  # a link to the file stays
    try:
        facts = path.stat()
        number, new = tempfile.mkstemp(prefix=f"{path.name}-", suffix=".part", dir=path.parent)
        try:
            with os.fdopen(number, "w", encoding="utf-8") as opened:
                os.fchown(number, facts.st_uid, facts.st_gid)
                os.fchmod(number, stat.S_IMODE(facts.st_mode))
                opened.write(f"{text}\n")
                opened.flush()
                os.fsync(number)
            os.replace(new, path)
        except BaseException:
            os.unlink(new)
            raise
        sync(path.parent)
    except OSError as exc:
        raise error(f"The {what} file {file} cannot be replaced: {exc.strerror}.") from None


def _not_made(file: str, why: str | None, what: str, error: _Refusal) -> Exception:
    return error(f"The {what} file {file} cannot be made: {why}.")
