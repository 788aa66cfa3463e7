"""The labels of a key of the service for the CKA_ID and CKA_LABEL that programs give it."""

from minikms_p11 import constants as c
from minikms_p11.application import Application, Session
from minikms_p11.keys import ID_LABEL, LONGEST_ID, NAME, NAME_LABEL, Key
from minikms_p11.refusal import Refusal
from minikms_p11.wire import Template


def labels_of(template: Template) -> dict[str, str]:
    """The labels for a template's CKA_ID and CKA_LABEL; raises Refusal."""
    labels = name_of(template)
    value = template.get(c.CKA_ID)
    if isinstance(value, bytes) and value:
        if len(value) > LONGEST_ID:
            raise Refusal(c.CKR_ATTRIBUTE_VALUE_INVALID)
        labels[ID_LABEL] = value.hex()
    return labels


def name_of(template: Template) -> dict[str, str]:
    """The label for a template's CKA_LABEL; raises Refusal."""
    value = template.get(c.CKA_LABEL)
    if not isinstance(value, bytes) or not value:
        return {}
    try:
        name = value.decode()
    except UnicodeDecodeError:
        raise Refusal(c.CKR_ATTRIBUTE_VALUE_INVALID) from None
    if not NAME.fullmatch(name):
        raise Refusal(c.CKR_ATTRIBUTE_VALUE_INVALID)
    return {NAME_LABEL: name}


async def add_labels(
    application: Application, session: Session, key: Key, labels: dict[str, str]
) -> Key:
    """Add labels to a key; raises Refusal for a name that differs from its alias.

    Such a name would not be shown. `keytool -changealias` deletes a key whose name it has not
    changed.
    """
    name = labels.get(NAME_LABEL)
    if key.aliases and name is not None:
        if name not in key.names:
            raise Refusal(c.CKR_ATTRIBUTE_VALUE_INVALID)
        labels = {kind: value for kind, value in labels.items() if kind != NAME_LABEL}
    if not labels.items() - key.labels.items():
        return key
    body = {"labels": {**key.labels, **labels}}
    answer = await application.call(session, "PATCH", f"key/{key.kid}", body)
    return application.keep(session, answer)
