"""The file with the PIN of a token's user, and the lock that keeps a wrong PIN from being repeated.

A token locks its user out after a few wrong PINs, and each process of a service logs in by itself.
So a process holds the file's lock while it logs in, and until it ends if the token refuses the PIN.
Meanwhile no other process tries the PIN: no worker, command, seal, or other service. The system
releases the lock when the process ends; then the service's record of the fault (`ProviderFault`)
keeps a replaced worker from trying again.
"""

import fcntl
import os
import stat
import time
from types import TracebackType
from typing import Final, Self

from minikms.plugin import ProviderUnavailable

_MOST: Final = 256  # bytes of a PIN
# In seconds: for the logins of other processes.
_WAIT: Final = 2.0
_TURN: Final = 0.02


class PinFile:
    """A locked file with a PIN; the end of `with` unlocks it, unless `keep_locked` was called."""

    def __init__(self, path: str) -> None:
        """Open and lock it; raises ProviderUnavailable if it is locked or cannot be read."""
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError as error:
            raise ProviderUnavailable("The file with the PIN cannot be read.") from error
        try:
            self._lock()
            self.pin = self._read()
        except BaseException:
            os.close(self._file)
            raise
        self._stays_locked = False

    def keep_locked(self) -> None:
        """Hold the lock until this process ends: the token refused the PIN."""
        self._stays_locked = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._stays_locked:
            os.close(self._file)

    def _lock(self) -> None:
        deadline = time.monotonic() + _WAIT
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ProviderUnavailable(
                        "Another process logs in to the token, or its PIN was refused."
                    ) from None
                time.sleep(_TURN)
            except OSError:  # a file system without locks
                return
            else:
                return

    def _read(self) -> str:
        try:
            if not stat.S_ISREG(os.fstat(self._file).st_mode):
                raise ProviderUnavailable("The file with the PIN is not a regular file.")
            # Read one byte more than allowed, so that a longer file is refused, not cut.
            pin = os.read(self._file, _MOST + 2).removesuffix(b"\n")
            if not 0 < len(pin) <= _MOST:
                raise ProviderUnavailable(f"The file with the PIN has not 1 to {_MOST} bytes.")
            return pin.decode()
        except (OSError, UnicodeDecodeError):
            # Without the cause: a decoder's error contains the bytes.
            raise ProviderUnavailable("The file with the PIN cannot be read.") from None
