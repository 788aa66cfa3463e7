"""Randomness, and data keys and data key pairs, encrypted with a key."""

import secrets
from typing import Final

from minikms.doors.aws.body import (
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
from minikms.doors.aws.encryption import aad_of, blob_of, material
from minikms.doors.aws.errors import AwsError
from minikms.doors.aws.operation import (
    Answer,
    AwsCall,
    AwsKey,
    Work,
    key_operation,
    operation,
    refuse_dry_run,
)
from minikms.doors.aws.specs import ENCRYPT_DECRYPT, KEY_SPECS, SYMMETRIC_DEFAULT, spki_of
from minikms.doors.operations import Encrypt, Encrypted

_GENERATE_RANDOM: Final[Shape] = {
    "NumberOfBytes": Integer(1, 1024),
    "CustomKeyStoreId": Unsupported(),
    "Recipient": Unsupported(),
}


@operation("GenerateRandom", "random", _GENERATE_RANDOM)
async def generate_random(call: AwsCall, body: Body) -> Answer:
    """So many random bytes."""
    if "NumberOfBytes" not in body:
        raise AwsError("ValidationException", "NumberOfBytes is required.")
    return {"Plaintext": base64(call.service.random(body["NumberOfBytes"]))}


_SIZES: Final = {"AES_256": 32, "AES_128": 16}
# AWS makes no pairs of secrets, and none of ML-DSA.
_PAIRS: Final = tuple(
    name for name in KEY_SPECS if not name.startswith(("SYMMETRIC_", "HMAC_", "ML_DSA_"))
)


_DATA_KEY: Final[Shape] = {
    **BY_KEY_ID,
    "EncryptionContext": Context(),
    "NumberOfBytes": Integer(1, 1024),
    "KeySpec": Enum(tuple(_SIZES)),
    "DryRun": Boolean(),
}


_PLAIN_DATA_KEY: Final[Shape] = {**_DATA_KEY, "Recipient": Unsupported()}


_DATA_KEY_PAIR: Final[Shape] = {
    **BY_KEY_ID,
    "EncryptionContext": Context(),
    "KeyPairSpec": Enum(_PAIRS, required=True),
    "DryRun": Boolean(),
}


_PLAIN_DATA_KEY_PAIR: Final[Shape] = {**_DATA_KEY_PAIR, "Recipient": Unsupported()}


@key_operation("GenerateDataKey", "encrypt", _PLAIN_DATA_KEY, usage=ENCRYPT_DECRYPT, does="encrypt")
def generate_data_key(key: AwsKey, body: Body) -> Work[Encrypted]:
    """A new data key, and the same encrypted."""
    return _data_key(key, body, plain=True)


@key_operation(
    "GenerateDataKeyWithoutPlaintext",
    "encrypt",
    _DATA_KEY,
    usage=ENCRYPT_DECRYPT,
    does="encrypt",
)
def generate_data_key_without_plaintext(key: AwsKey, body: Body) -> Work[Encrypted]:
    """A new data key, encrypted."""
    return _data_key(key, body, plain=False)


@operation("GenerateDataKeyPair", "encrypt", _PLAIN_DATA_KEY_PAIR)
async def generate_data_key_pair(call: AwsCall, body: Body) -> Answer:
    """A new key pair, and its private key encrypted."""
    return await _data_key_pair(call, body, "GenerateDataKeyPair", plain=True)


@operation("GenerateDataKeyPairWithoutPlaintext", "encrypt", _DATA_KEY_PAIR)
async def generate_data_key_pair_without_plaintext(call: AwsCall, body: Body) -> Answer:
    """A new key pair, its private key encrypted."""
    return await _data_key_pair(call, body, "GenerateDataKeyPairWithoutPlaintext", plain=False)


def _data_key(key: AwsKey, body: Body, *, plain: bool) -> Work[Encrypted]:
    key.require_algorithm(SYMMETRIC_DEFAULT)
    if ("KeySpec" in body) == ("NumberOfBytes" in body):
        raise AwsError("ValidationException", "Please specify either number of bytes or key spec.")
    size = body["NumberOfBytes"] if "NumberOfBytes" in body else _SIZES[body["KeySpec"]]
    data_key = secrets.token_bytes(size)

    def answer(encrypted: Encrypted) -> Answer:
        shown = {"Plaintext": base64(data_key)} if plain else {}
        return {
            "CiphertextBlob": base64(blob_of(key, encrypted)),
            **shown,
            "KeyId": key.arn,
            **material("KeyMaterialId", key),
        }

    aad = aad_of(body.get("EncryptionContext"))
    return Work(key.by_kid, Encrypt(data_key, aad), answer)


async def _data_key_pair(call: AwsCall, body: Body, name: str, *, plain: bool) -> Answer:
    key = await call.key(body["KeyId"])
    key.require_usable("encrypt")
    key.require_usage(ENCRYPT_DECRYPT, name)
    key.require_algorithm(SYMMETRIC_DEFAULT)
    spec = call.specs.get(body["KeyPairSpec"])
    aad = aad_of(body.get("EncryptionContext"))
    refuse_dry_run(body)
    pair = await call.service.generate_pair(call.profile, spec.alg)
    encrypted = await call.service.perform(call.profile, key.by_kid, Encrypt(pair.private, aad))
    shown = {"PrivateKeyPlaintext": base64(pair.private)} if plain else {}
    return {
        "PrivateKeyCiphertextBlob": base64(blob_of(key, encrypted)),
        **shown,
        "PublicKey": base64(spki_of(pair.jwk)),
        "KeyId": key.arn,
        "KeyPairSpec": spec.name,
        **material("KeyMaterialId", key),
    }


OPERATIONS: Final = (
    generate_random,
    generate_data_key,
    generate_data_key_without_plaintext,
    generate_data_key_pair,
    generate_data_key_pair_without_plaintext,
)
