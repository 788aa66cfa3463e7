"""Shared secrets: DeriveSharedSecret, Encapsulate and Decapsulate."""

from typing import Final

from minikms.doors.operations import Decapsulate, Derive, Encapsulate
from minikms_aws.body import BY_KEY_ID, Blob, Body, Boolean, Enum, Shape, Unsupported, base64
from minikms_aws.operation import Answer, AwsCall, operation
from minikms_aws.specs import (
    ENCAPSULATE_DECAPSULATE,
    KEY_AGREEMENT,
    MAX_CIPHERTEXT,
    MAX_PUBLIC_KEY,
    jwk_of,
)

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


@operation("DeriveSharedSecret", "derive", _DERIVE_SHARED_SECRET)
async def derive_shared_secret(call: AwsCall, body: Body) -> Answer:
    """Derive the raw secret that the key shares with a peer's public key."""
    key = await call.key_to_use(body["KeyId"], KEY_AGREEMENT, "derive")
    secret = await call.perform(key.by_kid, Derive(jwk_of(body["PublicKey"])))
    return {
        "KeyId": key.arn,
        "SharedSecret": base64(secret),
        "KeyAgreementAlgorithm": body["KeyAgreementAlgorithm"],
        "KeyOrigin": "AWS_KMS",
    }


@operation("Encapsulate", "encrypt", _ENCAPSULATE)
async def encapsulate(call: AwsCall, body: Body) -> Answer:
    """Make a secret, and encapsulate it to the public key of a key."""
    key = await call.key_to_use(body["KeyId"], ENCAPSULATE_DECAPSULATE, "decapsulate")
    made = await call.perform(key.by_kid, Encapsulate())
    return {
        "KeyId": key.arn,
        "SharedSecret": base64(made.secret),
        "SharedSecretCiphertextBlob": base64(made.ciphertext),
        "EncapsulationAlgorithm": body["EncapsulationAlgorithm"],
    }


@operation("Decapsulate", "derive", _DECAPSULATE)
async def decapsulate(call: AwsCall, body: Body) -> Answer:
    """Decapsulate the secret of a ciphertext."""
    key = await call.key_to_use(body["KeyId"], ENCAPSULATE_DECAPSULATE, "decapsulate")
    secret = await call.perform(key.by_kid, Decapsulate(body["SharedSecretCiphertextBlob"]))
    return {
        "KeyId": key.arn,
        "SharedSecret": base64(secret),
        "EncapsulationAlgorithm": body["EncapsulationAlgorithm"],
    }
