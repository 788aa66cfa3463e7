"""C_GenerateKeyPair: key pairs that the service makes (PKCS #11 section 5.18)."""

import datetime
from typing import Any, Final

from minikms_p11 import constants as c
from minikms_p11.algorithms import CURVES_BY_OID
from minikms_p11.application import Application
from minikms_p11.functions.labels import labels_of
from minikms_p11.keys import SESSION_LABEL
from minikms_p11.objects import KeyObject
from minikms_p11.refusal import Refusal
from minikms_p11.wire import Mechanism, Template

_SESSION_KEY_ENDS: Final = datetime.timedelta(days=1)
_EXPONENT: Final = 65537
_RSA_SIZES: Final = (2048, 3072, 4096)

# The service's operations, for attributes that are true in the private key's template.
_OPERATIONS: Final = {
    c.CKA_SIGN: ("sign", "verify"),
    c.CKA_DERIVE: ("derive",),
    c.CKA_DECRYPT: ("decrypt", "encrypt"),
}
# Wishes for a private key that the service does not fulfil.
_REFUSED: Final = {
    c.CKA_SENSITIVE: False,
    c.CKA_EXTRACTABLE: True,
    c.CKA_PRIVATE: False,
    c.CKA_ALWAYS_AUTHENTICATE: True,
    c.CKA_SIGN_RECOVER: True,
    c.CKA_UNWRAP: True,
}


async def generate_key_pair(
    application: Application,
    session: int,
    mechanism: Mechanism | None,
    public: Template,
    private: Template,
) -> tuple[int, int]:
    opened = application.session(session)
    alg = _algorithm(mechanism, public)
    if alg not in application.slot(opened.slot).algorithms:
        raise Refusal(c.CKR_CURVE_NOT_SUPPORTED)
    for kind, refused in _REFUSED.items():
        if private.get(kind) is refused:
            raise Refusal(c.CKR_TEMPLATE_INCONSISTENT)
    body: dict[str, Any] = {"alg": alg}
    if operations := _operations(private, alg):
        body["operations"] = operations
    labels = {**labels_of(public), **labels_of(private)}
    key_label = application.slot(opened.slot).key_label
    if key_label is not None:  # so that its slot shows it
        labels.setdefault(*key_label)
    stays = private.get(c.CKA_TOKEN) is True
    if stays:
        application.writable(session)
    else:
        labels[SESSION_LABEL] = "true"
        ends = datetime.datetime.now(datetime.UTC) + _SESSION_KEY_ENDS
        body["expires"] = ends.isoformat()
        body["delete_after"] = int(_SESSION_KEY_ENDS.total_seconds())  # if the session's end fails
    if labels:
        body["labels"] = labels
    key = await (application.make if stays else application.make_temporary)(opened, body)
    return (
        application.handle_of(opened, KeyObject(key, c.CKO_PUBLIC_KEY)),
        application.handle_of(opened, KeyObject(key, c.CKO_PRIVATE_KEY)),
    )


def _algorithm(mechanism: Mechanism | None, public: Template) -> str:
    if mechanism is not None and mechanism.number == c.CKM_EC_KEY_PAIR_GEN:
        params = public.get(c.CKA_EC_PARAMS)
        if not isinstance(params, bytes):
            raise Refusal(c.CKR_TEMPLATE_INCOMPLETE)
        if params not in CURVES_BY_OID:
            raise Refusal(c.CKR_CURVE_NOT_SUPPORTED)
        return CURVES_BY_OID[params][0]
    if mechanism is not None and mechanism.number == c.CKM_RSA_PKCS_KEY_PAIR_GEN:
        bits = public.get(c.CKA_MODULUS_BITS)
        exponent = public.get(c.CKA_PUBLIC_EXPONENT)
        if bits not in _RSA_SIZES or (
            isinstance(exponent, bytes) and int.from_bytes(exponent) != _EXPONENT
        ):
            raise Refusal(c.CKR_ATTRIBUTE_VALUE_INVALID)
        return f"rsa{bits}"
    raise Refusal(c.CKR_MECHANISM_INVALID)


def _operations(private: Template, alg: str) -> list[str]:
    """List the operations that the program wants; empty for the algorithm's default.

    They belong to the usages that are true, or if no usage is true, to the usages that are not
    false.
    """
    usages = [kind for kind, names in _OPERATIONS.items() if _has(alg, names[0])]
    refused = [kind for kind in usages if private.get(kind) is False]
    wanted = [kind for kind in usages if private.get(kind) is True]
    if refused and not wanted:
        wanted = [kind for kind in usages if kind not in refused]
        if not wanted:
            raise Refusal(c.CKR_TEMPLATE_INCONSISTENT)
    return [name for kind in wanted for name in _OPERATIONS[kind]]


def _has(alg: str, operation: str) -> bool:
    """If the algorithm has the operation: EC does not decrypt, RSA does not agree on keys."""
    return operation == "sign" or (operation == "derive") != alg.startswith("rsa")


FUNCTIONS: Final[dict[str, Any]] = {"C_GenerateKeyPair": generate_key_pair}
