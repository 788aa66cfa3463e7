"""A PKCS#11 library, initialised for calls from several threads.

python-pkcs11 calls C_Initialize without arguments, so the library expects a single thread; but it
releases the interpreter lock in calls, so Python threads crash the library. So python-pkcs11 only
loads the library, and this module initialises it again through its function table, with
CKF_OS_LOCKING_OK.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import pkcs11

from minikms.plugin import ProviderUnavailable
from minikms_pkcs11.functions import Functions

# Seconds to wait for running calls before the library is finalized.
_DRAIN: Final = 5.0


class Module:
    """A PKCS#11 library; all users in a process share its state.

    `at` returns the same object for the same path, and `release` ends a use; the last `release`
    finalizes the library. `epoch` counts initialisations: each invalidates all sessions, logins and
    handles.
    """

    _loaded: ClassVar[dict[str, "Module"]] = {}
    _loading: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: str) -> None:
        """Load the library; callers use `at`. Raises ProviderFault."""
        self.functions = Functions(path)
        self.epoch = 0
        self._path = path
        self._library: Any = None
        self._users = 0
        self._calls = 0
        self._is_initialized = False
        self._is_draining = False
        self._changed = threading.Condition()

    @classmethod
    def at(cls, path: str) -> "Module":
        """Begin a use of the library at a path; raises ProviderFault if it cannot be loaded."""
        with cls._loading:
            module = cls._loaded.get(path)
            if module is None:
                module = cls._loaded[path] = cls(path)
            module._users += 1
            return module

    def release(self) -> None:
        """End a use; the last user finalizes the library, unless a call hangs."""
        with self._loading:
            self._users -= 1
            if self._users == 0:
                with self._drained() as is_drained:
                    if is_drained:
                        self._finalize()

    @contextmanager
    def calls(self) -> Iterator[Any]:
        """Yield the `lib` of python-pkcs11 for a block of calls, in which nobody finalizes it.

        Raises ProviderUnavailable if it is not initialised, or about to be finalized.
        """
        with self._changed:
            if self._is_draining or not self._is_initialized:
                raise ProviderUnavailable()
            self._calls += 1
        try:
            yield self._library
        finally:
            with self._changed:
                self._calls -= 1
                if self._is_draining:
                    self._changed.notify_all()

    def start(self, lost: int) -> None:
        """Initialise the library, unless it is initialised and its epoch is not `lost`.

        Waits for the end of all calls. Raises ProviderUnavailable if a call hangs or the library
        fails, and ProviderFault if the library cannot be used by several threads.
        """
        with self._drained() as is_drained:
            if self._is_initialized and self.epoch != lost:
                return
            if not is_drained:
                raise ProviderUnavailable("A call to the token hangs.")
            self._finalize()
            if self._library is None:
                library = pkcs11.lib(self._path)
                library.finalize()  # python-pkcs11's own initialisation, without locks
                self._library = library
            self.functions.initialize()
            self._is_initialized = True
            self.epoch += 1

    @contextmanager
    def _drained(self) -> Iterator[bool]:
        """Refuse new calls and wait for running ones; yields whether all have ended."""
        with self._changed:
            while self._is_draining:
                self._changed.wait()
            self._is_draining = True
            deadline = time.monotonic() + _DRAIN
            while self._calls and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            is_drained = not self._calls
        try:
            yield is_drained
        finally:
            with self._changed:
                self._is_draining = False
                self._changed.notify_all()

    def _finalize(self) -> None:
        if self._is_initialized:
            self._is_initialized = False
            self.functions.finalize()
