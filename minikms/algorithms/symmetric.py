"""Askar's symmetric algorithms: authenticated encryption and key wrap (RFC 7518, RFC 8439)."""

from typing import Any, ClassVar

from aries_askar import AskarError
from aries_askar import Key as AskarKey
from cryptography.hazmat.primitives import keywrap

from minikms.plugin import (
    Aead,
    AskarKeyAlgorithm,
    DecryptionFailed,
    InvalidKey,
    KeyWrap,
    Sealed,
    SecretImporter,
)


class AskarSecret(AskarKeyAlgorithm, SecretImporter):
    """A secret key of Askar's, of a fixed number of bytes."""

    kty = "oct"
    size: ClassVar[int]

    def import_secret(self, secret: bytes) -> Any:
        if len(secret) != self.size:
            raise InvalidKey(f"A {self.name} key must have {self.size} bytes.")
        return AskarKey.from_secret_bytes(self.name, secret)


class AskarAead(AskarSecret, Aead):
    """Authenticated encryption in Askar; lengths of nonce and tag are the algorithm's own."""

    nonce_size: ClassVar[int]
    tag_size: ClassVar[int] = 16

    def encrypt(self, key: Any, plaintext: bytes, aad: bytes) -> Sealed:
        sealed = key.aead_encrypt(plaintext, nonce=key.aead_random_nonce(), aad=aad)
        ciphertext, tag, nonce = sealed.parts
        return Sealed(ciphertext, nonce, tag)

    def decrypt(self, key: Any, sealed: Sealed, aad: bytes) -> bytes:
        # Askar joins ciphertext and tag: with the lengths unchecked, bytes could move between them.
        if len(sealed.nonce) != self.nonce_size or len(sealed.tag) != self.tag_size:
            raise DecryptionFailed()
        try:
            plaintext: bytes = key.aead_decrypt(
                sealed.ciphertext, nonce=sealed.nonce, tag=sealed.tag, aad=aad
            )
        except AskarError:
            raise DecryptionFailed() from None
        return plaintext


class A128Gcm(AskarAead):
    """AES-GCM with a 128-bit key (RFC 7518 section 5.3)."""

    name, size, nonce_size = "a128gcm", 16, 12
    aliases = ("aes128gcm",)
    jose_algs = ("A128GCM",)


class A256Gcm(AskarAead):
    """AES-GCM with a 256-bit key (RFC 7518 section 5.3)."""

    name, size, nonce_size = "a256gcm", 32, 12
    aliases = ("aes256gcm",)
    jose_algs = ("A256GCM",)


class A128CbcHs256(AskarAead):
    """AES-CBC with HMAC SHA-256 (RFC 7518 section 5.2.3): a 256-bit key."""

    name, size, nonce_size = "a128cbchs256", 32, 16
    jose_algs = ("A128CBC-HS256",)


class A256CbcHs512(AskarAead):
    """AES-CBC with HMAC SHA-512 (RFC 7518 section 5.2.5): a 512-bit key, a 256-bit tag."""

    name, size, nonce_size, tag_size = "a256cbchs512", 64, 16, 32
    jose_algs = ("A256CBC-HS512",)


class C20P(AskarAead):
    """ChaCha20-Poly1305 (RFC 8439 section 2.8)."""

    name, size, nonce_size = "c20p", 32, 12
    aliases = ("chacha20poly1305",)
    jose_algs = ("C20P",)


class XC20P(AskarAead):
    """XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha section 2): a nonce of 24 bytes."""

    name, size, nonce_size = "xc20p", 32, 24
    aliases = ("xchacha20poly1305",)
    jose_algs = ("XC20P",)


class AesKeyWrap(AskarSecret, KeyWrap):
    """AES key wrap (RFC 3394), and with padding where the length asks for it (RFC 5649).

    By pyca/cryptography: Askar wraps Askar keys, not bytes.
    """

    def wrap(self, key: Any, secret: bytes) -> bytes:
        if len(secret) < 16:
            raise InvalidKey("A key to wrap must have at least 16 bytes.")
        wrap = keywrap.aes_key_wrap_with_padding if len(secret) % 8 else keywrap.aes_key_wrap
        return wrap(key.get_secret_bytes(), secret)

    def unwrap(self, key: Any, wrapped: bytes) -> bytes:
        # Each form has an integrity value of its own, so at most one of the two accepts.
        kek = key.get_secret_bytes()
        for unwrap in (keywrap.aes_key_unwrap, keywrap.aes_key_unwrap_with_padding):
            try:
                return unwrap(kek, wrapped)
            except keywrap.InvalidUnwrap:
                continue
        raise DecryptionFailed()


class A128Kw(AesKeyWrap):
    """AES key wrap with a 128-bit key."""

    name, size = "a128kw", 16
    aliases = ("aes128kw",)
    jose_algs = ("A128KW",)


class A256Kw(AesKeyWrap):
    """AES key wrap with a 256-bit key."""

    name, size = "a256kw", 32
    aliases = ("aes256kw",)
    jose_algs = ("A256KW",)
