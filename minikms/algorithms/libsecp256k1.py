"""secp256k1 by libsecp256k1, in a fraction of OpenSSL's time."""

import hashlib
from typing import Any

import coincurve
from cryptography.hazmat.primitives.asymmetric import ec, utils

from minikms.algorithms.secp256k1 import Secp256k1
from minikms.plugin import BytesStored, SignatureOptions


class K256(Secp256k1[coincurve.PrivateKey, coincurve.PublicKey], BytesStored[coincurve.PrivateKey]):
    """secp256k1 with coincurve's keys."""

    slow = frozenset({"derive"})

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
        if not (0 < r < self.order and 0 < s < self.order):
            return False
        # RFC 8812 allows the high s that other JOSE signers make; libsecp256k1 refuses it.
        der = utils.encode_dss_signature(r, min(s, self.order - s))
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
