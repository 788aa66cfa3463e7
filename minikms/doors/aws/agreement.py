"""Shared secrets: DeriveSharedSecret, Encapsulate and Decapsulate."""

from typing import Any, Final

from minikms.doors.aws.body import Body, Unsupported, base64, blob, boolean, enum
from minikms.doors.aws.operation import Answer, AwsKey, ByKeyId, Work, key_operation
from minikms.doors.aws.specs import (
    ENCAPSULATE_DECAPSULATE,
    KEY_AGREEMENT,
    MAX_CIPHERTEXT,
    MAX_PUBLIC_KEY,
    jwk_of,
)
from minikms.doors.operations import Decapsulate, Derive, Encapsulate


class DeriveSharedSecretRequest(ByKeyId):
    """Of DeriveSharedSecret."""

    KeyAgreementAlgorithm = enum(("ECDH",), required=True)
    PublicKey = blob(MAX_PUBLIC_KEY, required=True)
    DryRun = boolean()
    Recipient = Unsupported()


class EncapsulateRequest(ByKeyId):
    """Of Encapsulate."""

    EncapsulationAlgorithm = enum(("ML_KEM",), required=True)
    DryRun = boolean()


class DecapsulateRequest(EncapsulateRequest):
    """Of Decapsulate."""

    SharedSecretCiphertextBlob = blob(MAX_CIPHERTEXT, required=True)


@key_operation(
    "DeriveSharedSecret", "derive", DeriveSharedSecretRequest, usage=KEY_AGREEMENT, does="derive"
)
def derive_shared_secret(key: AwsKey, body: Body) -> Work[bytes]:
    """The raw secret shared with a peer's public key."""

    def answer(secret: bytes) -> Answer:
        return {
            "KeyId": key.arn,
            "SharedSecret": base64(secret),
            "KeyAgreementAlgorithm": body["KeyAgreementAlgorithm"],
            "KeyOrigin": "AWS_KMS",
        }

    return Work(key.by_kid, Derive(jwk_of(body["PublicKey"])), answer)


@key_operation(
    "Encapsulate",
    "encrypt",
    EncapsulateRequest,
    usage=ENCAPSULATE_DECAPSULATE,
    does="decapsulate",
)
def encapsulate(key: AwsKey, body: Body) -> Work[Any]:
    """A new secret to the public key of a key, and the ciphertext that it travels in."""

    def answer(made: Any) -> Answer:
        return {
            "KeyId": key.arn,
            "SharedSecret": base64(made.secret),
            "SharedSecretCiphertextBlob": base64(made.ciphertext),
            "EncapsulationAlgorithm": body["EncapsulationAlgorithm"],
        }

    return Work(key.by_kid, Encapsulate(), answer)


@key_operation(
    "Decapsulate",
    "derive",
    DecapsulateRequest,
    usage=ENCAPSULATE_DECAPSULATE,
    does="decapsulate",
)
def decapsulate(key: AwsKey, body: Body) -> Work[bytes]:
    """The secret of a ciphertext."""

    def answer(secret: bytes) -> Answer:
        return {
            "KeyId": key.arn,
            "SharedSecret": base64(secret),
            "EncapsulationAlgorithm": body["EncapsulationAlgorithm"],
        }

    return Work(key.by_kid, Decapsulate(body["SharedSecretCiphertextBlob"]), answer)


OPERATIONS: Final = (derive_shared_secret, encapsulate, decapsulate)
