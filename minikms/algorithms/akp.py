"""Algorithm key pairs (RFC 9964): a seed, its public key, and one `alg` in the JWK."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self, TypeVar

from minikms.plugin import (
    HasPkcs8,
    InvalidKey,
    JwkImporter,
    KeyPairAlgorithm,
    Pkcs8KeyAlgorithm,
    SeedImporter,
    jose_b64url,
    jwk_bytes,
    public_of,
)


class PublicKey(Protocol):
    """A public key of pyca/cryptography, with any parameter set."""

    @classmethod
    def from_public_bytes(cls, data: bytes, /) -> Self: ...

    def public_bytes_raw(self) -> bytes: ...


class PrivateKey(HasPkcs8, Protocol):
    """A private key of pyca/cryptography, with any parameter set."""

    @classmethod
    def generate(cls) -> Self: ...

    @classmethod
    def from_seed_bytes(cls, data: bytes, /) -> Self: ...

    def private_bytes_raw(self) -> bytes: ...

    def public_key(self) -> PublicKey: ...


PrivateT = TypeVar("PrivateT", bound=PrivateKey)
PublicT = TypeVar("PublicT", bound=PublicKey)


class AkpAlgorithm(
    KeyPairAlgorithm[PrivateT, PublicT],
    Pkcs8KeyAlgorithm[PrivateT],
    JwkImporter[PrivateT],
    SeedImporter[PrivateT],
):
    """A key pair of `kty` AKP; the private key is its seed of `seed_size` bytes, never expanded."""

    kty = "AKP"
    seed_size: ClassVar[int]
    public_size: ClassVar[int]
    expansion: ClassVar[int]
    """The memory of a private key in use, as a multiple of `public_size`."""
    private_class: type[PrivateT]
    public_class: type[PublicT]

    @property
    @abstractmethod
    def jwk_alg(self) -> str:
        """The `alg` of its JWKs."""

    def memory_of(self, key: Any) -> int:
        # OpenSSL expands both.
        times = self.expansion if isinstance(key, self.private_class) else 6
        return times * self.public_size

    def generate(self) -> PrivateT:
        return self.private_class.generate()

    def owns_jwk(self, jwk: Mapping[str, Any]) -> bool:
        return jwk.get("kty") == self.kty and jwk.get("alg") == self.jwk_alg

    def public_bytes(self, key: PrivateKey | PublicKey) -> bytes:
        return public_of(key).public_bytes_raw()

    def public_jwk(self, key: PrivateKey | PublicKey) -> dict[str, str]:
        return {"kty": self.kty, "alg": self.jwk_alg, "pub": jose_b64url(self.public_bytes(key))}

    def load_public(self, jwk: Mapping[str, Any]) -> PublicT:
        if not self.owns_jwk(jwk):
            raise InvalidKey(f"The JWK must have kty {self.kty!r} and alg {self.jwk_alg!r}.")
        data = jwk_bytes(jwk, "pub", self.public_size)
        try:
            return self.public_class.from_public_bytes(data)
        except ValueError:
            raise InvalidKey(f"The JWK is not a {self.name} key.") from None

    def import_jwk(self, jwk: Mapping[str, Any]) -> PrivateT:
        public = self.load_public(jwk)
        key = self.import_seed(jwk_bytes(jwk, "priv", self.seed_size))
        if self.public_bytes(key) != self.public_bytes(public):
            raise InvalidKey("The JWK's private part does not fit its public part.")
        return key

    def export_jwk(self, key: PrivateT) -> dict[str, str]:
        return {**self.public_jwk(key), "priv": jose_b64url(key.private_bytes_raw())}

    def import_seed(self, seed: bytes) -> PrivateT:
        if len(seed) != self.seed_size:
            raise InvalidKey(f"A {self.name} seed must have {self.seed_size} bytes.")
        return self.private_class.from_seed_bytes(seed)
