"""Functions that sign and verify, in one part or in several (PKCS #11 sections 5.13 and 5.15).

The sidecar hashes; the service signs digests, and makes MACs over data. Signatures are verified in
the sidecar, MACs by the service.
"""

from collections.abc import Coroutine
from typing import Any, Final

from minikms_p11 import constants as c
from minikms_p11.application import AnyObject, Application, Operation, Session
from minikms_p11.functions.answers import fits
from minikms_p11.keys import PublicKey, base64url, unbase64
from minikms_p11.mechanisms import (
    SIGNING,
    Signing,
    request_of,
    signature_length,
    signing,
)
from minikms_p11.objects import KeyObject, SessionPublicKey
from minikms_p11.refusal import Refusal
from minikms_p11.verification import key_type_of
from minikms_p11.verification import verify as verify_signature
from minikms_p11.wire import Mechanism, Size

_SIGNS: Final = (c.CKO_PRIVATE_KEY, c.CKO_SECRET_KEY)
_VERIFIES: Final = (c.CKO_PUBLIC_KEY, c.CKO_SECRET_KEY)


def sign_init(
    application: Application, session: int, mechanism: Mechanism | None, handle: int
) -> tuple[()] | Coroutine[Any, Any, tuple[()]]:
    opened = application.session(session)
    if mechanism is None:
        opened.operations.pop("sign", None)
        return ()
    known = application.known(opened, handle)
    if known is not None and _may_sign(known):
        return _begin(opened, "sign", mechanism, handle, known)

    async def read() -> tuple[()]:
        # Its state or its rules may have changed since the key was last read.
        found = await application.read(opened, handle)
        if not _may_sign(found):
            raise Refusal(c.CKR_KEY_FUNCTION_NOT_PERMITTED)
        return _begin(opened, "sign", mechanism, handle, found)

    return read()


def verify_init(
    application: Application, session: int, mechanism: Mechanism | None, handle: int
) -> tuple[()] | Coroutine[Any, Any, tuple[()]]:
    opened = application.session(session)
    if mechanism is None:
        opened.operations.pop("verify", None)
        return ()

    async def read() -> tuple[()]:
        found = await application.object(opened, handle)
        if found.object_class not in _VERIFIES:
            raise Refusal(c.CKR_KEY_FUNCTION_NOT_PERMITTED)
        return _begin(opened, "verify", mechanism, handle, found)

    return read()


def sign(
    application: Application, session: int, data: bytes, room: int | None
) -> tuple[Size] | Coroutine[Any, Any, tuple[bytes | Size]]:
    opened = application.session(session)
    operation = opened.operation("sign")
    if operation.in_parts:
        raise Refusal(c.CKR_OPERATION_ACTIVE)
    return _signed(application, opened, operation, room, data)


def sign_update(application: Application, session: int, part: bytes) -> tuple[()]:
    _update(application, application.session(session).operation("sign"), part)
    return ()


def sign_final(
    application: Application, session: int, room: int | None
) -> tuple[Size] | Coroutine[Any, Any, tuple[bytes | Size]]:
    opened = application.session(session)
    return _signed(application, opened, opened.operation("sign"), room, None)


def verify(
    application: Application, session: int, data: bytes, sig: bytes
) -> Coroutine[Any, Any, tuple[()]]:
    opened = application.session(session)
    operation = opened.operation("verify")
    if operation.in_parts:
        raise Refusal(c.CKR_OPERATION_ACTIVE)
    return _verified(application, opened, operation, sig, data)


def verify_update(application: Application, session: int, part: bytes) -> tuple[()]:
    _update(application, application.session(session).operation("verify"), part)
    return ()


def verify_final(
    application: Application, session: int, sig: bytes
) -> Coroutine[Any, Any, tuple[()]]:
    opened = application.session(session)
    return _verified(application, opened, opened.operation("verify"), sig, None)


def _may_sign(found: AnyObject) -> bool:
    return isinstance(found, KeyObject) and found.object_class in _SIGNS and found.key.may_sign


def _begin(
    session: Session, name: str, mechanism: Mechanism, handle: int, found: AnyObject
) -> tuple[()]:
    if name in session.operations:
        raise Refusal(c.CKR_OPERATION_ACTIVE)
    row = signing(mechanism.number, mechanism.parameter, _key_type(found))
    if row.mac and not (isinstance(found, KeyObject) and found.key.algorithm.hash == row.mac):
        raise Refusal(c.CKR_KEY_TYPE_INCONSISTENT)
    session.operations[name] = Operation(mechanism.number, mechanism.parameter, handle, found)
    return ()


def _key_type(found: AnyObject) -> int:
    if isinstance(found, KeyObject):
        return found.key.algorithm.key_type
    if isinstance(found, SessionPublicKey):
        return key_type_of(found.public_key)
    raise Refusal(c.CKR_KEY_TYPE_INCONSISTENT)


def _update(application: Application, operation: Operation, part: bytes) -> None:
    operation.add(part, SIGNING[operation.mechanism].hash, application.room)


def _content(operation: Operation, row: Signing, data: bytes | None) -> bytes:
    """The digest, or the data, of an operation in one part, or in those before."""
    if row.hash:
        return operation.digest(row.hash, data or b"")
    return bytes(operation.data or b"") if data is None else data


async def _signed(
    application: Application,
    session: Session,
    operation: Operation,
    room: int | None,
    data: bytes | None,
) -> tuple[bytes | Size]:
    found = operation.found or await application.read(session, operation.handle)
    if not isinstance(found, KeyObject):
        raise Refusal(c.CKR_KEY_HANDLE_INVALID)
    key, row = found.key, SIGNING[operation.mechanism]
    length = signature_length(key.algorithm)
    if not fits(length, room):
        return (Size(length),)
    if session.operations.pop("sign", None) is not operation:  # another thread's call ended it
        raise Refusal(c.CKR_OPERATION_NOT_INITIALIZED)
    path, body = request_of(key.algorithm, row, operation.parameter, _content(operation, row, data))
    answer = await application.call(session, "POST", path, {"kid": key.kid, **body})
    made = unbase64(answer["mac" if row.mac else "sig"])
    if len(made) != length:
        raise Refusal(c.CKR_DEVICE_ERROR)
    return (made,)


async def _verified(
    application: Application,
    session: Session,
    operation: Operation,
    sig: bytes,
    data: bytes | None,
) -> tuple[()]:
    found = operation.found or await application.read(session, operation.handle)
    if session.operations.pop("verify", None) is not operation:
        raise Refusal(c.CKR_OPERATION_NOT_INITIALIZED)
    row = SIGNING[operation.mechanism]
    content = _content(operation, row, data)
    if row.mac and isinstance(found, KeyObject):
        body = {"kid": found.key.kid, "data": base64url(content), "mac": base64url(sig)}
        answer = await application.call(session, "POST", "mac/verify", body)
        if not answer["valid"]:
            raise Refusal(c.CKR_SIGNATURE_INVALID)
        return ()
    key = found.public_key if isinstance(found, SessionPublicKey) else _public_key(found)
    verify_signature(key, row, operation.parameter, content, sig)
    return ()


def _public_key(found: AnyObject) -> PublicKey:
    if not isinstance(found, KeyObject) or found.key.public_key is None:
        raise Refusal(c.CKR_KEY_HANDLE_INVALID)
    return found.key.public_key


FUNCTIONS: Final[dict[str, Any]] = {
    "C_SignInit": sign_init,
    "C_Sign": sign,
    "C_SignUpdate": sign_update,
    "C_SignFinal": sign_final,
    "C_VerifyInit": verify_init,
    "C_Verify": verify,
    "C_VerifyUpdate": verify_update,
    "C_VerifyFinal": verify_final,
}
