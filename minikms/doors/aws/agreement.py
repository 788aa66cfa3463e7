"""Shared secrets: DeriveSharedSecret, Encapsulate and Decapsulate."""

from typing import Any, Final

from minikms.doors.aws.body import BY_KEY_ID, Blob, Body, Boolean, Enum, Shape, Unsupported, base64
from minikms.doors.aws.operation import Answer, AwsKey, Work, key_operation
from minikms.doors.aws.specs import (
    ENCAPSULATE_DECAPSULATE,
    KEY_AGREEMENT,
    MAX_CIPHERTEXT,
    MAX_PUBLIC_KEY,
    jwk_of,
)
from minikms.doors.operations import Decapsulate, Derive, Encapsulate

_DERIVE_SHARED_SECRET: Final[Shape] = {
    **BY_KEY_ID,
    "KeyAgreementAlgorithm": Enum(("ECDH",), required=True),
    "PublicKey": Blob(MAX_PUBLIC_KEY, required=True),
    "DryRun": Boolean(),
    "Recipient": Unsupported(),
}


_ENCAPSULATE: Final[Shape] = {
    **BY_KEY_ID,
    "EncapsulationAlgorithm": Enum(("ML_KEM",), required=True),
    "DryRun": Boolean(),
}


_DECAPSULATE: Final[Shape] = {
    **_ENCAPSULATE,
    "SharedSecretCiphertextBlob": Blob(MAX_CIPHERTEXT, required=True),
}


@key_operation(
    "DeriveSharedSecret", "derive", _DERIVE_SHARED_SECRET, usage=KEY_AGREEMENT, does="derive"
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
    _ENCAPSULATE,
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
    _DECAPSULATE,
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
