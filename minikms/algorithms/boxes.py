"""NaCl's boxes (https://nacl.cr.yp.to/box.html) by libsodium: X25519, XSalsa20 and Poly1305."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

from minikms.plugin import Box, Boxed, DecryptionFailed

KeyT = TypeVar("KeyT")
PublicT = TypeVar("PublicT")


class NaclBox(Box[KeyT, PublicT]):
    """Boxes between X25519 keys, and keys that act as X25519 keys.

    A peer is 32 bytes, the public key on curve25519. A box is Poly1305's tag, then the ciphertext.
    """

    @abstractmethod
    def x25519_pair(self, key: KeyT) -> tuple[bytes, bytes]:
        """The secret and the public key on curve25519, 32 bytes each."""

    @abstractmethod
    def load_box_peer(self, jwk: Mapping[str, Any]) -> bytes: ...

    def box(self, key: KeyT, peer: bytes, plaintext: bytes) -> Boxed:
        secret, _ = self.x25519_pair(key)
        nonce = sodium.randombytes(sodium.crypto_box_NONCEBYTES)
        return Boxed(sodium.crypto_box(plaintext, nonce, peer, secret), nonce)

    def open_box(self, key: KeyT, peer: bytes, boxed: Boxed) -> bytes:
        secret, _ = self.x25519_pair(key)
        try:
            return sodium.crypto_box_open(boxed.ciphertext, boxed.nonce, peer, secret)
        except CryptoError:  # also for a wrong length
            raise DecryptionFailed from None

    def seal(self, peer: bytes, plaintext: bytes) -> bytes:
        return sodium.crypto_box_seal(plaintext, peer)

    def open_sealed(self, key: KeyT, ciphertext: bytes) -> bytes:
        secret, public = self.x25519_pair(key)
        try:
            return sodium.crypto_box_seal_open(ciphertext, public, secret)
        except CryptoError:  # also raised for a wrong length or a point of low order
            raise DecryptionFailed from None
