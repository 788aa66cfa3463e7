"""Ed448 for Mini KMS (RFC 8032 section 5.2): 57-byte keys, 114-byte signatures."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey

from minikms.plugin import (
    Pkcs8KeyAlgorithm,
    Signer,
    UnsupportedOption,
    jose_b64url,
    jwk_bytes,
    require_jwk_type,
)


class Ed448(Pkcs8KeyAlgorithm, Signer):
    """EdDSA on edwards448; the store keeps its keys as PKCS #8."""

    name, kty, crv = "ed448", "OKP", "Ed448"
    multicodec = 0x1203
    signing_algs = ("EdDSA",)

    def generate(self):
        return Ed448PrivateKey.generate()

    def public_bytes(self, key):
        return key.public_key().public_bytes_raw()

    def public_jwk(self, key):
        return {"kty": self.kty, "crv": self.crv, "x": jose_b64url(self.public_bytes(key))}

    def load_public(self, jwk):
        require_jwk_type(jwk, self.kty, self.crv)
        return Ed448PublicKey.from_public_bytes(jwk_bytes(jwk, "x", 57))

    def sign(self, key, message, alg, prehashed):
        self._refuse(prehashed)
        return key.sign(message)

    def verify(self, public, message, signature, alg, prehashed):
        self._refuse(prehashed)
        try:
            public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _refuse(self, prehashed):
        if prehashed:
            raise UnsupportedOption("EdDSA signs the message, never a digest of it.")
