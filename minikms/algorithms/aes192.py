"""AES with keys of 192 bits, which Askar does not have (RFC 7518 sections 4.4, 5.2.4 and 5.3)."""

import secrets
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.errors import JoseError
from joserfc.jwe import JWERegistry

from minikms.algorithms.octets import BytesAlgorithm, SecretBytes
from minikms.algorithms.symmetric import AeadKey, AesKeyWrap, OpensslAead
from minikms.plugin import Aead, BytesStored, DecryptionFailed, Sealed

_CBC_HS384: Final = JWERegistry(algorithms=["A192CBC-HS384"]).get_enc("A192CBC-HS384")


class A192Gcm(OpensslAead, BytesStored[AeadKey]):
    """AES-GCM with a 192-bit key (RFC 7518 section 5.3)."""

    name, size, cipher = "a192gcm", 24, AESGCM
    aliases = ("aes192gcm",)
    jose_algs = ("A192GCM",)


class A192CbcHs384(BytesAlgorithm, Aead[SecretBytes]):
    """AES-CBC with HMAC SHA-384 (RFC 7518 section 5.2.4): a 384-bit key, a 192-bit tag."""

    name, size, nonce_size, tag_size = "a192cbchs384", 48, 16, 24
    jose_algs = ("A192CBC-HS384",)

    def encrypt(self, key: SecretBytes, plaintext: bytes, aad: bytes) -> Sealed:
        nonce = secrets.token_bytes(self.nonce_size)
        ciphertext, tag = _CBC_HS384.encrypt(plaintext, key.secret, nonce, aad)
        return Sealed(ciphertext, nonce, tag)

    def decrypt(self, key: SecretBytes, sealed: Sealed, aad: bytes) -> bytes:
        ciphertext, nonce, tag = sealed
        if len(nonce) != self.nonce_size or len(tag) != self.tag_size:
            raise DecryptionFailed()
        try:
            # The tag is compared before anything is decrypted, in constant time.
            return _CBC_HS384.decrypt(ciphertext, tag, key.secret, nonce, aad)
        except (JoseError, ValueError):
            # ValueError: malformed blocks or padding under a correct tag.
            raise DecryptionFailed() from None


class A192Kw(AesKeyWrap, BytesStored[SecretBytes]):
    """AES key wrap with a 192-bit key."""

    name, size = "a192kw", 24
    aliases = ("aes192kw",)
    jose_algs = ("A192KW",)
