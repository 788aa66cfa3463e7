"""Functions that hash, in the sidecar (PKCS #11 section 5.12)."""

from typing import Any, Final

from minikms_p11 import constants as c
from minikms_p11.application import Application, Operation, Session
from minikms_p11.functions.answers import fits, into
from minikms_p11.mechanisms import DIGESTS
from minikms_p11.refusal import Refusal
from minikms_p11.wire import Mechanism, Size


def digest_init(application: Application, session: int, mechanism: Mechanism | None) -> tuple[()]:
    opened = application.session(session)
    if mechanism is None:
        opened.operations.pop("digest", None)
        return ()
    if "digest" in opened.operations:
        raise Refusal(c.CKR_OPERATION_ACTIVE)
    if mechanism.number not in DIGESTS:
        raise Refusal(c.CKR_MECHANISM_INVALID)
    opened.operations["digest"] = Operation(mechanism.number, None, 0)
    return ()


def digest(
    application: Application, session: int, data: bytes, room: int | None
) -> tuple[bytes | Size]:
    return _digested(application.session(session), data, room)


def digest_update(application: Application, session: int, part: bytes) -> tuple[()]:
    operation = application.session(session).operation("digest")
    operation.add(part, DIGESTS[operation.mechanism], application.room)
    return ()


def digest_final(application: Application, session: int, room: int | None) -> tuple[bytes | Size]:
    return _digested(application.session(session), b"", room)


def _digested(session: Session, last: bytes, room: int | None) -> tuple[bytes | Size]:
    operation = session.operation("digest")
    value = operation.digest(DIGESTS[operation.mechanism], last)
    if fits(len(value), room):
        del session.operations["digest"]
    return (into(value, room),)


FUNCTIONS: Final[dict[str, Any]] = {
    "C_DigestInit": digest_init,
    "C_Digest": digest,
    "C_DigestUpdate": digest_update,
    "C_DigestFinal": digest_final,
}
