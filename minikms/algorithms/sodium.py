"""Keys of Ed25519 in libsodium."""

import logging
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, starmap
from typing import Any, Final, Self

import nacl
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from nacl import bindings as sodium
from nacl.exceptions import BadSignatureError

from minikms.basics.private_names import PrivateNames

SIZE: Final = sodium.crypto_sign_BYTES  # of a signature

LOGGER = logging.getLogger(__name__)

PRIVATE_NAMES: Final = PrivateNames(
    "pynacl",
    ((nacl, "_sodium", "signs many messages without the interpreter in between"),),
    without="batches of Ed25519 signatures take longer",
)


class SodiumPublicKey:
    """An Ed25519 public key in libsodium, which verifies in 0.65 of the time that OpenSSL takes.

    It has the methods of pyca/cryptography's keys.
    """

    __slots__ = ("_point",)

    def __init__(self, point: bytes) -> None:
        self._point = point

    @classmethod
    def from_public_bytes(cls, data: bytes) -> Self:
        return cls(data)

    def public_bytes_raw(self) -> bytes:
        return self._point

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise InvalidSignature unless it is a signature over this message."""
        if len(signature) != SIZE:  # libsodium takes signature and message joined
            raise InvalidSignature
        try:
            sodium.crypto_sign_open(signature + message, self._point)
        except BadSignatureError:
            raise InvalidSignature from None


class SodiumKey:
    """An Ed25519 private key in libsodium, which signs in 0.6 of the time that OpenSSL takes.

    It has the methods of pyca/cryptography's keys. PyNaCl's `SigningKey` prints its seed.
    """

    __slots__ = ("_pair", "_x25519")

    def __init__(self, pair: bytes) -> None:
        """`pair` is libsodium's form: the secret and the public key, 32 bytes each."""
        self._pair = pair
        self._x25519: X25519PrivateKey | None = None

    @classmethod
    def generate(cls) -> Self:
        return cls(sodium.crypto_sign_keypair()[1])

    @classmethod
    def from_private_bytes(cls, secret: bytes) -> Self:
        return cls(sodium.crypto_sign_seed_keypair(secret)[1])

    def private_bytes_raw(self) -> bytes:
        return self._pair[:32]

    def public_key(self) -> SodiumPublicKey:
        return SodiumPublicKey(self._pair[32:])

    def sign(self, message: bytes) -> bytes:
        return sodium.crypto_sign(message, self._pair)[:SIZE]

    def sign_many(self, messages: Sequence[bytes]) -> list[bytes]:
        """Sign each message.

        libsodium works without the interpreter lock. Waiting for the lock between two signatures
        takes longer than a signature, so Python takes it as rarely as possible.
        """
        library = _library()
        if library is None:
            return [self.sign(message) for message in messages]
        # Each signed message has its own place in the buffer: the signature, then the message.
        places = list(accumulate([SIZE + len(message) for message in messages], initial=0))
        out = library.ffi.new("unsigned char[]", places.pop())
        calls = [
            (out + place, library.ffi.NULL, message, len(message), self._pair)
            for place, message in zip(places, messages, strict=True)
        ]
        if any(starmap(library.lib.crypto_sign, calls)):
            raise RuntimeError("libsodium did not sign")
        signed = library.ffi.buffer(out)
        return [signed[place : place + SIZE] for place in places]

    @property
    def x25519(self) -> X25519PrivateKey:
        """The X25519 key (RFC 7748 section 4.1): the scalar that it signs with."""
        if self._x25519 is None:
            secret = sodium.crypto_sign_ed25519_sk_to_curve25519(self._pair)
            self._x25519 = X25519PrivateKey.from_private_bytes(secret)
        return self._x25519


@cache
def _library() -> Any:
    """Return PyNaCl's module of libsodium; None if PyNaCl lacks it."""
    if lost := PRIVATE_NAMES.missing():
        LOGGER.warning("%s: %s", lost, PRIVATE_NAMES.without)
        return None
    return nacl._sodium
