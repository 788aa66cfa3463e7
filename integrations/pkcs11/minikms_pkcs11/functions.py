"""Functions of a PKCS#11 library, called through its own table (PKCS #11 version 2.40).

python-pkcs11 initialises a library for a single thread, cannot query the state of a session, and
needs more calls to sign. ctypes releases the interpreter lock in each call.
"""

import ctypes
import struct
from typing import Any, Final

from minikms.plugin import KEY_ID_SIZE, ProviderFault, ProviderUnavailable
from minikms_pkcs11.signing import Signing

_CKF_OS_LOCKING_OK: Final = 0x2
_CKS_OF_USER: Final = frozenset({1, 3})  # CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS
_CKA_ID: Final = 0x102
_CKR_OK: Final = 0x0
_CKR_CANT_LOCK: Final = 0xA
_CKR_BUFFER_TOO_SMALL: Final = 0x150
_CKR_CRYPTOKI_ALREADY_INITIALIZED: Final = 0x191

_ROOM: Final = 512  # bytes of an RSA-4096 signature, the longest one
_PSS: Final = struct.Struct("@3L")  # CK_RSA_PKCS_PSS_PARAMS

_KeyId: Final = ctypes.c_char * KEY_ID_SIZE


def _function(*arguments: Any) -> Any:
    return ctypes.CFUNCTYPE(ctypes.c_ulong, *arguments)


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


class _Mechanism(ctypes.Structure):
    """CK_MECHANISM."""

    _fields_ = (
        ("mechanism", ctypes.c_ulong),
        ("pParameter", ctypes.c_char_p),
        ("ulParameterLen", ctypes.c_ulong),
    )


class _Attribute(ctypes.Structure):
    """CK_ATTRIBUTE."""

    _fields_ = (
        ("type", ctypes.c_ulong),
        ("pValue", ctypes.c_void_p),
        ("ulValueLen", ctypes.c_ulong),
    )


_Signature: Final = ctypes.c_char * _ROOM


class _FunctionList(ctypes.Structure):
    """The beginning of CK_FUNCTION_LIST."""

    _fields_ = (
        ("version", ctypes.c_ubyte * 2),
        ("C_Initialize", _function(ctypes.c_void_p)),
        ("C_Finalize", _function(ctypes.c_void_p)),
        ("C_GetInfo_to_C_CloseAllSessions", ctypes.c_void_p * 13),
        ("C_GetSessionInfo", _function(ctypes.c_ulong, ctypes.c_void_p)),
        ("C_GetOperationState_to_C_GetObjectSize", ctypes.c_void_p * 8),
        (
            "C_GetAttributeValue",
            _function(ctypes.c_ulong, ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong),
        ),
        ("C_SetAttributeValue_to_C_DigestFinal", ctypes.c_void_p * 17),
        ("C_SignInit", _function(ctypes.c_ulong, ctypes.c_void_p, ctypes.c_ulong)),
        (
            "C_Sign",
            _function(
                ctypes.c_ulong,
                ctypes.c_char_p,
                ctypes.c_ulong,
                ctypes.c_void_p,
                ctypes.c_void_p,
            ),
        ),
    )


class Functions:
    """The functions of a loaded library."""

    def __init__(self, path: str) -> None:
        """Load the library; raises ProviderFault."""
        pointer = ctypes.POINTER(_FunctionList)()
        try:
            status = ctypes.CDLL(path).C_GetFunctionList(ctypes.byref(pointer))
        except (OSError, AttributeError) as error:
            raise ProviderFault("The PKCS#11 library cannot be loaded.") from error
        if status != _CKR_OK:
            raise ProviderFault("The PKCS#11 library cannot be loaded.")
        table = pointer.contents
        # Reading a function from a structure makes a new ctypes object each time.
        self._initialize, self._finalize = table.C_Initialize, table.C_Finalize
        self._get_session_info = table.C_GetSessionInfo
        self._get_attribute_value = table.C_GetAttributeValue
        self._sign_init, self._sign = table.C_SignInit, table.C_Sign

    def initialize(self) -> None:
        """Initialise the library for several threads.

        Raises ProviderUnavailable, or ProviderFault if it cannot be used by several threads.
        """
        arguments = _InitializeArgs(flags=_CKF_OS_LOCKING_OK)
        address = ctypes.addressof(arguments)
        status = self._initialize(address)
        if status == _CKR_CRYPTOKI_ALREADY_INITIALIZED:  # if C_Finalize failed
            self._finalize(None)
            status = self._initialize(address)
        if status == _CKR_CANT_LOCK:
            raise ProviderFault("The PKCS#11 library cannot be used by several threads.")
        if status != _CKR_OK:
            raise ProviderUnavailable("The PKCS#11 library cannot be initialised.")

    def finalize(self) -> None:
        """End all sessions, logins and handles."""
        self._finalize(None)

    def is_logged_in(self, session: int) -> bool:
        """Tell whether the user is logged in; without a login, private keys are hidden."""
        info = _SessionInfo()
        status = self._get_session_info(session, ctypes.addressof(info))
        return status == _CKR_OK and info.state in _CKS_OF_USER

    def sign(self, session: int, handle: int, key_id: bytes, call: Signing) -> bytes | None:
        """Sign by a key's handle; None if it is refused or belongs to another key.

        Some tokens reuse the handle of a destroyed object for another one, so the key's identifier
        is read after the signature.
        """
        parameter = _PSS.pack(*call.parameter) if call.parameter else b""
        mechanism = _Mechanism(call.mechanism, parameter or None, len(parameter))
        if self._sign_init(session, ctypes.addressof(mechanism), handle) != _CKR_OK:
            return None
        signature, length = _Signature(), ctypes.c_ulong(_ROOM)
        arguments = session, call.data, len(call.data)
        status = self._sign(*arguments, signature, ctypes.byref(length))
        if status == _CKR_BUFFER_TOO_SMALL:
            # Without a buffer, C_Sign returns the length, and the operation stays active.
            self._sign(*arguments, None, ctypes.byref(length))
            signature = ctypes.create_string_buffer(length.value)
            status = self._sign(*arguments, signature, ctypes.byref(length))
        if status != _CKR_OK or self._id_of(session, handle) != key_id:
            return None
        return signature.raw[: length.value]

    def _id_of(self, session: int, handle: int) -> bytes | None:
        """Read the identifier of a key (CKA_ID), if it is as long as ours."""
        value = _KeyId()
        attribute = _Attribute(_CKA_ID, ctypes.addressof(value), KEY_ID_SIZE)
        status = self._get_attribute_value(session, handle, ctypes.addressof(attribute), 1)
        if status != _CKR_OK or attribute.ulValueLen != KEY_ID_SIZE:
            return None
        return value.raw
