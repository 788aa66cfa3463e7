"""BLS12-381 keys (draft-irtf-cfrg-bls-signature), which Askar keeps but cannot use."""

from minikms.plugin import AskarKeyPair


class Bls12381G1(AskarKeyPair):
    """BLS12-381 with its public key in G1: 48 bytes."""

    name, crv, multicodec = "bls12381g1", "BLS12381G1", 0xEA
    aliases = ("bls12-381-g1",)
    kty = "EC"
    did_key = True
    slow = frozenset({"generate", "import"})


class Bls12381G2(AskarKeyPair):
    """BLS12-381 with its public key in G2: 96 bytes."""

    name, crv, multicodec = "bls12381g2", "BLS12381G2", 0xEB
    aliases = ("bls12-381-g2",)
    kty = "EC"
    did_key = True
    slow = frozenset({"generate", "import"})
