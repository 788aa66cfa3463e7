"""Encryption: Encrypt, Decrypt and ReEncrypt, and the ciphertext blobs that name their key."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from minikms.doors import KeyRef, keep_key
from minikms.doors.aws.body import (
    BY_KEY_ID,
    KEY_ID,
    OPTIONAL_KEY_ID,
    Blob,
    Body,
    Boolean,
    Context,
    Enum,
    Shape,
    Unsupported,
    base64,
)
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
    refuse_dry_run,
)
from minikms.doors.aws.specs import (
    ENCRYPT_DECRYPT,
    ENCRYPTION_ALGORITHMS,
    MAX_CIPHERTEXT,
    MAX_PLAINTEXT,
    SYMMETRIC_DEFAULT,
)
from minikms.doors.operations import Decrypt, Encrypt, Encrypted

_VERSION: Final = 1
_NONCE: Final = 12
_TAG: Final = 16
_KID: Final = re.compile(rb"[A-Za-z0-9_-]{1,128}")
_MAX_CONTEXT: Final = 8192
# Of a text of a context there: the bytes of its length.
_LENGTH: Final = 4


class CiphertextBlob(NamedTuple):
    """A ciphertext of AES-GCM, and the kid of its key.

    A byte with the version, one with the length of the kid, the kid, the nonce, the tag and the
    ciphertext.
    """

    kid: str
    encrypted: Encrypted

    def to_bytes(self) -> bytes:
        """The blob as callers keep it."""
        ciphertext, nonce, tag = self.encrypted
        kid = self.kid.encode()
        return b"".join((bytes((_VERSION, len(kid))), kid, nonce or b"", tag or b"", ciphertext))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` gave; raises InvalidCiphertextException for anything else."""
        if len(data) < 2 or data[0] != _VERSION:
            raise AwsError("InvalidCiphertextException")
        at = 2 + data[1]
        kid, nonce, tag = data[2:at], data[at : at + _NONCE], data[at + _NONCE :][:_TAG]
        if not _KID.fullmatch(kid) or len(tag) != _TAG:
            raise AwsError("InvalidCiphertextException")
        ciphertext = data[at + _NONCE + _TAG :]
        return cls(kid.decode(), Encrypted(ciphertext, nonce, tag))


def aad_of(context: Mapping[str, str] | None) -> bytes:
    """An encryption context as associated data, the same for no other; empty where there is none.

    The pairs in order, each of name and value as UTF-8 after its length in four bytes. Raises
    ValidationException for one that is too long.
    """
    pairs = context or {}
    parts: list[bytes] = []
    if 2 * _LENGTH * len(pairs) <= _MAX_CONTEXT:  # not to sort what is too long anyway
        for pair in sorted(pairs.items()):
            for text in pair:
                data = text.encode()
                parts += (len(data).to_bytes(_LENGTH, "big"), data)
        aad = b"".join(parts)
        if len(aad) <= _MAX_CONTEXT:
            return aad
    raise AwsError("ValidationException", "EncryptionContext is too long.")


_ENCRYPT: Final[Shape] = {
    **BY_KEY_ID,
    "Plaintext": Blob(MAX_PLAINTEXT, required=True),
    "EncryptionContext": Context(),
    "EncryptionAlgorithm": Enum(ENCRYPTION_ALGORITHMS),
    "DryRun": Boolean(),
}


_DECRYPT: Final[Shape] = {
    "CiphertextBlob": Blob(MAX_CIPHERTEXT, required=True),
    "EncryptionContext": Context(),
    "KeyId": OPTIONAL_KEY_ID,
    "EncryptionAlgorithm": Enum(ENCRYPTION_ALGORITHMS),
    "DryRun": Boolean(),
    "DryRunModifiers": Unsupported(),
    "Recipient": Unsupported(),
}


_RE_ENCRYPT: Final[Shape] = {
    "CiphertextBlob": Blob(MAX_CIPHERTEXT, required=True),
    "SourceEncryptionContext": Context(),
    "SourceKeyId": OPTIONAL_KEY_ID,
    "SourceEncryptionAlgorithm": Enum(ENCRYPTION_ALGORITHMS),
    "DestinationKeyId": KEY_ID,
    "DestinationEncryptionContext": Context(),
    "DestinationEncryptionAlgorithm": Enum(ENCRYPTION_ALGORITHMS),
    "DryRun": Boolean(),
    "DryRunModifiers": Unsupported(),
}


class _Given(NamedTuple):
    """What a body says of a ciphertext: `kid` is that of a symmetric key, which it names itself."""

    algorithm: str
    encrypted: Encrypted
    kid: str | None
    key_id: str | None
    context: Mapping[str, str] | None

    @classmethod
    def of(cls, body: Body, prefix: str) -> Self:
        """What the members with a prefix say; raises InvalidCiphertextException."""
        algorithm = body.get(f"{prefix}EncryptionAlgorithm", SYMMETRIC_DEFAULT)
        key_id, data = body.get(f"{prefix}KeyId"), body["CiphertextBlob"]
        kid, encrypted = None, Encrypted(data)
        if algorithm == SYMMETRIC_DEFAULT:
            kid, encrypted = CiphertextBlob.from_bytes(data)
        elif key_id is None:
            raise AwsError(
                "ValidationException", f"{prefix}KeyId is required for algorithm {algorithm}."
            )
        return cls(algorithm, encrypted, kid, key_id, body.get(f"{prefix}EncryptionContext"))

    def source(self, of_kid: AwsKey | None, named: AwsKey | None, name: str) -> "_Source":
        """What decrypts it for AWS's operation `name`: its own key, or that of the call.

        Raises IncorrectKeyException where the call names another key than its own, and
        InvalidCiphertextException where its own is none that has encrypted it.
        """
        if self.kid is not None:
            if named is not None and self.kid not in _kids(named):
                raise AwsError(
                    "IncorrectKeyException",
                    "The key ID in the request does not identify a CMK that can perform this "
                    "operation.",
                )
            if of_kid is None or not _encrypts(of_kid) or of_kid.record.kid != self.kid:
                raise AwsError("InvalidCiphertextException")
        keys = [key for key in (of_kid, named) if key is not None]
        for each in keys:
            each.require_usable("decrypt")
        key, known = keys[0], keys[-1]
        key.require_usage(ENCRYPT_DECRYPT, name)
        decrypt = Decrypt(self.encrypted, _aad(key, self.algorithm, self.context))
        return _Source(self.algorithm, key, known.arn, decrypt)


class _Source(NamedTuple):
    """A ciphertext, what decrypts it, and the ARN of its key as the caller knows it."""

    algorithm: str
    key: AwsKey
    arn: str
    decrypt: Decrypt


@key_operation("Encrypt", "encrypt", _ENCRYPT, usage=ENCRYPT_DECRYPT, does="encrypt")
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


@operation("Decrypt", "decrypt", _DECRYPT)
async def decrypt(call: AwsCall, body: Body) -> Answer:
    """The plaintext of a ciphertext, which names its key if that is a symmetric one."""
    source = await _source(call, body, "", "Decrypt")
    refuse_dry_run(body)
    plaintext = await call.service.perform(call.profile, source.key.by_kid, source.decrypt)
    return _decrypted(source, plaintext)


@operation("ReEncrypt", "decrypt", _RE_ENCRYPT, also=("encrypt",))
async def re_encrypt(call: AwsCall, body: Body) -> Answer:
    """A ciphertext of another key, of the same plaintext, which is not given away."""
    source = await _source(call, body, "Source", "ReEncrypt")
    key = await call.key(body["DestinationKeyId"])
    key.require_usable("encrypt")
    key.require_usage(ENCRYPT_DECRYPT, "ReEncrypt")
    algorithm = body.get("DestinationEncryptionAlgorithm", SYMMETRIC_DEFAULT)
    aad = _aad(key, algorithm, body.get("DestinationEncryptionContext"))
    refuse_dry_run(body)
    plaintext = await call.service.perform(call.profile, source.key.by_kid, source.decrypt)
    keep_key()
    _require_short(key, algorithm, plaintext)
    encrypted = await call.service.perform(call.profile, key.by_kid, Encrypt(plaintext, aad))
    return {
        "CiphertextBlob": base64(blob_of(key, encrypted)),
        "SourceKeyId": source.arn,
        "KeyId": key.arn,
        "SourceEncryptionAlgorithm": source.algorithm,
        "DestinationEncryptionAlgorithm": algorithm,
        **material("SourceKeyMaterialId", source.key),
        **material("DestinationKeyMaterialId", key),
    }


def blob_of(key: AwsKey, encrypted: Encrypted) -> bytes:
    """A ciphertext as its callers get it: with its key, if that is a symmetric one."""
    if encrypted.nonce is None:
        return encrypted.ciphertext
    return CiphertextBlob(key.record.kid, encrypted).to_bytes()


def material(member: str, key: AwsKey) -> dict[str, str]:
    """The id of the material of a symmetric key, as a member of an answer."""
    return {member: key.material_id} if key.spec.name == SYMMETRIC_DEFAULT else {}


async def _source(call: AwsCall, body: Body, prefix: str, name: str) -> _Source:
    """The ciphertext that the members of a body with a prefix are of."""
    given, of_kid = _Given.of(body, prefix), None
    named = None if given.key_id is None else await call.key(given.key_id)
    if given.kid is not None:
        of_kid = await call.find(KeyRef(kid=given.kid))
    return given.source(of_kid, named, name)


def _decrypted(source: _Source, plaintext: bytes) -> Answer:
    return {
        "KeyId": source.arn,
        "Plaintext": base64(plaintext),
        "EncryptionAlgorithm": source.algorithm,
        **material("KeyMaterialId", source.key),
    }


def _encrypts(key: AwsKey) -> bool:
    return key.usage == ENCRYPT_DECRYPT and key.spec.name == SYMMETRIC_DEFAULT


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
        raise AwsError(
            "ValidationException", f"EncryptionContext is not valid for algorithm {algorithm}."
        )
    return None


def _require_short(key: AwsKey, algorithm: str, plaintext: bytes) -> None:
    if len(plaintext) > key.spec.most:
        raise AwsError(
            "ValidationException",
            f"Algorithm {algorithm} and key spec {key.spec.name} cannot encrypt data larger than "
            f"{key.spec.most} bytes.",
        )


OPERATIONS: Final = (
    encrypt,
    decrypt,
    re_encrypt,
)
