"""The NIST curves and secp256k1 (FIPS 186-5, SEC 2, RFC 7518 section 3.4, RFC 8812)."""

import hashlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import coincurve
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import ec, utils

from minikms.plugin import (
    SIGNING_HASHES,
    AskarStored,
    EcAlgorithm,
    EcKeyPair,
    Pkcs8KeyAlgorithm,
    PycaHpke,
    SignatureOptions,
)

# The order of secp256k1's base point (SEC 2 section 2.4.1).
_K256_ORDER = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141


NistHpke: TypeAlias = PycaHpke[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey]


class P256(EcAlgorithm, NistHpke, AskarStored[ec.EllipticCurvePrivateKey]):
    """NIST P-256: ES256, 64-byte signatures."""

    name, crv, multicodec = "p256", "P-256", 0x1200
    aliases = ("P-256", "secp256r1", "prime256v1")
    signing_algs = ("ES256",)
    curve, hash, hpke_kem = ec.SECP256R1(), hashes.SHA256(), hpke.KEM.P256


class P384(EcAlgorithm, NistHpke, AskarStored[ec.EllipticCurvePrivateKey]):
    """NIST P-384: ES384, 96-byte signatures."""

    name, crv, multicodec = "p384", "P-384", 0x1201
    aliases = ("P-384", "secp384r1")
    signing_algs = ("ES384",)
    curve, hash, hpke_kem = ec.SECP384R1(), hashes.SHA384(), hpke.KEM.P384
    slow = frozenset({"verify", "derive", "hpke-open"})


class P521(EcAlgorithm, NistHpke, Pkcs8KeyAlgorithm[ec.EllipticCurvePrivateKey]):
    """NIST P-521, not in Askar: ES512, 132-byte signatures."""

    name, crv, multicodec = "p521", "P-521", 0x1202
    aliases = ("P-521", "secp521r1")
    signing_algs = ("ES512",)
    curve, hash, hpke_kem = ec.SECP521R1(), hashes.SHA512(), hpke.KEM.P521
    slow = frozenset({"verify", "derive", "hpke-open"})


class K256(EcKeyPair[coincurve.PrivateKey, coincurve.PublicKey], AskarStored[coincurve.PrivateKey]):
    """secp256k1 by libsecp256k1: ES256K, 64-byte signatures with low s.

    OpenSSL takes ten times as long to sign on this curve. JWKs with the curve's former name are
    accepted, and never returned.
    """

    name, crv, multicodec = "k256", "secp256k1", 0xE7
    aliases = ("secp256k1",)
    signing_algs = ("ES256K",)
    signing_hashes = SIGNING_HASHES
    curve, hash = ec.SECP256K1(), hashes.SHA256()
    slow = frozenset({"derive"})

    def owns_jwk(self, jwk: Mapping[str, Any]) -> bool:
        return super().owns_jwk(_with_present_name(jwk))

    def load_public(self, jwk: Mapping[str, Any]) -> coincurve.PublicKey:
        return super().load_public(_with_present_name(jwk))

    def import_jwk(self, jwk: Mapping[str, Any]) -> coincurve.PrivateKey:
        return super().import_jwk(_with_present_name(jwk))

    def memory_of(self, key: Any) -> int:
        return 800

    def generate(self) -> coincurve.PrivateKey:
        return coincurve.PrivateKey()

    def point(self, key: coincurve.PrivateKey | coincurve.PublicKey, *, compressed: bool) -> bytes:
        public = key.public_key if isinstance(key, coincurve.PrivateKey) else key
        return public.format(compressed=compressed)

    def from_point(self, point: bytes) -> coincurve.PublicKey:
        return coincurve.PublicKey(point)

    def from_secret(self, secret: bytes) -> coincurve.PrivateKey:
        return coincurve.PrivateKey(secret)

    def secret_bytes(self, key: coincurve.PrivateKey) -> bytes:
        return key.secret

    def sign(self, key: coincurve.PrivateKey, message: bytes, options: SignatureOptions) -> bytes:
        # The compact form is r‖s and a recovery id, which JOSE leaves out.
        digest = self._digest(message, options)
        return key.sign_recoverable(digest, hasher=None)[:64]

    def verify(
        self,
        public: coincurve.PublicKey,
        message: bytes,
        signature: bytes,
        options: SignatureOptions,
    ) -> bool:
        digest = self._digest(message, options)
        if len(signature) != 2 * self.size:
            return False
        r, s = self.split(signature)
        if not (0 < r < _K256_ORDER and 0 < s < _K256_ORDER):
            return False
        # RFC 8812 allows the high s that other JOSE signers make; libsecp256k1 refuses it.
        der = utils.encode_dss_signature(r, min(s, _K256_ORDER - s))
        return public.verify(der, digest, hasher=None)

    def derive(self, key: coincurve.PrivateKey, peer: coincurve.PublicKey) -> bytes:
        # libsecp256k1's own ECDH hashes the point; the raw secret comes from OpenSSL.
        private = ec.derive_private_key(int.from_bytes(key.secret, "big"), self.curve)
        point = peer.format(compressed=False)
        public = ec.EllipticCurvePublicKey.from_encoded_point(self.curve, point)
        return private.exchange(ec.ECDH(), public)

    def _digest(self, message: bytes, options: SignatureOptions) -> bytes:
        if options.hash is not None:
            return self.fitted_digest(message, options)
        self.check_digest(message, options.prehashed)
        return message if options.prehashed else hashlib.sha256(message).digest()


def _with_present_name(jwk: Mapping[str, Any]) -> Mapping[str, Any]:
    """A JWK with `crv` secp256k1 instead of P-256K, its name in drafts of RFC 8812."""
    return {**jwk, "crv": K256.crv} if jwk.get("crv") == "P-256K" else jwk
