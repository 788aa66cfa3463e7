"""Ed448 for Mini KMS (RFC 8032 section 5.2): 57-byte keys, 114-byte signatures.

docs/writing-an-algorithm.md links it as a class without a base.
"""

from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey

from minikms.plugin import (
    InvalidKey,
    SignatureOptions,
    Signer,
    Stored,
    UnsupportedOption,
    jose_b64url,
    jwk_bytes,
    public_of,
    require_jwk_type,
)

FORM = b"\x01"
P, D = 2**448 - 2**224 - 1, -39081


def is_point(data: bytes) -> bool:
    """Tell whether it is on the curve, and not of low order, which pyca does not check."""
    y, sign = int.from_bytes(data[:56], "little"), data[56]
    # Section 5.2.3: x² = (y² - 1)/(d y² - 1) has a root; where y is 0, 1 or -1 the order is low.
    x_squared = (y * y - 1) * (D * y * y - 1)
    return sign in (0, 128) and 1 < y < P - 1 and pow(x_squared, (P - 1) // 2, P) == 1


class Ed448(Signer[Ed448PrivateKey, Ed448PublicKey]):
    """EdDSA on edwards448; the store keeps the number of a form, and the raw private key."""

    name, kty, crv = "ed448", "OKP", "Ed448"
    multicodec = 0x1203
    signing_algs = ("Ed448", "EdDSA")

    def generate(self) -> Ed448PrivateKey:
        return Ed448PrivateKey.generate()

    def pack(self, key: Ed448PrivateKey) -> Stored:
        return FORM + key.private_bytes_raw()

    def unpack(self, stored: Stored) -> Ed448PrivateKey:
        if not isinstance(stored, bytes) or stored[:1] != FORM:
            raise ValueError("a key that a later version of this package stored")
        return Ed448PrivateKey.from_private_bytes(stored[1:])

    def public_bytes(self, key: Ed448PrivateKey | Ed448PublicKey) -> bytes:
        return public_of(key).public_bytes_raw()

    def public_jwk(self, key: Ed448PrivateKey | Ed448PublicKey) -> dict[str, str]:
        return {"kty": self.kty, "crv": self.crv, "x": jose_b64url(self.public_bytes(key))}

    def load_public(self, jwk: Mapping[str, Any]) -> Ed448PublicKey:
        require_jwk_type(jwk, self.kty, self.crv)
        x = jwk_bytes(jwk, "x", 57)
        if not is_point(x):
            raise InvalidKey("The public key is not a point of Ed448, or one of low order.")
        return Ed448PublicKey.from_public_bytes(x)

    def sign(self, key: Ed448PrivateKey, message: bytes, options: SignatureOptions) -> bytes:
        self._refuse(options)
        return key.sign(message)

    def verify(
        self, public: Ed448PublicKey, message: bytes, signature: bytes, options: SignatureOptions
    ) -> bool:
        self._refuse(options)
        try:
            public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _refuse(self, options: SignatureOptions) -> None:
        if options.prehashed:
            raise UnsupportedOption("EdDSA signs the message, never a digest of it.")
