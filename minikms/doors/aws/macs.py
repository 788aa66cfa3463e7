"""Authentication codes: GenerateMac and VerifyMac."""

from typing import Final

from minikms.doors.aws.body import Body, base64, blob, boolean, enum
from minikms.doors.aws.errors import KMSInvalidMacException
from minikms.doors.aws.keys import AwsKey, ByKeyId
from minikms.doors.aws.operation import Answer, Work, key_operation
from minikms.doors.aws.specs import (
    GENERATE_VERIFY_MAC,
    MAC_ALGORITHMS,
    MAX_CIPHERTEXT,
    MAX_PLAINTEXT,
)
from minikms.doors.operations import ComputeMac, VerifyMac


class GenerateMacRequest(ByKeyId):
    """Of GenerateMac."""

    Message = blob(MAX_PLAINTEXT, required=True)
    MacAlgorithm = enum(MAC_ALGORITHMS, required=True)
    DryRun = boolean()


class VerifyMacRequest(GenerateMacRequest):
    """Of VerifyMac."""

    Mac = blob(MAX_CIPHERTEXT, required=True)


@key_operation("GenerateMac", "mac", GenerateMacRequest, usage=GENERATE_VERIFY_MAC, does="mac")
def generate_mac(key: AwsKey, body: Body) -> Work[bytes]:
    """The authentication code of a message."""
    key.require_algorithm(body["MacAlgorithm"])

    def answer(mac: bytes) -> Answer:
        return {"KeyId": key.arn, "Mac": base64(mac), "MacAlgorithm": body["MacAlgorithm"]}

    return Work(key.by_kid, ComputeMac(body["Message"]), answer)


@key_operation("VerifyMac", "mac", VerifyMacRequest, usage=GENERATE_VERIFY_MAC, does="mac-verify")
def verify_mac(key: AwsKey, body: Body) -> Work[bool]:
    """Whether an authentication code is good, by this key or one that a rotation replaced by it."""
    key.require_algorithm(body["MacAlgorithm"])

    def answer(valid: bool) -> Answer:
        if not valid:
            raise KMSInvalidMacException()
        return {"KeyId": key.arn, "MacValid": True, "MacAlgorithm": body["MacAlgorithm"]}

    return Work(key.ref, VerifyMac(body["Message"], body["Mac"]), answer)


OPERATIONS: Final = (generate_mac, verify_mac)
