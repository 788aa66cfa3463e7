"""BIP-340 Schnorr signatures on secp256k1 for Mini KMS: 32-byte public keys, 64-byte signatures."""

import hashlib
from collections.abc import Mapping
from typing import Any

from coincurve import PrivateKey, PublicKeyXOnly

from minikms.plugin import (
    InvalidKey,
    JwkImporter,
    SecretImporter,
    SignatureOptions,
    Signer,
    Stored,
    ValidationFailed,
    jose_b64url,
    jwk_bytes,
    require_jwk_type,
)

FORMAT = b"\x01"


class Bip340(
    Signer[PrivateKey, PublicKeyXOnly], JwkImporter[PrivateKey], SecretImporter[PrivateKey]
):
    """Signs the SHA-256 digest of a message, or a digest that is given, which is then BIP-340's m.

    The public key is an x coordinate alone, so its JWK is an octet key pair. JOSE has no name for
    these signatures.
    """

    name, kty, crv = "bip340", "OKP", "BIP340"
    aliases = ("secp256k1-schnorr",)
    signing_algs = ()

    def generate(self) -> PrivateKey:
        return PrivateKey()

    def pack(self, key: PrivateKey) -> Stored:
        return FORMAT + key.secret

    def unpack(self, stored: Stored) -> PrivateKey:
        if not isinstance(stored, bytes) or stored[:1] != FORMAT:
            raise ValueError("a key of a later version of minikms-bip340")
        return PrivateKey(stored[1:])

    def public_bytes(self, key: PrivateKey | PublicKeyXOnly) -> bytes:
        public = key.public_key_xonly if isinstance(key, PrivateKey) else key
        return public.format()

    def public_jwk(self, key: PrivateKey | PublicKeyXOnly) -> dict[str, str]:
        return {"kty": self.kty, "crv": self.crv, "x": jose_b64url(self.public_bytes(key))}

    def load_public(self, jwk: Mapping[str, Any]) -> PublicKeyXOnly:
        require_jwk_type(jwk, self.kty, self.crv)
        try:
            return PublicKeyXOnly(jwk_bytes(jwk, "x", 32))
        except ValueError:
            raise InvalidKey("The JWK member 'x' is that of no point on the curve.") from None

    def import_secret(self, secret: bytes) -> PrivateKey:
        if len(secret) != 32:
            raise InvalidKey("A bip340 secret must have 32 bytes.")
        try:
            return PrivateKey(secret)
        except ValueError:
            raise InvalidKey("A bip340 secret must be less than the order of the curve.") from None

    def import_jwk(self, jwk: Mapping[str, Any]) -> PrivateKey:
        require_jwk_type(jwk, self.kty, self.crv)
        key = self.import_secret(jwk_bytes(jwk, "d", 32))
        if jwk_bytes(jwk, "x", 32) != self.public_bytes(key):
            raise InvalidKey("The JWK's private part does not fit its public part.")
        return key

    def export_jwk(self, key: PrivateKey) -> dict[str, str]:
        return {**self.public_jwk(key), "d": jose_b64url(key.secret)}

    def sign(self, key: PrivateKey, message: bytes, options: SignatureOptions) -> bytes:
        return key.sign_schnorr(self._digest(message, options.prehashed))

    def verify(
        self, public: PublicKeyXOnly, message: bytes, signature: bytes, options: SignatureOptions
    ) -> bool:
        digest = self._digest(message, options.prehashed)
        return len(signature) == 64 and public.verify(signature, digest)

    def _digest(self, message: bytes, prehashed: bool) -> bytes:
        if not prehashed:
            return hashlib.sha256(message).digest()
        if len(message) != 32:
            raise ValidationFailed(errors=[("#/data", "The digest must have 32 bytes.")])
        return message
