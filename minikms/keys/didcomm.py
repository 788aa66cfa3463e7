"""DIDComm v1 messages (Aries RFC 0019): packed for Ed25519 keys, which act as X25519, and unpacked.

The envelope alone: no connections, no protocols, no transport.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from minikms.encodings import b58
from minikms.errors import DecryptionFailed, InvalidKey, UnsupportedOperation
from minikms.keys.boxes import AnyBox
from minikms.keys.didcomm_envelope import (
    ANONCRYPT,
    AUTHCRYPT,
    VERKEY_TYPE,
    Envelope,
    Packed,
    Recipient,
    Verkey,
    write_protected,
)
from minikms.keys.operation import Operation, UsableKey, Use
from minikms.plugin.protocol import Box, Boxed

# For more recipients than these a message is packed in a thread.
_FEW: Final = 2
_KEY_SIZE: Final = sodium.crypto_aead_chacha20poly1305_ietf_KEYBYTES
_NONCE_SIZE: Final = sodium.crypto_aead_chacha20poly1305_ietf_NPUBBYTES
_TAG_SIZE: Final = sodium.crypto_aead_chacha20poly1305_ietf_ABYTES


class Unpacked(NamedTuple):
    """A message, the verkeys that it came to and from, and the kid of the key that opened it.

    `sender` is None where the message does not say who sent it.
    """

    message: bytes
    to: str
    sender: str | None
    kid: str


@dataclass(slots=True, repr=False)
class PackFrom(Operation[AnyBox, Envelope]):
    """An envelope to all of `to` that says who sent it (Authcrypt); raises InvalidKey."""

    uses = (Use(Box, "box"),)
    to: Sequence[Verkey]
    message: bytes

    @property
    def is_long(self) -> bool:
        return len(self.to) > _FEW

    def compute(self, key: UsableKey[AnyBox]) -> Envelope:
        algorithm = key.algorithm
        if not algorithm.owns_jwk(VERKEY_TYPE):
            raise UnsupportedOperation("Such a message is from an Ed25519 key.")
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
    """An envelope to all of `to` that does not say who sent it (Anoncrypt); raises InvalidKey.

    Its key is the JWK of the first of them, whose algorithm all have.
    """

    uses = (Use(Box, "box", is_public=True),)
    to: Sequence[Verkey]
    message: bytes

    @property
    def is_long(self) -> bool:
        return len(self.to) > _FEW

    def load_public(self, algorithm: AnyBox, jwk: Mapping[str, Any]) -> None:
        """Nothing: `compute` reads the keys of all."""

    def compute(self, key: UsableKey[AnyBox]) -> Envelope:
        algorithm, cek = key.algorithm, sodium.randombytes(_KEY_SIZE)
        recipients = [
            Recipient(verkey, algorithm.seal(algorithm.load_box_peer(verkey.jwk), cek))
            for verkey in self.to
        ]
        return _seal(ANONCRYPT, recipients, cek, self.message)


@dataclass(slots=True, repr=False)
class Unpack(Operation[AnyBox, Unpacked]):
    """What is in an envelope, of which the key is a recipient; raises DecryptionFailed."""

    uses = (Use(Box, "box-open"),)
    packed: Packed

    def compute(self, key: UsableKey[AnyBox]) -> Unpacked:
        recipient, sender = self.packed.protected.recipients[key.kid], None
        if recipient.sender is None:
            cek = key.algorithm.open_sealed(key.material, recipient.encrypted_key)
        else:
            sender = _read_sender(key.algorithm.open_sealed(key.material, recipient.sender))
            cek = _open_from(key, sender, recipient)
        came_from = None if sender is None else sender.text
        return Unpacked(_decrypt(self.packed, cek), recipient.verkey.text, came_from, key.kid)


def _read_sender(text: bytes) -> Verkey:
    """The verkey in a recipient's `sender`; raises DecryptionFailed."""
    try:
        return Verkey.parse(text.decode("ascii"))
    except ValueError:
        raise DecryptionFailed from None


def _open_from(key: UsableKey[AnyBox], sender: Verkey, recipient: Recipient) -> bytes:
    """The content key that a sender has encrypted; raises DecryptionFailed."""
    try:
        peer = key.algorithm.load_box_peer(sender.jwk)
    except InvalidKey:
        raise DecryptionFailed from None
    boxed = Boxed(recipient.encrypted_key, recipient.iv or b"")
    return key.algorithm.open_box(key.material, peer, boxed)


def _seal(alg: str, recipients: Sequence[Recipient], cek: bytes, message: bytes) -> Envelope:
    """A message in its envelope, encrypted with the content key that the recipients have."""
    protected = write_protected(alg, recipients)
    iv = sodium.randombytes(_NONCE_SIZE)
    encrypt = sodium.crypto_aead_chacha20poly1305_ietf_encrypt
    sealed = encrypt(message, protected.encode(), iv, cek)
    return Envelope(protected, iv, sealed[:-_TAG_SIZE], sealed[-_TAG_SIZE:])


def _decrypt(packed: Packed, cek: bytes) -> bytes:
    """The message of an envelope; raises DecryptionFailed."""
    if len(packed.tag) != _TAG_SIZE:
        raise DecryptionFailed
    decrypt = sodium.crypto_aead_chacha20poly1305_ietf_decrypt
    sealed, aad = packed.ciphertext + packed.tag, packed.protected.text.encode()
    try:
        return decrypt(sealed, aad, packed.iv, cek)
    except CryptoError:  # of a nonce or a key of a wrong length, too
        raise DecryptionFailed from None
