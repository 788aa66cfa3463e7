"""Functions of RSA-OAEP and of key agreement (PKCS #11 sections 5.8, 5.10 and 5.18).

The sidecar encrypts with the public key; the service decrypts, and agrees on secrets.
"""

from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import rsa

from minikms_p11 import constants as c
from minikms_p11.application import AnyObject, Application, Operation, Session
from minikms_p11.functions.answers import fits, into
from minikms_p11.jwk import point, public_jwk
from minikms_p11.keys import base64url, unbase64
from minikms_p11.objects import KeyObject, SessionPublicKey, SessionSecret
from minikms_p11.refusal import Refusal
from minikms_p11.verification import oaep
from minikms_p11.wire import Ecdh1Parameter, Mechanism, OaepParameter, Size, Template

# The service decrypts by RSA-OAEP-256 (RFC 7518 section 4.3).
_OAEP: Final = OaepParameter(c.CKM_SHA256, c.CKG_MGF1_SHA256, c.CKZ_DATA_SPECIFIED, b"")
_NO_LABEL: Final = OaepParameter(c.CKM_SHA256, c.CKG_MGF1_SHA256, 0, b"")


async def encrypt_init(
    application: Application, session: int, mechanism: Mechanism | None, handle: int
) -> tuple[()]:
    return await _init(application, session, "encrypt", mechanism, handle)


async def decrypt_init(
    application: Application, session: int, mechanism: Mechanism | None, handle: int
) -> tuple[()]:
    return await _init(application, session, "decrypt", mechanism, handle)


async def _init(
    application: Application, session: int, name: str, mechanism: Mechanism | None, handle: int
) -> tuple[()]:
    opened = application.session(session)
    if mechanism is None:
        opened.operations.pop(name, None)
        return ()
    if mechanism.number != c.CKM_RSA_PKCS_OAEP:
        raise Refusal(c.CKR_MECHANISM_INVALID)
    if mechanism.parameter not in (_OAEP, _NO_LABEL):
        raise Refusal(c.CKR_MECHANISM_PARAM_INVALID)
    found = await application.object(opened, handle)
    if name == "encrypt":
        _rsa(found)
    elif not (isinstance(found, KeyObject) and found.object_class == c.CKO_PRIVATE_KEY):
        raise Refusal(c.CKR_KEY_TYPE_INCONSISTENT)
    elif "decrypt" not in found.key.operations:
        raise Refusal(c.CKR_KEY_FUNCTION_NOT_PERMITTED)
    if name in opened.operations:
        raise Refusal(c.CKR_OPERATION_ACTIVE)
    opened.operations[name] = Operation(mechanism.number, mechanism.parameter, handle, found)
    return ()


def _rsa(found: AnyObject) -> rsa.RSAPublicKey:
    if isinstance(found, SessionPublicKey):
        key: object = found.public_key
    elif isinstance(found, KeyObject) and found.object_class == c.CKO_PUBLIC_KEY:
        key = found.key.public_key
    else:
        raise Refusal(c.CKR_KEY_FUNCTION_NOT_PERMITTED)
    if not isinstance(key, rsa.RSAPublicKey):
        raise Refusal(c.CKR_KEY_TYPE_INCONSISTENT)
    return key


async def encrypt(
    application: Application, session: int, data: bytes, room: int | None
) -> tuple[bytes | Size]:
    opened = application.session(session)
    operation = opened.operation("encrypt")
    key = _rsa(operation.found or await application.read(opened, operation.handle))
    length = (key.key_size + 7) // 8
    if not fits(length, room):
        return (Size(length),)
    opened.operations.pop("encrypt", None)
    try:
        return (key.encrypt(data, oaep()),)
    except ValueError:  # too long
        raise Refusal(c.CKR_DATA_LEN_RANGE) from None


async def decrypt(
    application: Application, session: int, data: bytes, room: int | None
) -> tuple[bytes | Size]:
    opened = application.session(session)
    operation = opened.operation("decrypt")
    found = operation.found or await application.read(opened, operation.handle)
    if not isinstance(found, KeyObject):
        raise Refusal(c.CKR_KEY_HANDLE_INVALID)
    # The length of the plaintext is known only by decryption: a query gets the bound of it.
    bound = found.key.algorithm.bits // 8
    if room is None:
        return (Size(bound),)
    if operation.data is None:
        body = {"kid": found.key.kid, "ciphertext": base64url(data)}
        opened.operations.pop("decrypt", None)
        answer = await application.call(opened, "POST", "decrypt", body)
        plaintext = unbase64(answer["plaintext"])
        if fits(len(plaintext), room):
            return (plaintext,)
        operation.data = bytearray(plaintext)
        opened.operations["decrypt"] = operation
    elif fits(len(operation.data), room):
        del opened.operations["decrypt"]
    return (into(bytes(operation.data), room),)


async def derive_key(
    application: Application,
    session: int,
    mechanism: Mechanism | None,
    handle: int,
    template: Template,
) -> tuple[int]:
    opened = application.session(session)
    if mechanism is None or mechanism.number != c.CKM_ECDH1_DERIVE:
        raise Refusal(c.CKR_MECHANISM_INVALID)
    parameter = mechanism.parameter
    if not isinstance(parameter, Ecdh1Parameter) or parameter.kdf != c.CKD_NULL or parameter.shared:
        raise Refusal(c.CKR_MECHANISM_PARAM_INVALID)
    if template.get(c.CKA_TOKEN) is True or template.get(c.CKA_CLASS) not in (
        None,
        c.CKO_SECRET_KEY,
    ):
        raise Refusal(c.CKR_TEMPLATE_INCONSISTENT)
    secret = await _agreed(application, opened, handle, parameter.public)
    length = template.get(c.CKA_VALUE_LEN, len(secret))
    if not isinstance(length, int) or not 0 < length <= len(secret):
        raise Refusal(c.CKR_TEMPLATE_INCONSISTENT)
    # Its first bytes are left out (PKCS #11 section 6.3.20).
    return (application.add(opened, SessionSecret(secret[len(secret) - length :], template)),)


async def _agreed(application: Application, session: Session, handle: int, peer: bytes) -> bytes:
    found = await application.object(session, handle)
    if not isinstance(found, KeyObject) or found.object_class != c.CKO_PRIVATE_KEY:
        raise Refusal(c.CKR_KEY_HANDLE_INVALID)
    curve = found.key.algorithm.curve
    if curve is None:
        raise Refusal(c.CKR_KEY_TYPE_INCONSISTENT)
    try:
        jwk = public_jwk(point(curve.oid, peer))
    except ValueError:
        raise Refusal(c.CKR_MECHANISM_PARAM_INVALID) from None
    body = {"kid": found.key.kid, "peer": jwk}
    answer = await application.call(session, "POST", "derive", body)
    return unbase64(answer["secret"])


async def derive_key_2(
    application: Application,
    session: int,
    mechanism: Mechanism | None,
    handle: int,
    template: Template,
) -> tuple[int, None, int]:
    """C_DeriveKey of version 2 of the protocol: the return value, no change of the parameter."""
    (made,) = await derive_key(application, session, mechanism, handle, template)
    return c.CKR_OK, None, made


FUNCTIONS: Final[dict[str, Any]] = {
    "C_EncryptInit": encrypt_init,
    "C_Encrypt": encrypt,
    "C_DecryptInit": decrypt_init,
    "C_Decrypt": decrypt,
    "C_DeriveKey": derive_key,
    "C_DeriveKey2": derive_key_2,
}
