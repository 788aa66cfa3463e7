"""Signatures and MACs: Sign, Verify, GetPublicKey, GenerateMac and VerifyMac."""

from typing import Final

from minikms.doors.operations import ComputeMac, Sign, SignOptions, Verify, VerifyMac
from minikms.doors.public_keys import spki_of
from minikms_aws.body import BY_KEY_ID, Blob, Body, Boolean, Enum, Shape, base64
from minikms_aws.errors import AwsError, invalid
from minikms_aws.operation import Answer, AwsCall, AwsKey, operation
from minikms_aws.specs import (
    GENERATE_VERIFY_MAC,
    MAC_ALGORITHMS,
    MAX_CIPHERTEXT,
    MAX_PLAINTEXT,
    MESSAGE_TYPES,
    RAW,
    SIGN_VERIFY,
    SIGNING_ALGORITHMS,
)

_SIGN: Final[Shape] = {
    **BY_KEY_ID,
    "Message": Blob(MAX_PLAINTEXT, required=True),
    "MessageType": Enum(MESSAGE_TYPES),
    "SigningAlgorithm": Enum(SIGNING_ALGORITHMS, required=True),
    "DryRun": Boolean(),
}
_VERIFY: Final[Shape] = {**_SIGN, "Signature": Blob(MAX_CIPHERTEXT, required=True)}
_GENERATE_MAC: Final[Shape] = {
    **BY_KEY_ID,
    "Message": Blob(MAX_PLAINTEXT, required=True),
    "MacAlgorithm": Enum(MAC_ALGORITHMS, required=True),
    "DryRun": Boolean(),
}
_VERIFY_MAC: Final[Shape] = {**_GENERATE_MAC, "Mac": Blob(MAX_CIPHERTEXT, required=True)}


@operation("Sign", "sign", _SIGN)
async def sign(call: AwsCall, body: Body) -> Answer:
    """Sign a message or its digest."""
    key, signed = await call.use(
        body["KeyId"], SIGN_VERIFY, Sign, lambda key: Sign(body["Message"], _options(key, body))
    )
    return {
        "KeyId": key.arn,
        "Signature": base64(signed.sig),
        "SigningAlgorithm": body["SigningAlgorithm"],
    }


@operation("Verify", "verify", _VERIFY)
async def verify(call: AwsCall, body: Body) -> Answer:
    """Verify a signature by a key or one of its predecessors."""
    key, is_valid = await call.use(
        body["KeyId"],
        SIGN_VERIFY,
        Verify,
        lambda key: Verify(body["Message"], body["Signature"], _options(key, body)),
    )
    if not is_valid:
        raise AwsError("KMSInvalidSignatureException")
    return {"KeyId": key.arn, "SignatureValid": True, "SigningAlgorithm": body["SigningAlgorithm"]}


@operation("GetPublicKey", "keys:read", BY_KEY_ID)
async def get_public_key(call: AwsCall, body: Body) -> Answer:
    """Return the public key of a key pair."""
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


@operation("GenerateMac", "mac", _GENERATE_MAC)
async def generate_mac(call: AwsCall, body: Body) -> Answer:
    """Compute the MAC of a message."""

    def choose(key: AwsKey) -> ComputeMac:
        key.require_algorithm(body["MacAlgorithm"])
        return ComputeMac(body["Message"])

    key, mac = await call.use(body["KeyId"], GENERATE_VERIFY_MAC, ComputeMac, choose)
    return {"KeyId": key.arn, "Mac": base64(mac), "MacAlgorithm": body["MacAlgorithm"]}


@operation("VerifyMac", "mac", _VERIFY_MAC)
async def verify_mac(call: AwsCall, body: Body) -> Answer:
    """Verify a MAC by a key or one of its predecessors."""

    def choose(key: AwsKey) -> VerifyMac:
        key.require_algorithm(body["MacAlgorithm"])
        return VerifyMac(body["Message"], body["Mac"])

    key, is_valid = await call.use(body["KeyId"], GENERATE_VERIFY_MAC, VerifyMac, choose)
    if not is_valid:
        raise AwsError("KMSInvalidMacException")
    return {"KeyId": key.arn, "MacValid": True, "MacAlgorithm": body["MacAlgorithm"]}


def _options(key: AwsKey, body: Body) -> SignOptions:
    """Choose the options for the algorithm and the message type of a body."""
    algorithm, kind = body["SigningAlgorithm"], body.get("MessageType", RAW)
    key.require_algorithm(algorithm)
    signing = key.spec.signing[algorithm]
    options = signing.types.get(kind)
    if options is None:
        raise invalid(f"MessageType {kind} is not valid for algorithm {algorithm}.")
    if options.prehashed and len(body["Message"]) != signing.digest:
        raise invalid(f"Digest is invalid length for algorithm {algorithm}.")
    return options
