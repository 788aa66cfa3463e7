"""A PKCS#11 library, initialised for calls from several threads.

python-pkcs11 calls C_Initialize without arguments, so the library expects a single thread, but lets
go of the interpreter lock in calls: threads of Python crash the library. So python-pkcs11 loads it,
and this module initialises it again through its table of functions, with CKF_OS_LOCKING_OK.
"""

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import pkcs11

from minikms.plugin import ProviderFault, ProviderUnavailable

# Values of PKCS #11, version 2.40.
_CKF_OS_LOCKING_OK: Final = 0x2
_CKR_OK: Final = 0x0
_CKR_CANT_LOCK: Final = 0xA
_CKR_CRYPTOKI_ALREADY_INITIALIZED: Final = 0x191
_CKS_OF_USER: Final = frozenset({1, 3})  # CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS

# In seconds: for calls to end before the library is finalized.
_DRAIN: Final = 5.0

_Function: Final = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)
_SessionFunction: Final = ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p)


class _InitializeArgs(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS."""

    _fields_ = (
        ("CreateMutex", ctypes.c_void_p),
        ("DestroyMutex", ctypes.c_void_p),
        ("LockMutex", ctypes.c_void_p),
        ("UnlockMutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("pReserved", ctypes.c_void_p),
    )


class _SessionInfo(ctypes.Structure):
    """CK_SESSION_INFO."""

    _fields_ = (
        ("slotID", ctypes.c_ulong),
        ("state", ctypes.c_ulong),
        ("flags", ctypes.c_ulong),
        ("ulDeviceError", ctypes.c_ulong),
    )


class _FunctionList(ctypes.Structure):
    """The beginning of CK_FUNCTION_LIST."""

    _fields_ = (
        ("version", ctypes.c_ubyte * 2),
        ("C_Initialize", _Function),
        ("C_Finalize", _Function),
        ("others", ctypes.c_void_p * 13),  # C_GetInfo to C_CloseAllSessions
        ("C_GetSessionInfo", _SessionFunction),
    )


class Module:
    """A PKCS#11 library, whose state all its users in a process share.

    `at` returns the same object for the same path, and `release` ends a use; the last one finalizes
    the library. `epoch` counts initialisations: each voids all sessions, logins and handles.
    """

    _loaded: ClassVar[dict[str, "Module"]] = {}
    _loading: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: str) -> None:
        """Load the library; callers use `at`."""
        pointer = ctypes.POINTER(_FunctionList)()
        try:
            # Its functions let go of the interpreter lock.
            status = ctypes.CDLL(path).C_GetFunctionList(ctypes.byref(pointer))
        except (OSError, AttributeError) as error:
            raise ProviderFault("The PKCS#11 library cannot be loaded.") from error
        if status != _CKR_OK:
            raise ProviderFault("The PKCS#11 library cannot be loaded.")
        self.epoch = 0
        self._path = path
        self._functions = pointer.contents
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
        """End a use; the last one finalizes the library, unless a call hangs."""
        with self._loading:
            self._users -= 1
            if self._users == 0:
                with self._drained() as is_drained:
                    if is_drained:
                        self._finalize()

    @contextmanager
    def calls(self) -> Iterator[Any]:
        """The `lib` of python-pkcs11 for a block of calls; nobody finalizes it meanwhile.

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
                self._changed.notify_all()

    def start(self, lost: int) -> None:
        """Initialise the library; if it is initialised, only if its epoch is `lost`.

        Waits for the end of all calls. Raises ProviderUnavailable if one hangs or the library
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
                library.finalize()  # its own initialisation, without locks
                self._library = library
            self._initialize()
            self.epoch += 1

    def is_logged_in(self, session: Any) -> bool:
        """Ask the library whether the user is logged in; others see no private keys."""
        info = _SessionInfo()
        status = self._functions.C_GetSessionInfo(session.handle, ctypes.addressof(info))
        return status == _CKR_OK and info.state in _CKS_OF_USER

    @contextmanager
    def _drained(self) -> Iterator[bool]:
        """Refuse new calls and wait for the others; yields whether all have ended."""
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

    def _initialize(self) -> None:
        arguments = _InitializeArgs(flags=_CKF_OS_LOCKING_OK)
        address = ctypes.addressof(arguments)
        status = self._functions.C_Initialize(address)
        if status == _CKR_CRYPTOKI_ALREADY_INITIALIZED:  # if C_Finalize failed
            self._functions.C_Finalize(None)
            status = self._functions.C_Initialize(address)
        if status == _CKR_CANT_LOCK:
            raise ProviderFault("The PKCS#11 library cannot be used by several threads.")
        if status != _CKR_OK:
            raise ProviderUnavailable("The PKCS#11 library cannot be initialised.")
        self._is_initialized = True

    def _finalize(self) -> None:
        if self._is_initialized:
            self._is_initialized = False
            self._functions.C_Finalize(None)
