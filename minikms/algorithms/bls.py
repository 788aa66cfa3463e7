"""BLS12-381 keys (draft-irtf-cfrg-bls-signature); Askar can store them, but not sign with them."""

from collections.abc import Mapping
from typing import Any, Final

from aries_askar import Key

from minikms.plugin import AskarKeyPair, InvalidKey

# The bit of a compressed point that marks the identity (section 2.3 with appendix A).
_INFINITY: Final = 0x40


class BlsKeyPair(AskarKeyPair):
    """A key pair on BLS12-381, whose public key is not the identity."""

    kty = "EC"
    did_key = True
    slow = frozenset({"generate", "import"})

    def load_public(self, jwk: Mapping[str, Any]) -> Key:
        key = super().load_public(jwk)
        # KeyValidate, section 2.5. Askar refuses points off the curve or the subgroup.
        if self.public_bytes(key)[0] & _INFINITY:
            raise InvalidKey("The public key is the identity.")
        return key


class Bls12381G1(BlsKeyPair):
    """BLS12-381 with its public key in G1, which takes 48 bytes."""

    name, crv, multicodec = "bls12381g1", "BLS12381G1", 0xEA
    aliases = ("bls12-381-g1",)


class Bls12381G2(BlsKeyPair):
    """BLS12-381 with its public key in G2, which takes 96 bytes."""

    name, crv, multicodec = "bls12381g2", "BLS12381G2", 0xEB
    aliases = ("bls12-381-g2",)
