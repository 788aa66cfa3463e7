"""Functions that find, read, change and destroy objects (PKCS #11 section 5.7)."""

from collections.abc import Awaitable
from typing import Any, Final

from minikms_p11 import constants as c
from minikms_p11.application import AnyObject, Application, Session
from minikms_p11.functions.certificates import create_certificate, destroy_certificate
from minikms_p11.functions.labels import add_labels, labels_of
from minikms_p11.jwk import public_key_of_template
from minikms_p11.objects import CertificateObject, KeyObject, SessionPublicKey, matches
from minikms_p11.refusal import Problem, Refusal
from minikms_p11.wire import Size, Template, attribute, no_attribute


async def find_objects_init(
    application: Application, session: int, template: Template
) -> tuple[()]:
    opened = application.session(session)
    if opened.found is not None:
        raise Refusal(c.CKR_OPERATION_ACTIVE)
    opened.found = []
    try:
        opened.found = await _find(application, opened, template)
        if application.room < 0:
            raise Refusal(c.CKR_DEVICE_MEMORY)
    except BaseException:
        opened.found = None
        raise
    return ()


async def _find(application: Application, session: Session, template: Template) -> list[int]:
    own = [handle for handle, (_, made) in application.own.items() if matches(made, template)]
    if template.get(c.CKA_TOKEN) is False:
        return own
    try:
        return own + await application.find(session, template)
    except Refusal as refusal:
        # Before a login nothing is seen, as with a token whose objects are all private.
        if refusal.value == c.CKR_USER_NOT_LOGGED_IN and not isinstance(refusal, Problem):
            return own
        raise


def find_objects(
    application: Application, session: int, room: int | None
) -> tuple[list[int] | Size]:
    opened = application.session(session)
    if opened.found is None:
        raise Refusal(c.CKR_OPERATION_NOT_INITIALIZED)
    taken, opened.found = opened.found[: room or 0], opened.found[room or 0 :]
    return (taken,)


def find_objects_final(application: Application, session: int) -> tuple[()]:
    opened = application.session(session)
    if opened.found is None:
        raise Refusal(c.CKR_OPERATION_NOT_INITIALIZED)
    opened.found = None
    return ()


def get_attribute_value(
    application: Application, session: int, handle: int, rooms: list[tuple[int, int]]
) -> tuple[list[bytes], int] | Awaitable[tuple[list[bytes], int]]:
    opened = application.session(session)
    known = application.known(opened, handle, fresh=False)
    if known is not None:
        return _attributes(known, rooms)

    async def read() -> tuple[list[bytes], int]:
        return _attributes(await application.read(opened, handle), rooms)

    return read()


def _attributes(found: AnyObject, rooms: list[tuple[int, int]]) -> tuple[list[bytes], int]:
    """Attributes for the caller's buffers, and CKR_OK or the return value of the worst."""
    result = c.CKR_OK
    written = []
    for kind, room in rooms:
        try:
            content = attribute(kind, found.attribute(kind), room)
            if content is None:
                result = c.CKR_BUFFER_TOO_SMALL
        except Refusal as refusal:
            content, result = None, refusal.value
        written.append(no_attribute(kind) if content is None else content)
    return written, result


async def set_attribute_value(
    application: Application, session: int, handle: int, template: Template
) -> tuple[()]:
    opened = application.writable(session)
    found = await application.read(opened, handle)  # its labels are sent back
    if isinstance(found, CertificateObject):
        # Its id and label are the key's, and some programs repeat them.
        if all(found.attribute(kind) == value for kind, value in template.items()):
            return ()
        raise Refusal(c.CKR_ATTRIBUTE_READ_ONLY)
    if not isinstance(found, KeyObject):
        raise Refusal(c.CKR_ATTRIBUTE_READ_ONLY)
    changed = labels_of(template)
    for kind, value in template.items():
        if kind not in (c.CKA_ID, c.CKA_LABEL, c.CKA_SUBJECT) and found.attribute(kind) != value:
            raise Refusal(c.CKR_ATTRIBUTE_READ_ONLY)
    await add_labels(application, opened, found.key, changed)
    return ()


async def create_object(application: Application, session: int, template: Template) -> tuple[int]:
    opened = application.session(session)
    kind = template.get(c.CKA_CLASS)
    if kind == c.CKO_CERTIFICATE:
        return (await create_certificate(application, application.writable(session), template),)
    if kind == c.CKO_PUBLIC_KEY and template.get(c.CKA_TOKEN) is not True:
        made = SessionPublicKey(public_key_of_template(template), template)
        return (application.add(opened, made),)
    # Keys are made in the service: a private key that a program has is not brought there.
    raise Refusal(c.CKR_TEMPLATE_INCONSISTENT)


async def destroy_object(application: Application, session: int, handle: int) -> tuple[()]:
    opened = application.session(session)
    if handle in application.own:
        del application.own[handle]
        return ()
    application.writable(session)
    found = await application.read(opened, handle)
    if isinstance(found, CertificateObject):
        await destroy_certificate(application, opened, found)
    elif isinstance(found, KeyObject):
        await _destroy_key(application, opened, found)
    return ()


async def _destroy_key(application: Application, session: Session, found: KeyObject) -> None:
    key = found.key
    if not (application.sidecar.settings.allow_delete or application.made(key.kid)):
        raise Refusal(c.CKR_ACTION_PROHIBITED)
    # Programs that delete a key pair destroy both objects; the public one goes with the private.
    if found.object_class == c.CKO_PUBLIC_KEY and key.has_private_object:
        return
    await application.call(session, "DELETE", f"key/{key.kid}")
    application.forget(session, key.kid)


FUNCTIONS: Final[dict[str, Any]] = {
    "C_FindObjectsInit": find_objects_init,
    "C_FindObjects": find_objects,
    "C_FindObjectsFinal": find_objects_final,
    "C_GetAttributeValue": get_attribute_value,
    "C_SetAttributeValue": set_attribute_value,
    "C_CreateObject": create_object,
    "C_DestroyObject": destroy_object,
}
