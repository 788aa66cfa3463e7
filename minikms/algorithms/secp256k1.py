"""secp256k1 (SEC 2, RFC 8812): the attributes of `k256`, and its form by pyca/cryptography."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from minikms.plugin import (
    SIGNING_HASHES,
    BytesStored,
    EcAlgorithm,
    EcKeyPair,
    SignatureOptions,
)

KeyT = TypeVar("KeyT")
PublicT = TypeVar("PublicT")


class Secp256k1(EcKeyPair[KeyT, PublicT]):
    """secp256k1: ES256K, 64-byte signatures with low s.

    JWKs with the curve's former name are accepted, and never returned.
    """

    name, crv, multicodec = "k256", "secp256k1", 0xE7
    aliases = ("secp256k1",)
    signing_algs = ("ES256K",)
    signing_hashes = SIGNING_HASHES
    curve, hash = ec.SECP256K1(), hashes.SHA256()
    # The order of the base point (SEC 2 section 2.4.1).
    order: ClassVar[int] = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141

    def owns_jwk(self, jwk: Mapping[str, Any]) -> bool:
        return super().owns_jwk(_with_present_name(jwk))

    def load_public(self, jwk: Mapping[str, Any]) -> PublicT:
        return super().load_public(_with_present_name(jwk))

    def import_jwk(self, jwk: Mapping[str, Any]) -> KeyT:
        return super().import_jwk(_with_present_name(jwk))


class K256(
    Secp256k1[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey],
    EcAlgorithm,
    BytesStored[ec.EllipticCurvePrivateKey],
):
    """secp256k1 by OpenSSL, whose signatures take fourteen times as long as libsecp256k1's."""

    slow = frozenset({"sign", "verify", "derive"})

    def sign(
        self, key: ec.EllipticCurvePrivateKey, message: bytes, options: SignatureOptions
    ) -> bytes:
        # OpenSSL makes a high s half of the time, which verifiers of blockchains refuse (BIP 62).
        signature = super().sign(key, message, options)
        _, s = self.split(signature)
        return signature[: self.size] + min(s, self.order - s).to_bytes(self.size, "big")


def _with_present_name(jwk: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rename the `crv` P-256K, used in drafts of RFC 8812, to secp256k1 in a JWK."""
    return {**jwk, "crv": Secp256k1.crv} if jwk.get("crv") == "P-256K" else jwk
