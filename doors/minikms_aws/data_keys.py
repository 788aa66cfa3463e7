"""Random bytes, data keys and data key pairs: the Generate… operations, except for GenerateMac."""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from minikms.doors.operations import Encrypt
from minikms.doors.public_keys import spki_of
from minikms_aws.body import (
    BY_KEY_ID,
    Body,
    Boolean,
    Context,
    Enum,
    Integer,
    Shape,
    Unsupported,
    base64,
)
from minikms_aws.encryption import aad_of, blob_of, material
from minikms_aws.errors import invalid
from minikms_aws.operation import Answer, AwsCall, AwsOperation, operation
from minikms_aws.specs import ENCRYPT_DECRYPT, KEY_SPECS, SYMMETRIC_DEFAULT

_SIZES: Final = {"AES_256": 32, "AES_128": 16}
# AWS generates no data key pairs of these specs: secret keys and ML-DSA.
_PAIRS: Final = tuple(
    name for name in KEY_SPECS if not name.startswith(("SYMMETRIC_", "HMAC_", "ML_DSA_"))
)

_GENERATE_RANDOM: Final[Shape] = {
    "NumberOfBytes": Integer(1, 1024),
    "CustomKeyStoreId": Unsupported(),
    "Recipient": Unsupported(),
}
_DATA_KEY: Final[Shape] = {
    **BY_KEY_ID,
    "EncryptionContext": Context(),
    "NumberOfBytes": Integer(1, 1024),
    "KeySpec": Enum(tuple(_SIZES)),
    "DryRun": Boolean(),
}
_DATA_KEY_PAIR: Final[Shape] = {
    **BY_KEY_ID,
    "EncryptionContext": Context(),
    "KeyPairSpec": Enum(_PAIRS, required=True),
    "DryRun": Boolean(),
}


@operation("GenerateRandom", "random", _GENERATE_RANDOM)
async def generate_random(call: AwsCall, body: Body) -> Answer:
    """Return random bytes."""
    if "NumberOfBytes" not in body:
        raise invalid("NumberOfBytes is required.")
    return {"Plaintext": base64(call.service.random(body["NumberOfBytes"]))}


async def _data_key(call: AwsCall, body: Body, *, plain: bool) -> Answer:
    """Make a data key; return it encrypted, and plain if `plain`."""
    key = await call.key_to_use(body["KeyId"], ENCRYPT_DECRYPT, "encrypt")
    key.require_algorithm(SYMMETRIC_DEFAULT)
    if ("KeySpec" in body) == ("NumberOfBytes" in body):
        raise invalid("Please specify either number of bytes or key spec.")
    size = body["NumberOfBytes"] if "NumberOfBytes" in body else _SIZES[body["KeySpec"]]
    data_key = secrets.token_bytes(size)
    aad = aad_of(body.get("EncryptionContext"))
    encrypted = await call.perform(key.by_kid, Encrypt(data_key, aad))
    shown = {"Plaintext": base64(data_key)} if plain else {}
    return {
        "CiphertextBlob": base64(blob_of(key, encrypted)),
        **shown,
        "KeyId": key.arn,
        **material("KeyMaterialId", key),
    }


async def _data_key_pair(call: AwsCall, body: Body, *, plain: bool) -> Answer:
    """Make a key pair; return its private key encrypted, and plain if `plain`."""
    key = await call.key_to_use(body["KeyId"], ENCRYPT_DECRYPT, "encrypt")
    key.require_algorithm(SYMMETRIC_DEFAULT)
    spec = call.specs.get(body["KeyPairSpec"])
    aad = aad_of(body.get("EncryptionContext"))
    call.refuse_dry_run()
    pair = await call.service.generate_pair(call.profile, spec.alg)
    encrypted = await call.perform(key.by_kid, Encrypt(pair.private, aad))
    shown = {"PrivateKeyPlaintext": base64(pair.private)} if plain else {}
    return {
        "PrivateKeyCiphertextBlob": base64(blob_of(key, encrypted)),
        **shown,
        "PublicKey": base64(spki_of(pair.jwk)),
        "KeyId": key.arn,
        "KeyPairSpec": spec.name,
        **material("KeyMaterialId", key),
    }


def _both(
    name: str, members: Shape, handler: Callable[..., Awaitable[Answer]]
) -> tuple[AwsOperation, AwsOperation]:
    """Declare an operation that also returns the plaintext, and its form `WithoutPlaintext`."""
    plain = operation(name, "encrypt", {**members, "Recipient": Unsupported()})
    sealed = operation(f"{name}WithoutPlaintext", "encrypt", members)
    return plain(partial(handler, plain=True)), sealed(partial(handler, plain=False))


generate, generate_sealed = _both("GenerateDataKey", _DATA_KEY, _data_key)
generate_pair, generate_pair_sealed = _both("GenerateDataKeyPair", _DATA_KEY_PAIR, _data_key_pair)
