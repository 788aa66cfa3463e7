"""Encryption: Encrypt, Decrypt and ReEncrypt, and the ciphertext blobs that name their key."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from minikms.doors import KeyRef, keep_key
from minikms.doors.operations import Decrypt, Encrypt, Encrypted
from minikms_aws.body import (
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
from minikms_aws.errors import AwsError, invalid
from minikms_aws.operation import Answer, AwsCall, AwsKey, operation
from minikms_aws.specs import (
    ENCRYPT_DECRYPT,
    ENCRYPTION_ALGORITHMS,
    MAX_CIPHERTEXT,
    MAX_PLAINTEXT,
    SYMMETRIC_DEFAULT,
)

_VERSION: Final = 1
_NONCE: Final = 12
_TAG: Final = 16
_KID: Final = re.compile(rb"[A-Za-z0-9_-]{1,128}")
_MAX_CONTEXT: Final = 8192
# The size in bytes of the length prefix of each name and value in an encryption context.
_LENGTH: Final = 4

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


@operation("Encrypt", "encrypt", _ENCRYPT)
async def encrypt(call: AwsCall, body: Body) -> Answer:
    """Encrypt a plaintext with a symmetric key, or to a public key."""
    key = await call.key_to_use(body["KeyId"], ENCRYPT_DECRYPT, "encrypt")
    algorithm = body.get("EncryptionAlgorithm", SYMMETRIC_DEFAULT)
    aad = _aad(key, algorithm, body.get("EncryptionContext"))
    _require_short(key, algorithm, body["Plaintext"])
    encrypted = await call.perform(key.by_kid, Encrypt(body["Plaintext"], aad))
    return {
        "CiphertextBlob": base64(blob_of(key, encrypted)),
        "KeyId": key.arn,
        "EncryptionAlgorithm": algorithm,
    }


@operation("Decrypt", "decrypt", _DECRYPT)
async def decrypt(call: AwsCall, body: Body) -> Answer:
    """Decrypt a ciphertext."""
    source = await _source(call, body, "")
    plaintext = await call.perform(source.key.by_kid, source.decrypt)
    return {
        "KeyId": source.arn,
        "Plaintext": base64(plaintext),
        "EncryptionAlgorithm": source.algorithm,
        **material("KeyMaterialId", source.key),
    }


@operation("ReEncrypt", "decrypt", _RE_ENCRYPT, also=("encrypt",))
async def re_encrypt(call: AwsCall, body: Body) -> Answer:
    """Decrypt a ciphertext, and encrypt its plaintext with another key, without disclosing it."""
    source = await _source(call, body, "Source")
    key = await call.key_to_use(body["DestinationKeyId"], ENCRYPT_DECRYPT, "encrypt")
    algorithm = body.get("DestinationEncryptionAlgorithm", SYMMETRIC_DEFAULT)
    aad = _aad(key, algorithm, body.get("DestinationEncryptionContext"))
    plaintext = await call.perform(source.key.by_kid, source.decrypt)
    keep_key()
    _require_short(key, algorithm, plaintext)
    encrypted = await call.perform(key.by_kid, Encrypt(plaintext, aad))
    return {
        "CiphertextBlob": base64(blob_of(key, encrypted)),
        "SourceKeyId": source.arn,
        "KeyId": key.arn,
        "SourceEncryptionAlgorithm": source.algorithm,
        "DestinationEncryptionAlgorithm": algorithm,
        **material("SourceKeyMaterialId", source.key),
        **material("DestinationKeyMaterialId", key),
    }


class _Source(NamedTuple):
    """A ciphertext and its key, with the key's ARN as the caller knows it."""

    algorithm: str
    key: AwsKey
    arn: str
    decrypt: Decrypt


async def _source(call: AwsCall, body: Body, prefix: str) -> _Source:
    """Find the key of a ciphertext; members of the body that name it begin with `prefix`.

    A symmetric ciphertext names its key. Raises IncorrectKeyException if the call names another
    key, and InvalidCiphertextException if the ciphertext's key does not exist, or is not a
    symmetric encryption key.
    """
    algorithm = body.get(f"{prefix}EncryptionAlgorithm", SYMMETRIC_DEFAULT)
    text, data = body.get(f"{prefix}KeyId"), body["CiphertextBlob"]
    if algorithm == SYMMETRIC_DEFAULT:
        kid, encrypted = CiphertextBlob.from_bytes(data)
        named = None if text is None else await call.key(text)
        found = await call.find(KeyRef(kid=kid))
        if named is not None and not await _has_been(call, named, kid):
            raise AwsError(
                "IncorrectKeyException",
                "The key ID in the request does not identify a CMK that can perform this "
                "operation.",
            )
        if found is None or (found.usage, found.spec.name) != (ENCRYPT_DECRYPT, SYMMETRIC_DEFAULT):
            raise AwsError("InvalidCiphertextException")
        key, known = found, named or found
    elif text is None:
        raise invalid(f"{prefix}KeyId is required for algorithm {algorithm}.")
    else:
        encrypted = Encrypted(data)
        key = known = await call.key(text)
    key.require_usable("decrypt")
    call.require_use(known, ENCRYPT_DECRYPT, "decrypt")
    aad = _aad(key, algorithm, body.get(f"{prefix}EncryptionContext"))
    return _Source(algorithm, key, known.arn, Decrypt(encrypted, aad))


async def _has_been(call: AwsCall, key: AwsKey, kid: str) -> bool:
    """Tell whether a kid belongs to a key or one of its predecessors."""
    if kid == key.record.kid:
        return True
    oldest = key.record.aliases[:1]  # most of the replaced keys had it
    return any([kid in await call.earlier(key, alias) for alias in oldest])


def _aad(key: AwsKey, algorithm: str, given: Mapping[str, str] | None) -> bytes | None:
    """Encode an encryption context as associated data; refuse one for an asymmetric key."""
    key.require_algorithm(algorithm)
    if algorithm == SYMMETRIC_DEFAULT:
        return aad_of(given)
    if given:
        raise invalid(f"EncryptionContext is not valid for algorithm {algorithm}.")
    return None


def _require_short(key: AwsKey, algorithm: str, plaintext: bytes) -> None:
    if len(plaintext) > key.spec.most:
        raise invalid(
            f"Algorithm {algorithm} and key spec {key.spec.name} cannot encrypt data larger than "
            f"{key.spec.most} bytes."
        )


class CiphertextBlob(NamedTuple):
    """A ciphertext of AES-GCM, and the kid of its key.

    Encoded as: the version and the length of the kid, one byte each, then the kid, the nonce, the
    tag and the ciphertext.
    """

    kid: str
    encrypted: Encrypted

    def to_bytes(self) -> bytes:
        ciphertext, nonce, tag = self.encrypted
        kid = self.kid.encode()
        return b"".join((bytes((_VERSION, len(kid))), kid, nonce or b"", tag or b"", ciphertext))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Parse a result of `to_bytes`; raises InvalidCiphertextException for other bytes."""
        if len(data) < 2 or data[0] != _VERSION:
            raise AwsError("InvalidCiphertextException")
        at = 2 + data[1]
        kid, nonce, tag = data[2:at], data[at : at + _NONCE], data[at + _NONCE :][:_TAG]
        if not _KID.fullmatch(kid) or len(tag) != _TAG:
            raise AwsError("InvalidCiphertextException")
        ciphertext = data[at + _NONCE + _TAG :]
        return cls(kid.decode(), Encrypted(ciphertext, nonce, tag))


def blob_of(key: AwsKey, encrypted: Encrypted) -> bytes:
    """Return a ciphertext as callers get it; a symmetric ciphertext names its key."""
    if encrypted.nonce is None:
        return encrypted.ciphertext
    return CiphertextBlob(key.record.kid, encrypted).to_bytes()


def aad_of(context: Mapping[str, str] | None) -> bytes:
    """Encode an encryption context as associated data; different contexts give different data.

    The pairs are sorted, each name and value in UTF-8 after its length in four bytes. Raises
    ValidationException for a context that is too long.
    """
    pairs = context or {}
    parts: list[bytes] = []
    if 2 * _LENGTH * len(pairs) <= _MAX_CONTEXT:  # too many pairs are not worth sorting
        for pair in sorted(pairs.items()):
            for text in pair:
                data = text.encode()
                parts += (len(data).to_bytes(_LENGTH, "big"), data)
        aad = b"".join(parts)
        if len(aad) <= _MAX_CONTEXT:
            return aad
    raise invalid("EncryptionContext is too long.")


def material(member: str, key: AwsKey) -> dict[str, str]:
    """Return `member` with the material id of a symmetric key; empty for another key."""
    return {member: key.material_id} if key.spec.name == SYMMETRIC_DEFAULT else {}
