"""Packs and unpacks DIDComm v1 messages (Aries RFC 0019), with Ed25519 keys used as X25519.

An envelope is a JWE in JSON whose header has the recipients. A verkey is an Ed25519 public key in
base58. DIDComm's connections, protocols and transport are not implemented.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

import base58
import orjson
from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from minikms.encodings import b58, jose_b64url, thumbprint
from minikms.errors import DecryptionFailed, InvalidKey, UnsupportedOperation
from minikms.keys.encryption import AnyBox
from minikms.keys.operation import Operation, UsableKey, Use
from minikms.plugin.protocol import Box, Boxed

AUTHCRYPT: Final = "Authcrypt"
ANONCRYPT: Final = "Anoncrypt"
# Aries RFC 0019 has this name for ChaCha20-Poly1305 (RFC 8439) with a nonce of 12 bytes.
ENC: Final = "xchacha20poly1305_ietf"
TYP: Final = "JWM/1.0"

VERKEY_PATTERN: Final = r"^[1-9A-HJ-NP-Za-km-z]{32,44}\Z"
# The members of a verkey's JWK besides `x` (RFC 8037 section 2).
VERKEY_TYPE: Final[Mapping[str, str]] = {"kty": "OKP", "crv": "Ed25519"}

_VERKEY: Final = re.compile(VERKEY_PATTERN)
_VERKEY_SIZE: Final = 32
# Messages with more recipients are packed in a thread.
_FEW: Final = 2
_KEY_SIZE: Final = sodium.crypto_aead_chacha20poly1305_ietf_KEYBYTES
_NONCE_SIZE: Final = sodium.crypto_aead_chacha20poly1305_ietf_NPUBBYTES
_TAG_SIZE: Final = sodium.crypto_aead_chacha20poly1305_ietf_ABYTES


@dataclass(frozen=True, slots=True)
class Verkey:
    """A verkey as base58 and as a JWK, and the kid of its key pair."""

    text: str
    jwk: Mapping[str, str]
    kid: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a verkey in base58; raises ValueError."""
        data = base58.b58decode(text) if _VERKEY.match(text) else b""
        if len(data) != _VERKEY_SIZE:
            raise ValueError("not 32 bytes in base58")
        jwk = {**VERKEY_TYPE, "x": jose_b64url(data)}
        return cls(text, jwk, thumbprint(jwk))


@dataclass(frozen=True, slots=True)
class Recipient:
    """The content key encrypted to one recipient; for Authcrypt also the sealed sender and a nonce.

    Anoncrypt has neither.
    """

    verkey: Verkey
    encrypted_key: bytes
    sender: bytes | None = None
    iv: bytes | None = None


class Envelope(NamedTuple):
    """An envelope, with its header as base64url."""

    protected: str
    iv: bytes
    ciphertext: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class Protected:
    """A header as it was received, which is authenticated, and its recipients by kid."""

    text: str
    recipients: Mapping[str, Recipient]


@dataclass(frozen=True, slots=True)
class Packed:
    """An envelope with its parsed header."""

    protected: Protected
    iv: bytes
    ciphertext: bytes
    tag: bytes


class Unpacked(NamedTuple):
    """A message with the verkeys of recipient and sender, and the kid of the recipient's key.

    `sender` is None for an anonymous message.
    """

    message: bytes
    to: str
    sender: str | None
    kid: str


@dataclass(slots=True, repr=False)
class PackFrom(Operation[AnyBox, Envelope]):
    """Packs a message to all of `to`, with the key as its sender (Authcrypt); raises InvalidKey."""

    uses = (Use(Box, "box"),)
    to: Sequence[Verkey]
    message: bytes
    is_slow: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_slow = len(self.to) > _FEW

    def compute(self, key: UsableKey[AnyBox]) -> Envelope:
        algorithm = key.algorithm
        if not algorithm.owns_jwk(VERKEY_TYPE):
            raise UnsupportedOperation("Only an Ed25519 key can send a DIDComm message.")
        sender = b58(algorithm.public_bytes(key.material)).encode()
        cek = sodium.randombytes(_KEY_SIZE)
        recipients = []
        for verkey in self.to:
            peer = algorithm.load_box_peer(verkey.jwk)
            boxed = algorithm.box(key.material, peer, cek)
            sealed = algorithm.seal(peer, sender)
            recipients.append(Recipient(verkey, boxed.ciphertext, sealed, boxed.nonce))
        return _seal(AUTHCRYPT, recipients, cek, self.message)


@dataclass(slots=True, repr=False)
class PackAnonymously(Operation[AnyBox, Envelope]):
    """Packs a message to all of `to` without a sender (Anoncrypt); raises InvalidKey.

    The key of the operation is the JWK of the first recipient; all recipients have its algorithm.
    """

    uses = (Use(Box, "box", is_public=True),)
    to: Sequence[Verkey]
    message: bytes
    is_slow: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_slow = len(self.to) > _FEW

    def load_public(self, algorithm: AnyBox, jwk: Mapping[str, Any]) -> None:
        """Do nothing, since `compute` loads the keys of all recipients."""

    def compute(self, key: UsableKey[AnyBox]) -> Envelope:
        algorithm, cek = key.algorithm, sodium.randombytes(_KEY_SIZE)
        recipients = [
            Recipient(verkey, algorithm.seal(algorithm.load_box_peer(verkey.jwk), cek))
            for verkey in self.to
        ]
        return _seal(ANONCRYPT, recipients, cek, self.message)


@dataclass(slots=True, repr=False)
class Unpack(Operation[AnyBox, Unpacked]):
    """Unpacks a message to the key; raises DecryptionFailed."""

    uses = (Use(Box, "box-open"),)
    packed: Packed

    def compute(self, key: UsableKey[AnyBox]) -> Unpacked:
        recipient, sender = self.packed.protected.recipients[key.kid], None
        if recipient.sender is None:
            cek = key.algorithm.open_sealed(key.material, recipient.encrypted_key)
        else:
            opened = key.algorithm.open_sealed(key.material, recipient.sender)
            try:
                sender = opened.decode("ascii")
                peer = _load_sender(key.algorithm, key.kid, sender)
            except (ValueError, InvalidKey):
                raise DecryptionFailed from None
            boxed = Boxed(recipient.encrypted_key, recipient.iv or b"")
            cek = key.algorithm.open_box(key.material, peer, boxed)
        return Unpacked(_decrypt(self.packed, cek), recipient.verkey.text, sender, key.kid)


# By kid, so that the time of a call does not show the senders of another tenant.
@lru_cache(maxsize=1024)
def _load_sender(algorithm: AnyBox, _kid: str, sender: str) -> Any:
    """Load the verkey of a sender to a key; raises ValueError and InvalidKey.

    It is cached, since checking a point of edwards25519 takes longer than a key agreement.
    """
    return algorithm.load_box_peer(Verkey.parse(sender).jwk)


def _seal(alg: str, recipients: Sequence[Recipient], cek: bytes, message: bytes) -> Envelope:
    """Encrypt a message with the content key, and put it into an envelope."""
    named = [_write_recipient(recipient) for recipient in recipients]
    header = {"enc": ENC, "typ": TYP, "alg": alg, "recipients": named}
    protected = jose_b64url(orjson.dumps(header))
    iv = sodium.randombytes(_NONCE_SIZE)
    encrypt = sodium.crypto_aead_chacha20poly1305_ietf_encrypt
    sealed = encrypt(message, protected.encode(), iv, cek)
    return Envelope(protected, iv, sealed[:-_TAG_SIZE], sealed[-_TAG_SIZE:])


def _decrypt(packed: Packed, cek: bytes) -> bytes:
    """Decrypt the message of an envelope; raises DecryptionFailed."""
    if len(packed.tag) != _TAG_SIZE:
        raise DecryptionFailed
    decrypt = sodium.crypto_aead_chacha20poly1305_ietf_decrypt
    sealed, aad = packed.ciphertext + packed.tag, packed.protected.text.encode()
    try:
        return decrypt(sealed, aad, packed.iv, cek)
    except CryptoError:  # also if a nonce or key has the wrong length
        raise DecryptionFailed from None


def _write_recipient(recipient: Recipient) -> dict[str, Any]:
    header = {"kid": recipient.verkey.text}
    if recipient.sender is not None and recipient.iv is not None:
        header |= {"sender": jose_b64url(recipient.sender), "iv": jose_b64url(recipient.iv)}
    return {"encrypted_key": jose_b64url(recipient.encrypted_key), "header": header}
