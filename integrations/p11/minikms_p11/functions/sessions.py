"""Functions of sessions and logins (PKCS #11 section 5.6)."""

from typing import Any, Final

from minikms_p11 import constants as c
from minikms_p11.application import Application
from minikms_p11.refusal import Refusal

# Flags of C_SessionCancel, and the operations that they name (PKCS #11 v3.0 section 5.6.8).
_CANCELLED: Final = {
    c.CKF_ENCRYPT: "encrypt",
    c.CKF_DECRYPT: "decrypt",
    c.CKF_DIGEST: "digest",
    c.CKF_SIGN: "sign",
    c.CKF_VERIFY: "verify",
}
_FIND_OBJECTS: Final = 0x40


def open_session(application: Application, slot: int, flags: int) -> tuple[int]:
    application.slot(slot)
    if not flags & c.CKF_SERIAL_SESSION:
        raise Refusal(c.CKR_SESSION_PARALLEL_NOT_SUPPORTED)
    return (application.open(slot, flags),)


def close_session(application: Application, session: int) -> tuple[()]:
    application.close(application.session(session))
    return ()


def close_all_sessions(application: Application, slot: int) -> tuple[()]:
    application.slot(slot)
    for session in list(application.sessions.values()):
        if session.slot == slot:
            application.close(session)
    return ()


def get_session_info(application: Application, session: int) -> tuple[int, ...]:
    opened = application.session(session)
    if opened.flags & c.CKF_RW_SESSION:
        states = c.CKS_RW_PUBLIC, c.CKS_RW_USER
    else:
        states = c.CKS_RO_PUBLIC, c.CKS_RO_USER
    return opened.slot, states[application.is_logged_in(opened.slot)], opened.flags, 0


async def login(application: Application, session: int, user: int, pin: bytes) -> tuple[()]:
    opened = application.session(session)
    if user != c.CKU_USER:
        raise Refusal(c.CKR_USER_TYPE_INVALID)
    if application.is_logged_in(opened.slot):
        raise Refusal(c.CKR_USER_ALREADY_LOGGED_IN)
    profile = application.slot(opened.slot).profile
    logins = application.sidecar.logins
    token, file = await logins.check(pin, profile, application.pid, application.uid)
    application.session(session)  # closed meanwhile
    if application.is_logged_in(opened.slot):
        raise Refusal(c.CKR_USER_ALREADY_LOGGED_IN)
    application.login(opened.slot, token, by_pin=True, file=file)
    return ()


async def login_user(
    application: Application, session: int, user: int, pin: bytes, _name: bytes
) -> tuple[()]:
    return await login(application, session, user, pin)


def logout(application: Application, session: int) -> tuple[()]:
    opened = application.session(session)
    if opened.slot not in application.pin_logins():
        raise Refusal(c.CKR_USER_NOT_LOGGED_IN)
    application.logout(opened.slot)
    return ()


def session_cancel(application: Application, session: int, flags: int) -> tuple[()]:
    opened = application.session(session)
    for flag, name in _CANCELLED.items():
        if flags & flag:
            opened.operations.pop(name, None)
    if flags & _FIND_OBJECTS:
        opened.found = None
    return ()


FUNCTIONS: Final[dict[str, Any]] = {
    "C_OpenSession": open_session,
    "C_CloseSession": close_session,
    "C_CloseAllSessions": close_all_sessions,
    "C_GetSessionInfo": get_session_info,
    "C_Login": login,
    "C_LoginUser": login_user,
    "C_Logout": logout,
    "C_SessionCancel": session_cancel,
}
