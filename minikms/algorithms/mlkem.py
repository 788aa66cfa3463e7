"""ML-KEM, the post-quantum key encapsulation of FIPS 203, with JWKs of `kty` AKP (RFC 9964)."""

from typing import ClassVar, Protocol, TypeVar

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem

from minikms.algorithms import akp
from minikms.plugin import DecryptionFailed, Encapsulated, Kem, PycaHpke


class PublicKey(akp.PublicKey, Protocol):
    """An encapsulation key of any parameter set."""

    def encapsulate(self) -> tuple[bytes, bytes]: ...


class PrivateKey(akp.PrivateKey, Protocol):
    """A decapsulation key of any parameter set."""

    def decapsulate(self, ciphertext: bytes, /) -> bytes: ...


PrivateT = TypeVar("PrivateT", bound=PrivateKey)
PublicT = TypeVar("PublicT", bound=PublicKey)


class MlKemAlgorithm(
    Kem[PrivateT, PublicT], PycaHpke[PrivateT, PublicT], akp.AkpAlgorithm[PrivateT, PublicT]
):
    """ML-KEM: 32-byte secrets. The seed is d‖z of FIPS 203 section 7.1, 64 bytes."""

    seed_size, expansion = 64, 9
    ciphertext_size: ClassVar[int]

    @property
    def jwk_alg(self) -> str:
        return self.jose_algs[0]

    def encapsulate(self, public: PublicT) -> Encapsulated:
        secret, ciphertext = public.encapsulate()
        return Encapsulated(ciphertext, secret)

    def decapsulate(self, key: PrivateT, ciphertext: bytes) -> bytes:
        # Section 7.3. A wrong ciphertext of the right length gives another secret (section 6.3).
        if len(ciphertext) != self.ciphertext_size:
            raise DecryptionFailed()
        return key.decapsulate(ciphertext)


class MlKem768(MlKemAlgorithm[mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey]):
    """ML-KEM-768: 1,184-byte public keys, 1,088-byte ciphertexts."""

    name, multicodec, public_size, ciphertext_size = "mlkem768", 0x120C, 1184, 1088
    jose_algs = ("ML-KEM-768",)
    hpke_kem = hpke.KEM.MLKEM768
    private_class, public_class = mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey


class MlKem1024(MlKemAlgorithm[mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey]):
    """ML-KEM-1024: 1,568-byte public keys, 1,568-byte ciphertexts."""

    name, multicodec, public_size, ciphertext_size = "mlkem1024", 0x120D, 1568, 1568
    jose_algs = ("ML-KEM-1024",)
    hpke_kem = hpke.KEM.MLKEM1024
    private_class, public_class = mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey
