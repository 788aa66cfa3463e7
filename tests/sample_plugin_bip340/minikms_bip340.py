"""BIP-340 Schnorr signatures on secp256k1 for Mini KMS: 32-byte public keys, 64-byte signatures."""

import hashlib

import coincurve

from minikms.plugin import (
    InvalidKey,
    JwkImporter,
    SecretImporter,
    Signer,
    ValidationFailed,
    jose_b64url,
    jwk_bytes,
    require_jwk_type,
)

FORMAT = b"\x01"


class Bip340(Signer, JwkImporter, SecretImporter):
    """Signs the SHA-256 digest of a message, or a digest that is given, which is then BIP-340's m.

    A private key is coincurve's PrivateKey, a public one its PublicKeyXOnly. The public key is an
    x coordinate alone, so its JWK is an octet key pair. JOSE has no name for these signatures.
    """

    name, kty, crv = "bip340", "OKP", "BIP340"
    aliases = ("secp256k1-schnorr",)
    signing_algs = ()

    def generate(self):
        return coincurve.PrivateKey()

    def pack(self, key):
        return FORMAT + key.secret

    def unpack(self, stored):
        if stored[:1] != FORMAT:
            raise ValueError("a key of a later version of minikms-bip340")
        return coincurve.PrivateKey(stored[1:])

    def public_bytes(self, key):
        public = key.public_key_xonly if isinstance(key, coincurve.PrivateKey) else key
        return public.format()

    def public_jwk(self, key):
        return {"kty": self.kty, "crv": self.crv, "x": jose_b64url(self.public_bytes(key))}

    def load_public(self, jwk):
        require_jwk_type(jwk, self.kty, self.crv)
        try:
            return coincurve.PublicKeyXOnly(jwk_bytes(jwk, "x", 32))
        except ValueError:
            raise InvalidKey("The JWK member 'x' is that of no point on the curve.") from None

    def import_secret(self, secret):
        if len(secret) != 32:
            raise InvalidKey("A bip340 secret must have 32 bytes.")
        try:
            return coincurve.PrivateKey(secret)
        except ValueError:
            raise InvalidKey("A bip340 secret must be less than the order of the curve.") from None

    def import_jwk(self, jwk):
        require_jwk_type(jwk, self.kty, self.crv)
        key = self.import_secret(jwk_bytes(jwk, "d", 32))
        if jwk_bytes(jwk, "x", 32) != self.public_bytes(key):
            raise InvalidKey("The JWK's private part does not fit its public part.")
        return key

    def export_jwk(self, key):
        return {**self.public_jwk(key), "d": jose_b64url(key.secret)}

    def sign(self, key, message, alg, prehashed):
        return key.sign_schnorr(self._digest(message, prehashed))

    def verify(self, public, message, signature, alg, prehashed):
        digest = self._digest(message, prehashed)
        return len(signature) == 64 and public.verify(signature, digest)

    def _digest(self, message, prehashed):
        if not prehashed:
            return hashlib.sha256(message).digest()
        if len(message) != 32:
            raise ValidationFailed(errors=[("#/data", "The digest must have 32 bytes.")])
        return message
