"""Signatures and authentication codes: Sign, Verify, GetPublicKey, GenerateMac, VerifyMac."""

from typing import Final

from minikms.doors.aws.body import BY_KEY_ID, Blob, Body, Boolean, Enum, Shape, base64
from minikms.doors.aws.errors import (
    AwsError,
)
from minikms.doors.aws.operation import (
    Answer,
    AwsCall,
    AwsKey,
    Work,
    key_operation,
    operation,
)
from minikms.doors.aws.specs import (
    GENERATE_VERIFY_MAC,
    MAC_ALGORITHMS,
    MAX_CIPHERTEXT,
    MAX_PLAINTEXT,
    MESSAGE_TYPES,
    RAW,
    SIGN_VERIFY,
    SIGNING_ALGORITHMS,
    spki_of,
)
from minikms.doors.operations import ComputeMac, Sign, Signed, SignOptions, Verify, VerifyMac

_SIGN: Final[Shape] = {
    **BY_KEY_ID,
    "Message": Blob(MAX_PLAINTEXT, required=True),
    "MessageType": Enum(MESSAGE_TYPES),
    "SigningAlgorithm": Enum(SIGNING_ALGORITHMS, required=True),
    "DryRun": Boolean(),
}


_VERIFY: Final[Shape] = {**_SIGN, "Signature": Blob(MAX_CIPHERTEXT, required=True)}


@key_operation("Sign", "sign", _SIGN, usage=SIGN_VERIFY, does="sign")
def sign(key: AwsKey, body: Body) -> Work[Signed]:
    """The signature over a message or its digest."""

    def answer(signed: Signed) -> Answer:
        return {
            "KeyId": key.arn,
            "Signature": base64(signed.sig),
            "SigningAlgorithm": body["SigningAlgorithm"],
        }

    return Work(key.by_kid, Sign(body["Message"], _options(key, body)), answer)


@key_operation("Verify", "verify", _VERIFY, usage=SIGN_VERIFY, does="verify")
def verify(key: AwsKey, body: Body) -> Work[bool]:
    """Whether a signature is good, by this key or one that a rotation replaced by it."""

    def answer(valid: bool) -> Answer:
        if not valid:
            raise AwsError("KMSInvalidSignatureException")
        return {
            "KeyId": key.arn,
            "SignatureValid": True,
            "SigningAlgorithm": body["SigningAlgorithm"],
        }

    checked = Verify(body["Message"], body["Signature"], _options(key, body))
    return Work(key.ref, checked, answer)


@operation("GetPublicKey", "keys:read", BY_KEY_ID)
async def get_public_key(call: AwsCall, body: Body) -> Answer:
    """The public key of a key pair."""
    key = await call.key(body["KeyId"])
    key.require_usable("verify")
    if key.record.jwk is None:
        raise AwsError("UnsupportedOperationException", f"{key.arn} has no public key.")
    return {
        "KeyId": key.arn,
        "PublicKey": base64(spki_of(key.record.jwk)),
        "CustomerMasterKeySpec": key.spec.name,
        "KeySpec": key.spec.name,
        "KeyUsage": key.usage,
        **key.spec.listed(key.usage),
    }


def _options(key: AwsKey, body: Body) -> SignOptions:
    """How to sign or verify a message, whose type must be one of its algorithm."""
    algorithm, kind = body["SigningAlgorithm"], body.get("MessageType", RAW)
    key.require_algorithm(algorithm)
    signing = key.spec.signing[algorithm]
    options = signing.types.get(kind)
    if options is None:
        raise AwsError(
            "ValidationException", f"MessageType {kind} is not valid for algorithm {algorithm}."
        )
    if options.prehashed and len(body["Message"]) != signing.digest:
        raise AwsError(
            "ValidationException", f"Digest is invalid length for algorithm {algorithm}."
        )
    return options


_GENERATE_MAC: Final[Shape] = {
    **BY_KEY_ID,
    "Message": Blob(MAX_PLAINTEXT, required=True),
    "MacAlgorithm": Enum(MAC_ALGORITHMS, required=True),
    "DryRun": Boolean(),
}


_VERIFY_MAC: Final[Shape] = {**_GENERATE_MAC, "Mac": Blob(MAX_CIPHERTEXT, required=True)}


@key_operation("GenerateMac", "mac", _GENERATE_MAC, usage=GENERATE_VERIFY_MAC, does="mac")
def generate_mac(key: AwsKey, body: Body) -> Work[bytes]:
    """The authentication code of a message."""
    key.require_algorithm(body["MacAlgorithm"])

    def answer(mac: bytes) -> Answer:
        return {"KeyId": key.arn, "Mac": base64(mac), "MacAlgorithm": body["MacAlgorithm"]}

    return Work(key.by_kid, ComputeMac(body["Message"]), answer)


@key_operation("VerifyMac", "mac", _VERIFY_MAC, usage=GENERATE_VERIFY_MAC, does="mac-verify")
def verify_mac(key: AwsKey, body: Body) -> Work[bool]:
    """Whether an authentication code is good, by this key or one that a rotation replaced by it."""
    key.require_algorithm(body["MacAlgorithm"])

    def answer(valid: bool) -> Answer:
        if not valid:
            raise AwsError("KMSInvalidMacException")
        return {"KeyId": key.arn, "MacValid": True, "MacAlgorithm": body["MacAlgorithm"]}

    return Work(key.ref, VerifyMac(body["Message"], body["Mac"]), answer)


OPERATIONS: Final = (
    sign,
    verify,
    get_public_key,
    generate_mac,
    verify_mac,
)
