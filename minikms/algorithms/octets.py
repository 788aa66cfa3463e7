"""Bases for secret keys as octet sequences (RFC 7518 section 6.4)."""

import secrets
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, TypeVar

from minikms.plugin import (
    BytesStored,
    InvalidKey,
    JwkImporter,
    KeyAlgorithm,
    SecretImporter,
    jose_b64url,
    jwk_bytes,
)

# The largest HMAC secret in bytes, since each use hashes all of it; other secrets have a fixed
# length.
MAX_SECRET: Final = 4096

KeyT = TypeVar("KeyT")


class OctAlgorithm(KeyAlgorithm[KeyT], JwkImporter[KeyT], SecretImporter[KeyT]):
    """A secret key as an octet sequence; `alg` in its JWK names the algorithm (RFC 7518 6.4)."""

    kty = "oct"

    @abstractmethod
    def secret_bytes(self, key: KeyT) -> bytes:
        """The bytes that `import_secret` makes `key` from."""

    def owns_jwk(self, jwk: Mapping[str, Any]) -> bool:
        return jwk.get("kty") == self.kty and jwk.get("alg") in self.jose_algs

    def import_jwk(self, jwk: Mapping[str, Any]) -> KeyT:
        if not self.owns_jwk({"alg": self.jose_algs[0], **jwk}):
            raise InvalidKey(f"The JWK must have kty 'oct', and alg {self.jose_algs[0]!r} if any.")
        return self.import_secret(jwk_bytes(jwk, "k", most=MAX_SECRET))

    def export_jwk(self, key: KeyT) -> dict[str, str]:
        k = jose_b64url(self.secret_bytes(key))
        return {"kty": self.kty, "alg": self.jose_algs[0], "k": k}


@dataclass(frozen=True, slots=True)
class SecretBytes:
    """A secret, which `repr` does not show."""

    secret: bytes = field(repr=False)


class SizedSecret(OctAlgorithm[SecretBytes]):
    """A secret key of `size` bytes, kept as bytes in memory."""

    size: ClassVar[int]

    def generate(self) -> SecretBytes:
        return SecretBytes(secrets.token_bytes(self.size))

    def secret_bytes(self, key: SecretBytes) -> bytes:
        return key.secret

    def memory_of(self, key: SecretBytes) -> int:
        return 100 + len(key.secret)

    def import_secret(self, secret: bytes) -> SecretBytes:
        if len(secret) != self.size:
            raise InvalidKey(f"A {self.name} key must have {self.size} bytes.")
        return SecretBytes(secret)


class BytesAlgorithm(SizedSecret, BytesStored[SecretBytes]):
    """A secret key of `size` bytes, in memory and in the store."""
