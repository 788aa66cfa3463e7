"""Secret keys: authenticated encryption, key wrap and HMAC (RFC 7518, RFC 8439)."""

import secrets
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aries_askar import AskarError
from aries_askar import Key as AskarKey
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hmac import HMAC

from minikms.algorithms.octets import (
    MAX_SECRET,
    BytesAlgorithm,
    OctAlgorithm,
    SecretBytes,
    SizedSecret,
)
from minikms.plugin import (
    Aead,
    AskarKeyAlgorithm,
    BytesStored,
    DecryptionFailed,
    InvalidKey,
    KeyWrap,
    Mac,
    Sealed,
)


@dataclass(frozen=True, slots=True)
class AeadKey:
    """A secret, which `repr` does not show, and the cipher made from it."""

    secret: bytes = field(repr=False)
    cipher: AESGCM | ChaCha20Poly1305 = field(repr=False)


class OpensslAead(OctAlgorithm[AeadKey], Aead[AeadKey]):
    """Authenticated encryption by OpenSSL (pyca/cryptography): Askar takes 20 times as long."""

    size: ClassVar[int]
    cipher: ClassVar[type[AESGCM | ChaCha20Poly1305]]
    nonce_size, tag_size = 12, 16

    def memory_of(self, key: Any) -> int:
        return 2_700

    def generate(self) -> AeadKey:
        return self.import_secret(secrets.token_bytes(self.size))

    def import_secret(self, secret: bytes) -> AeadKey:
        if len(secret) != self.size:
            raise InvalidKey(f"A {self.name} key must have {self.size} bytes.")
        return AeadKey(secret, self.cipher(secret))

    def secret_bytes(self, key: AeadKey) -> bytes:
        return key.secret

    def encrypt(self, key: AeadKey, plaintext: bytes, aad: bytes) -> Sealed:
        nonce = secrets.token_bytes(self.nonce_size)
        whole = key.cipher.encrypt(nonce, plaintext, aad)
        return Sealed(whole[: -self.tag_size], nonce, whole[-self.tag_size :])

    def decrypt(self, key: AeadKey, sealed: Sealed, aad: bytes) -> bytes:
        # The library joins ciphertext and tag, so bytes could move between them unnoticed.
        if len(sealed.nonce) != self.nonce_size or len(sealed.tag) != self.tag_size:
            raise DecryptionFailed()
        try:
            return key.cipher.decrypt(sealed.nonce, sealed.ciphertext + sealed.tag, aad)
        except InvalidTag:
            raise DecryptionFailed() from None


class A128Gcm(OpensslAead, BytesStored[AeadKey]):
    """AES-GCM with a 128-bit key (RFC 7518 section 5.3)."""

    name, size, cipher = "a128gcm", 16, AESGCM
    aliases = ("aes128gcm",)
    jose_algs = ("A128GCM",)


class A256Gcm(OpensslAead, BytesStored[AeadKey]):
    """AES-GCM with a 256-bit key (RFC 7518 section 5.3)."""

    name, size, cipher = "a256gcm", 32, AESGCM
    aliases = ("aes256gcm",)
    jose_algs = ("A256GCM",)


class C20P(OpensslAead, BytesStored[AeadKey]):
    """ChaCha20-Poly1305 (RFC 8439 section 2.8)."""

    name, size, cipher = "c20p", 32, ChaCha20Poly1305
    aliases = ("chacha20poly1305",)
    jose_algs = ("C20P",)


class AskarAead(OctAlgorithm[AskarKey], AskarKeyAlgorithm, Aead[AskarKey]):
    """Authenticated encryption by Askar, with nonces and tags of a fixed length in bytes."""

    size: ClassVar[int]
    nonce_size: ClassVar[int]
    tag_size: ClassVar[int] = 16

    def secret_bytes(self, key: AskarKey) -> bytes:
        return key.get_secret_bytes()

    def import_secret(self, secret: bytes) -> AskarKey:
        if len(secret) != self.size:
            raise InvalidKey(f"A {self.name} key must have {self.size} bytes.")
        return AskarKey.from_secret_bytes(self.askar_name, secret)

    def encrypt(self, key: AskarKey, plaintext: bytes, aad: bytes) -> Sealed:
        sealed = key.aead_encrypt(plaintext, nonce=key.aead_random_nonce(), aad=aad)
        ciphertext, tag, nonce = sealed.parts
        return Sealed(ciphertext, nonce, tag)

    def decrypt(self, key: AskarKey, sealed: Sealed, aad: bytes) -> bytes:
        # Askar joins ciphertext and tag, as above.
        if len(sealed.nonce) != self.nonce_size or len(sealed.tag) != self.tag_size:
            raise DecryptionFailed()
        try:
            plaintext: bytes = key.aead_decrypt(
                sealed.ciphertext, nonce=sealed.nonce, tag=sealed.tag, aad=aad
            )
        except AskarError:
            raise DecryptionFailed() from None
        return plaintext


class A128CbcHs256(AskarAead):
    """AES-CBC with HMAC SHA-256 (RFC 7518 section 5.2.3): a 256-bit key."""

    name, size, nonce_size = "a128cbchs256", 32, 16
    jose_algs = ("A128CBC-HS256",)


class A256CbcHs512(AskarAead):
    """AES-CBC with HMAC SHA-512 (RFC 7518 section 5.2.5): a 512-bit key, a 256-bit tag."""

    name, size, nonce_size, tag_size = "a256cbchs512", 64, 16, 32
    jose_algs = ("A256CBC-HS512",)


class XC20P(AskarAead):
    """XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha section 2): a nonce of 24 bytes."""

    name, size, nonce_size = "xc20p", 32, 24
    aliases = ("xchacha20poly1305",)
    jose_algs = ("XC20P",)


class AesKeyWrap(SizedSecret, KeyWrap[SecretBytes]):
    """AES key wrap (RFC 3394), with padding if 8 does not divide the length (RFC 5649).

    pyca/cryptography wraps bytes; Askar wraps Askar keys alone.
    """

    def wrap(self, key: SecretBytes, secret: bytes) -> bytes:
        if len(secret) < 16:
            raise InvalidKey("A key to wrap must have at least 16 bytes.")
        wrap = keywrap.aes_key_wrap_with_padding if len(secret) % 8 else keywrap.aes_key_wrap
        return wrap(key.secret, secret)

    def unwrap(self, key: SecretBytes, wrapped: bytes) -> bytes:
        # The two forms have different integrity check values, so at most one accepts.
        for unwrap in (keywrap.aes_key_unwrap, keywrap.aes_key_unwrap_with_padding):
            try:
                return unwrap(key.secret, wrapped)
            except keywrap.InvalidUnwrap:
                continue
        raise DecryptionFailed()


class A128Kw(AesKeyWrap, BytesStored[SecretBytes]):
    """AES key wrap with a 128-bit key."""

    name, size = "a128kw", 16
    aliases = ("aes128kw",)
    jose_algs = ("A128KW",)


class A256Kw(AesKeyWrap, BytesStored[SecretBytes]):
    """AES key wrap with a 256-bit key."""

    name, size = "a256kw", 32
    aliases = ("aes256kw",)
    jose_algs = ("A256KW",)


class Hmac(BytesAlgorithm, Mac[SecretBytes]):
    """HMAC (RFC 2104, RFC 7518 section 3.2) with a secret of `size` bytes or more."""

    hash: ClassVar[hashes.HashAlgorithm]

    def import_secret(self, secret: bytes) -> SecretBytes:
        if len(secret) < self.size:
            raise InvalidKey(f"A {self.name} secret must have at least {self.size} bytes.")
        if len(secret) > MAX_SECRET:
            raise InvalidKey(f"A {self.name} secret must have at most {MAX_SECRET} bytes.")
        return SecretBytes(secret)

    def mac(self, key: SecretBytes, message: bytes) -> bytes:
        return self._over(key, message).finalize()

    def verify_mac(self, key: SecretBytes, message: bytes, mac: bytes) -> bool:
        try:
            self._over(key, message).verify(mac)
        except InvalidSignature:
            return False
        return True

    def hmac_secret(self, key: SecretBytes) -> bytes:
        return key.secret

    def _over(self, key: SecretBytes, message: bytes) -> HMAC:
        code = HMAC(key.secret, self.hash)
        code.update(message)
        return code


class Hs256(Hmac):
    """HMAC with SHA-256: a secret of 32 bytes or more."""

    name, size, hash = "hs256", 32, hashes.SHA256()
    jose_algs = ("HS256",)


class Hs384(Hmac):
    """HMAC with SHA-384: a secret of 48 bytes or more."""

    name, size, hash = "hs384", 48, hashes.SHA384()
    jose_algs = ("HS384",)


class Hs512(Hmac):
    """HMAC with SHA-512: a secret of 64 bytes or more."""

    name, size, hash = "hs512", 64, hashes.SHA512()
    jose_algs = ("HS512",)
