"""Ciphertext blobs, which name their key, and the encryption context that is bound to them."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

from minikms.doors.aws.errors import InvalidCiphertextException, ValidationException
from minikms.doors.operations import Encrypted

_VERSION: Final = 1
_NONCE: Final = 12
_TAG: Final = 16
_KID: Final = re.compile(rb"[A-Za-z0-9_-]{1,128}")
_MAX_CONTEXT: Final = 8192
# Of a text of a context there: the bytes of its length.
_LENGTH: Final = 4


class Blob(NamedTuple):
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
            raise InvalidCiphertextException()
        at = 2 + data[1]
        kid, nonce, tag = data[2:at], data[at : at + _NONCE], data[at + _NONCE :][:_TAG]
        if not _KID.fullmatch(kid) or len(tag) != _TAG:
            raise InvalidCiphertextException()
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
    raise ValidationException("EncryptionContext is too long.")
