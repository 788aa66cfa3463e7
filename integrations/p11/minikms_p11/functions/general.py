"""Functions about the library, slots, mechanisms and random numbers (PKCS #11 section 5)."""

from typing import Any, Final

from minikms_p11 import constants as c
from minikms_p11.application import MOST_SESSIONS, Application
from minikms_p11.functions.answers import numbers_into
from minikms_p11.keys import unbase64
from minikms_p11.mechanisms import mechanism_infos
from minikms_p11.refusal import Problem, Refusal
from minikms_p11.wire import Size

# CKR_GENERAL_ERROR for another one: p11-kit/rpc-message.h
_HANDSHAKE: Final = b"PRIVATE-GNOME-KEYRING-PKCS11-PROTOCOL-V-1"
_CRYPTOKI: Final = (2, 40)
_MAKER: Final = "Mini KMS"
_MOST_RANDOM: Final = 65536  # bytes
_LONGEST_PIN: Final = 4096


def padded(text: str, length: int) -> bytes:
    """A string padded with spaces, and cut between characters."""
    content = text.encode()[:length].decode(errors="ignore").encode()
    return content.ljust(length)


def initialize(
    application: Application, handshake: bytes, _has_reserved: int, _reserved: bytes
) -> tuple[()]:
    if application.initialized:
        raise Refusal(c.CKR_CRYPTOKI_ALREADY_INITIALIZED)
    if handshake != _HANDSHAKE:
        raise Refusal(c.CKR_GENERAL_ERROR)
    application.initialized = True
    return ()


def finalize(application: Application) -> tuple[()]:
    application.close_all()
    application.initialized = False
    return ()


def get_info(application: Application) -> tuple[Any, ...]:
    description = padded("Keys of Mini KMS", 32)
    return _CRYPTOKI, padded(_MAKER, 32), 0, description, application.sidecar.version


def get_slot_list(
    application: Application, _with_token: int, room: int | None
) -> tuple[list[int] | Size]:
    return (numbers_into(list(range(len(application.sidecar.slots))), room),)


def get_slot_info(application: Application, slot: int) -> tuple[Any, ...]:
    url = application.sidecar.settings.url
    profile = application.slot(slot).profile
    description = padded(f"Profile {profile} of {url}", 64)
    version = application.sidecar.version
    return description, padded(_MAKER, 32), c.CKF_TOKEN_PRESENT, version, version


async def get_token_info(application: Application, number: int) -> tuple[Any, ...]:
    slot = application.slot(number)
    flags = c.CKF_RNG | c.CKF_TOKEN_INITIALIZED | c.CKF_USER_PIN_INITIALIZED
    if await _needs_login(application):
        flags |= c.CKF_LOGIN_REQUIRED
    opened = [session for session in application.sessions.values() if session.slot == number]
    writable = sum(bool(session.flags & c.CKF_RW_SESSION) for session in opened)
    return (
        padded(slot.label, 32),
        padded(_MAKER, 32),
        padded("Mini KMS", 16),
        padded(slot.serial(application.sidecar.settings.url), 16),
        flags,
        MOST_SESSIONS,
        len(opened),
        MOST_SESSIONS,
        writable,
        _LONGEST_PIN,
        1,  # the shortest PIN
        *[c.UNAVAILABLE] * 4,  # memory
        application.sidecar.version,
        application.sidecar.version,
        padded("", 16),  # no clock
    )


async def _needs_login(application: Application) -> bool:
    """If programs must log in, also if the service does not answer now."""
    try:
        return await application.sidecar.needs_login()
    except Problem:
        return True


def get_mechanism_list(
    application: Application, slot: int, room: int | None
) -> tuple[list[int] | Size]:
    return (numbers_into(list(mechanism_infos(application.slot(slot).shown())), room),)


def get_mechanism_info(application: Application, slot: int, mechanism: int) -> tuple[int, ...]:
    infos = mechanism_infos(application.slot(slot).shown())
    if mechanism not in infos:
        raise Refusal(c.CKR_MECHANISM_INVALID)
    return infos[mechanism]


def wait_for_slot_event(_: Application, flags: int) -> tuple[int]:
    raise Refusal(c.CKR_NO_EVENT if flags & c.CKF_DONT_BLOCK else c.CKR_FUNCTION_NOT_SUPPORTED)


def seed_random(application: Application, session: int, _: bytes) -> tuple[()]:
    application.session(session)
    raise Refusal(c.CKR_RANDOM_SEED_NOT_SUPPORTED)


async def generate_random(
    application: Application, session: int, room: int | None
) -> tuple[bytes | Size]:
    opened = application.session(session)
    if room is None or room == 0:
        return (Size(0) if room is None else b"",)
    if room > _MOST_RANDOM:
        raise Refusal(c.CKR_ARGUMENTS_BAD)
    answer = await application.call(opened, "POST", "random", {"length": room})
    return (unbase64(answer["bytes"]),)


FUNCTIONS: Final[dict[str, Any]] = {
    "C_Initialize": initialize,
    "C_Finalize": finalize,
    "C_GetInfo": get_info,
    "C_GetSlotList": get_slot_list,
    "C_GetSlotInfo": get_slot_info,
    "C_GetTokenInfo": get_token_info,
    "C_GetMechanismList": get_mechanism_list,
    "C_GetMechanismInfo": get_mechanism_info,
    "C_WaitForSlotEvent": wait_for_slot_event,
    "C_SeedRandom": seed_random,
    "C_GenerateRandom": generate_random,
}
