"""Encryption: Encrypt, Decrypt and ReEncrypt."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from minikms.doors.aws.blob import Blob, aad_of
from minikms.doors.aws.body import (
    Body,
    Shape,
    Unsupported,
    base64,
    blob,
    boolean,
    context,
    enum,
    key_id,
)
from minikms.doors.aws.errors import (
    IncorrectKeyException,
    InvalidCiphertextException,
    ValidationException,
)
from minikms.doors.aws.keys import AwsCall, AwsKey, ByKeyId
from minikms.doors.aws.operation import Answer, Work, key_operation, operation, refuse_dry_run
from minikms.doors.aws.specs import (
    ENCRYPT_DECRYPT,
    ENCRYPTION_ALGORITHMS,
    MAX_CIPHERTEXT,
    MAX_PLAINTEXT,
    SYMMETRIC_DEFAULT,
)
from minikms.doors.operations import Decrypt, Encrypt, Encrypted
from minikms.errors import KeyNotFound
from minikms.records import KeyRef


class EncryptRequest(ByKeyId):
    """Of Encrypt."""

    Plaintext = blob(MAX_PLAINTEXT, required=True)
    EncryptionContext = context()
    EncryptionAlgorithm = enum(ENCRYPTION_ALGORITHMS)
    DryRun = boolean()


class DecryptRequest(Shape):
    """Of Decrypt."""

    CiphertextBlob = blob(MAX_CIPHERTEXT, required=True)
    EncryptionContext = context()
    KeyId = key_id(required=False)
    EncryptionAlgorithm = enum(ENCRYPTION_ALGORITHMS)
    DryRun = boolean()
    DryRunModifiers = Unsupported()
    Recipient = Unsupported()


class ReEncryptRequest(Shape):
    """Of ReEncrypt."""

    CiphertextBlob = blob(MAX_CIPHERTEXT, required=True)
    SourceEncryptionContext = context()
    SourceKeyId = key_id(required=False)
    SourceEncryptionAlgorithm = enum(ENCRYPTION_ALGORITHMS)
    DestinationKeyId = key_id()
    DestinationEncryptionContext = context()
    DestinationEncryptionAlgorithm = enum(ENCRYPTION_ALGORITHMS)
    DryRun = boolean()
    DryRunModifiers = Unsupported()


class _Source(NamedTuple):
    """A ciphertext, what decrypts it, and the ARN of its key as the caller knows it."""

    key: AwsKey
    arn: str
    decrypt: Decrypt


@key_operation("Encrypt", "encrypt", EncryptRequest, usage=ENCRYPT_DECRYPT, does="encrypt")
def encrypt(key: AwsKey, body: Body) -> Work[Encrypted]:
    """A plaintext encrypted with a key, or to its public key."""
    algorithm = body.get("EncryptionAlgorithm", SYMMETRIC_DEFAULT)
    aad = _aad(key, algorithm, body.get("EncryptionContext"))
    _require_short(key, algorithm, body["Plaintext"])

    def answer(encrypted: Encrypted) -> Answer:
        return {
            "CiphertextBlob": base64(blob_of(key, encrypted)),
            "KeyId": key.arn,
            "EncryptionAlgorithm": algorithm,
        }

    return Work(key.by_kid, Encrypt(body["Plaintext"], aad), answer)


@operation("Decrypt", "decrypt", DecryptRequest)
async def decrypt(call: AwsCall, body: Body) -> Answer:
    """The plaintext of a ciphertext, which names its key if that is a symmetric one."""
    algorithm = body.get("EncryptionAlgorithm", SYMMETRIC_DEFAULT)
    source = await _source(call, body, algorithm, "", "Decrypt")
    refuse_dry_run(body)
    plaintext = await call.service.perform(call.profile, source.key.by_kid, source.decrypt)
    return {
        "KeyId": source.arn,
        "Plaintext": base64(plaintext),
        "EncryptionAlgorithm": algorithm,
        **material("KeyMaterialId", source.key),
    }


@operation("ReEncrypt", "decrypt", ReEncryptRequest, also=("encrypt",))
async def re_encrypt(call: AwsCall, body: Body) -> Answer:
    """A ciphertext of another key, of the same plaintext, which is not given away."""
    of_source = body.get("SourceEncryptionAlgorithm", SYMMETRIC_DEFAULT)
    source = await _source(call, body, of_source, "Source", "ReEncrypt")
    key = await call.key(body["DestinationKeyId"])
    key.require_usable("encrypt")
    key.require_usage(ENCRYPT_DECRYPT, "ReEncrypt")
    algorithm = body.get("DestinationEncryptionAlgorithm", SYMMETRIC_DEFAULT)
    aad = _aad(key, algorithm, body.get("DestinationEncryptionContext"))
    refuse_dry_run(body)
    plaintext = await call.service.perform(call.profile, source.key.by_kid, source.decrypt)
    _require_short(key, algorithm, plaintext)
    encrypted = await call.service.perform(call.profile, key.by_kid, Encrypt(plaintext, aad))
    return {
        "CiphertextBlob": base64(blob_of(key, encrypted)),
        "SourceKeyId": source.arn,
        "KeyId": key.arn,
        "SourceEncryptionAlgorithm": of_source,
        "DestinationEncryptionAlgorithm": algorithm,
        **material("SourceKeyMaterialId", source.key),
        **material("DestinationKeyMaterialId", key),
    }


def blob_of(key: AwsKey, encrypted: Encrypted) -> bytes:
    """A ciphertext as its callers get it: with its key, if that is a symmetric one."""
    if encrypted.nonce is None:
        return encrypted.ciphertext
    return Blob(key.record.kid, encrypted).to_bytes()


def material(member: str, key: AwsKey) -> dict[str, str]:
    """The id of the material of a symmetric key, as a member of an answer."""
    return {member: key.material_id} if key.spec.name == SYMMETRIC_DEFAULT else {}


async def _source(call: AwsCall, body: Body, algorithm: str, prefix: str, name: str) -> _Source:
    """What the members of a body with a prefix say of a ciphertext."""
    key_id, ciphertext = body.get(f"{prefix}KeyId"), body["CiphertextBlob"]
    named = None if key_id is None else await call.key(key_id)
    if algorithm == SYMMETRIC_DEFAULT:
        kid, encrypted = Blob.from_bytes(ciphertext)
        if named is not None and kid not in _kids(named):
            raise IncorrectKeyException()
        key = await _key_of(call, kid)
    elif named is None:
        raise ValidationException(f"{prefix}KeyId is required for algorithm {algorithm}.")
    else:
        key, encrypted = named, Encrypted(ciphertext)
    for each in (key, named or key):
        each.require_usable("decrypt")
    key.require_usage(ENCRYPT_DECRYPT, name)
    aad = _aad(key, algorithm, body.get(f"{prefix}EncryptionContext"))
    return _Source(key, (named or key).arn, Decrypt(encrypted, aad))


async def _key_of(call: AwsCall, kid: str) -> AwsKey:
    """The symmetric key of a ciphertext; raises InvalidCiphertextException for none."""
    try:
        record = await call.service.get(call.profile, KeyRef(kid=kid))
    except KeyNotFound:
        raise InvalidCiphertextException() from None
    key = call.named(record)
    if key is None or key.usage != ENCRYPT_DECRYPT or key.spec.name != SYMMETRIC_DEFAULT:
        raise InvalidCiphertextException()
    return key


def _kids(key: AwsKey) -> set[str]:
    """The kids of a key and of those that rotations replaced by it."""
    earlier = (kid for kids in key.record.predecessors.values() for kid in kids)
    return {key.record.kid, *earlier}


def _aad(key: AwsKey, algorithm: str, given: Mapping[str, str] | None) -> bytes | None:
    """The associated data of an encryption context, which a public key has not."""
    key.require_algorithm(algorithm)
    if algorithm == SYMMETRIC_DEFAULT:
        return aad_of(given)
    if given:
        raise ValidationException(f"EncryptionContext is not valid for algorithm {algorithm}.")
    return None


def _require_short(key: AwsKey, algorithm: str, plaintext: bytes) -> None:
    if len(plaintext) > key.spec.most:
        raise ValidationException(
            f"Algorithm {algorithm} and key spec {key.spec.name} cannot encrypt data larger than "
            f"{key.spec.most} bytes."
        )


OPERATIONS: Final = (encrypt, decrypt, re_encrypt)
