"""Cursors: the place where a page of a search ended, encrypted for the caller."""

import secrets
from typing import Final, NamedTuple

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from minikms.audit.query import LATEST
from minikms.audit.searched_files import Identity, SearchedFile
from minikms.encodings import b64url_decode, jose_b64url
from minikms.errors import ValidationFailed

_NONCE_LENGTH: Final = 12


class Cursor(NamedTuple):
    """The place of a search.

    `ends` are the offsets in files that it has begun; other files are still to be searched if their
    `key` is at most `before`.
    """

    before: tuple[str, Identity]
    ends: dict[Identity, int]

    def end_of(self, file: SearchedFile) -> int:
        """Return the end of the unsearched part of a file; 0 if all of it has been searched."""
        if file.identity in self.ends:
            return min(self.ends[file.identity], file.size)
        return file.size if file.key <= self.before else 0


BEGINNING: Final = Cursor((LATEST, (0, 0)), {})
"""The cursor of a search that has read nothing yet."""


class CursorSeal:
    """Encrypts cursors by AES-GCM under a key that the processes of a service share.

    A cursor has offsets in files, from which a tenant could count the calls of others.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, cursor: Cursor) -> str:
        """Encrypt a cursor, as base64url."""
        nonce = secrets.token_bytes(_NONCE_LENGTH)
        plain = orjson.dumps([cursor.before, *cursor.ends.items()])
        return jose_b64url(nonce + self._cipher.encrypt(nonce, plain, None))

    def open(self, text: str) -> Cursor:
        """Decrypt a cursor; raises ValidationFailed."""
        try:
            sealed = b64url_decode(text)
            nonce, encrypted = sealed[:_NONCE_LENGTH], sealed[_NONCE_LENGTH:]
            plain = self._cipher.decrypt(nonce, encrypted, None)
        except (ValueError, InvalidTag):
            fault = "#/after", "The cursor did not come from a page of this service."
            raise ValidationFailed(errors=[fault]) from None
        (time, identity), *ends = orjson.loads(plain)
        return Cursor((time, tuple(identity)), {tuple(file): end for file, end in ends})
