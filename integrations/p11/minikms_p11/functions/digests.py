"""Functions that hash, in the sidecar (PKCS #11 section 5.12)."""

from typing import Any, Final

from minikms_p11 import constants as c
from minikms_p11.application import Application, Operation
from minikms_p11.functions.answers import fits, into
from minikms_p11.mechanisms import DIGESTS, new_hash
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
    operation = Operation(mechanism.number, None, 0)
    operation.hash = new_hash(DIGESTS[mechanism.number])
    opened.operations["digest"] = operation
    return ()


def digest(
    application: Application, session: int, data: bytes, room: int | None
) -> tuple[bytes | Size]:
    operation = application.session(session).operation("digest")
    if fits(operation.hash.digest_size, room):
        operation.hash.update(data)
    return digest_final(application, session, room)


def digest_update(application: Application, session: int, part: bytes) -> tuple[()]:
    application.session(session).operation("digest").hash.update(part)
    return ()


def digest_final(application: Application, session: int, room: int | None) -> tuple[bytes | Size]:
    opened = application.session(session)
    operation = opened.operation("digest")
    if fits(operation.hash.digest_size, room):
        del opened.operations["digest"]
    return (into(operation.hash.digest(), room),)


FUNCTIONS: Final[dict[str, Any]] = {
    "C_DigestInit": digest_init,
    "C_Digest": digest,
    "C_DigestUpdate": digest_update,
    "C_DigestFinal": digest_final,
}
