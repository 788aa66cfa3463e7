"""ML-DSA, the post-quantum signatures of FIPS 204, in JOSE by RFC 9964."""

from typing import Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric import mldsa

from minikms.algorithms import akp
from minikms.plugin import PureSigner
from minikms.plugin.pyca import SignsMessages, VerifiesMessages


class PublicKey(akp.PublicKey, VerifiesMessages, Protocol):
    """A public key of any parameter set."""


class PrivateKey(akp.PrivateKey, SignsMessages, Protocol):
    """A private key of any parameter set."""


PrivateT = TypeVar("PrivateT", bound=PrivateKey)
PublicT = TypeVar("PublicT", bound=PublicKey)


class MlDsaAlgorithm(PureSigner[PrivateT, PublicT], akp.AkpAlgorithm[PrivateT, PublicT]):
    """ML-DSA with an empty context; the seed has 32 bytes."""

    seed_size = 32
    slow = frozenset({"generate", "import", "sign"})

    @property
    def jwk_alg(self) -> str:
        return self.signing_algs[0]


class MlDsa44(MlDsaAlgorithm[mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey]):
    """ML-DSA-44: 1,312-byte public keys, 2,420-byte signatures."""

    name, multicodec, public_size = "mldsa44", 0x1210, 1312
    signing_algs = ("ML-DSA-44",)
    private_class, public_class = mldsa.MLDSA44PrivateKey, mldsa.MLDSA44PublicKey


class MlDsa65(MlDsaAlgorithm[mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey]):
    """ML-DSA-65: 1,952-byte public keys, 3,309-byte signatures."""

    name, multicodec, public_size = "mldsa65", 0x1211, 1952
    signing_algs = ("ML-DSA-65",)
    private_class, public_class = mldsa.MLDSA65PrivateKey, mldsa.MLDSA65PublicKey


class MlDsa87(MlDsaAlgorithm[mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey]):
    """ML-DSA-87: 2,592-byte public keys, 4,627-byte signatures."""

    name, multicodec, public_size = "mldsa87", 0x1212, 2592
    signing_algs = ("ML-DSA-87",)
    private_class, public_class = mldsa.MLDSA87PrivateKey, mldsa.MLDSA87PublicKey
