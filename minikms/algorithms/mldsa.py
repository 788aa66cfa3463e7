"""ML-DSA, the post-quantum signatures of FIPS 204, in JOSE by RFC 9964."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self, TypeVar

from cryptography.hazmat.primitives.asymmetric import mldsa

from minikms.plugin import (
    InvalidKey,
    JwkImporter,
    Pkcs8KeyAlgorithm,
    PureSigner,
    SeedImporter,
    jose_b64url,
    jwk_bytes,
    public_of,
)
from minikms.plugin.pyca import HasPkcs8, SignsMessages, VerifiesMessages

_SEED_SIZE = 32


class PublicKey(VerifiesMessages, Protocol):
    """A public key of pyca/cryptography's, of any parameter set."""

    @classmethod
    def from_public_bytes(cls, data: bytes, /) -> Self: ...

    def public_bytes_raw(self) -> bytes: ...


class PrivateKey(SignsMessages, HasPkcs8, Protocol):
    """A private key of pyca/cryptography's, of any parameter set."""

    @classmethod
    def generate(cls) -> Self: ...

    @classmethod
    def from_seed_bytes(cls, data: bytes, /) -> Self: ...

    def private_bytes_raw(self) -> bytes: ...

    def public_key(self) -> PublicKey: ...


PrivateT = TypeVar("PrivateT", bound=PrivateKey)
PublicT = TypeVar("PublicT", bound=PublicKey)


class MlDsaAlgorithm(
    PureSigner[PrivateT, PublicT],
    JwkImporter[PrivateT],
    SeedImporter[PrivateT],
    Pkcs8KeyAlgorithm[PrivateT],
):
    """ML-DSA with an empty context; the private key is its seed of 32 bytes, never expanded."""

    kty = "AKP"
    slow = frozenset({"generate", "import", "sign"})
    public_size: ClassVar[int]
    private_class: type[PrivateT]
    public_class: type[PublicT]

    @property
    def _alg(self) -> str:
        return self.signing_algs[0]

    def generate(self) -> PrivateT:
        return self.private_class.generate()

    def owns_jwk(self, jwk: Mapping[str, Any]) -> bool:
        return jwk.get("kty") == self.kty and jwk.get("alg") == self._alg

    def public_bytes(self, key: PrivateKey | PublicKey) -> bytes:
        return public_of(key).public_bytes_raw()

    def public_jwk(self, key: PrivateKey | PublicKey) -> dict[str, str]:
        return {"kty": self.kty, "alg": self._alg, "pub": jose_b64url(self.public_bytes(key))}

    def load_public(self, jwk: Mapping[str, Any]) -> PublicT:
        if not self.owns_jwk(jwk):
            raise InvalidKey(f"The JWK must have kty {self.kty!r} and alg {self._alg!r}.")
        return self.public_class.from_public_bytes(jwk_bytes(jwk, "pub", self.public_size))

    def import_jwk(self, jwk: Mapping[str, Any]) -> PrivateT:
        public = self.load_public(jwk)
        key = self.import_seed(jwk_bytes(jwk, "priv", _SEED_SIZE))
        if self.public_bytes(key) != self.public_bytes(public):
            raise InvalidKey("The JWK's private part does not fit its public part.")
        return key

    def export_jwk(self, key: PrivateT) -> dict[str, str]:
        return {**self.public_jwk(key), "priv": jose_b64url(key.private_bytes_raw())}

    def import_seed(self, seed: bytes) -> PrivateT:
        if len(seed) != _SEED_SIZE:
            raise InvalidKey(f"A {self.name} seed must have {_SEED_SIZE} bytes.")
        return self.private_class.from_seed_bytes(seed)


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
