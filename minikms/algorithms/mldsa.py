"""ML-DSA, the post-quantum signatures of FIPS 204, in JOSE by RFC 9964."""

from typing import Final, Protocol, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import mldsa

from minikms.algorithms import akp
from minikms.plugin import (
    PureSigner,
    SignatureOptions,
    SignsMessages,
    ValidationFailed,
    VerifiesMessages,
)

_MU: Final = 64  # bytes (FIPS 204 section 6.2)


class PublicKey(akp.PublicKey, VerifiesMessages, Protocol):
    """A public key of any parameter set."""

    def verify_mu(self, signature: bytes, mu: bytes, /) -> None: ...


class PrivateKey(akp.PrivateKey, SignsMessages, Protocol):
    """A private key of any parameter set."""

    def sign_mu(self, mu: bytes, /) -> bytes: ...


PrivateT = TypeVar("PrivateT", bound=PrivateKey)
PublicT = TypeVar("PublicT", bound=PublicKey)


class MlDsaAlgorithm(PureSigner[PrivateT, PublicT], akp.AkpAlgorithm[PrivateT, PublicT]):
    """ML-DSA with an empty context; the seed has 32 bytes.

    The prehashed form is mu, the hash of the public key, the context and the message (FIPS 204
    section 6.2): a signature over it is one over the message.
    """

    seed_size, expansion = 32, 17
    slow = frozenset({"generate", "import", "sign"})

    @property
    def jwk_alg(self) -> str:
        return self.signing_algs[0]

    def sign(self, key: PrivateT, message: bytes, options: SignatureOptions) -> bytes:
        if not options.prehashed:
            return super().sign(key, message, options)
        _check_mu(message)
        return key.sign_mu(message)

    def verify(
        self, public: PublicT, message: bytes, signature: bytes, options: SignatureOptions
    ) -> bool:
        if not options.prehashed:
            return super().verify(public, message, signature, options)
        _check_mu(message)
        try:
            public.verify_mu(signature, message)
        except InvalidSignature:
            return False
        return True


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


def _check_mu(mu: bytes) -> None:
    if len(mu) != _MU:
        raise ValidationFailed(errors=[("#/data", f"mu must have {_MU} bytes.")])
