"""Edwards and Montgomery curves as octet key pairs (RFC 8032, RFC 7748, RFC 8037)."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, x448, x25519
from nacl import bindings as sodium

from minikms.algorithms import points
from minikms.plugin import (
    AskarStored,
    InvalidKey,
    JwkImporter,
    KeyAgreement,
    KeyPairAlgorithm,
    Pkcs8KeyAlgorithm,
    PureSigner,
    SecretImporter,
    SeedImporter,
    jose_b64url,
    jwk_bytes,
    public_of,
    require_jwk_type,
)


class OkpAlgorithm(KeyPairAlgorithm, JwkImporter, SecretImporter):
    """An octet key pair on pyca/cryptography: raw public bytes, raw secret bytes, one JWK form."""

    kty = "OKP"
    crv: ClassVar[str]
    size: ClassVar[int]
    private_class: ClassVar[Any]
    public_class: ClassVar[Any]

    @staticmethod
    @abstractmethod
    def is_public_key(data: bytes) -> bool:
        """Whether `size` bytes are a point of the curve, and not of low order."""

    def generate(self) -> Any:
        return self.private_class.generate()

    def public_bytes(self, key: Any) -> bytes:
        return public_of(key).public_bytes_raw()  # type: ignore[no-any-return]

    def public_jwk(self, key: Any) -> dict[str, str]:
        return {"kty": self.kty, "crv": self.crv, "x": jose_b64url(self.public_bytes(key))}

    def load_public(self, jwk: Mapping[str, Any]) -> Any:
        require_jwk_type(jwk, self.kty, self.crv)
        x = jwk_bytes(jwk, "x", self.size)
        if not self.is_public_key(x):
            raise InvalidKey(f"The public key is no point of {self.crv}, or one of low order.")
        return self.public_class.from_public_bytes(x)

    def import_jwk(self, jwk: Mapping[str, Any]) -> Any:
        require_jwk_type(jwk, self.kty, self.crv)
        key = self.import_secret(jwk_bytes(jwk, "d", self.size))
        if jwk_bytes(jwk, "x", self.size) != self.public_bytes(key):
            raise InvalidKey("The JWK's private part does not fit its public part.")
        return key

    def export_jwk(self, key: Any) -> dict[str, str]:
        return {**self.public_jwk(key), "d": jose_b64url(self.secret_bytes(key))}

    def import_secret(self, secret: bytes) -> Any:
        if len(secret) != self.size:
            raise InvalidKey(f"A {self.name} secret must have {self.size} bytes.")
        return self.private_class.from_private_bytes(secret)

    def secret_bytes(self, key: Any) -> bytes:
        """The raw private key, which on these curves is also the seed."""
        return key.private_bytes_raw()  # type: ignore[no-any-return]


class SeedIsSecret(OkpAlgorithm, SeedImporter):
    """An octet key pair whose seed is its secret, as it stands: nothing is hashed."""

    def import_seed(self, seed: bytes) -> Any:
        return self.import_secret(seed)


class MontgomeryAgreement(KeyAgreement):
    """Diffie-Hellman on a Montgomery curve (RFC 7748 section 6), on keys of pyca/cryptography."""

    def derive(self, key: Any, peer: Any) -> bytes:
        try:
            return key.exchange(peer)  # type: ignore[no-any-return]
        except ValueError:
            # OpenSSL refuses an all-zero result, which is what a point of low order gives, and
            # `load_public` refuses such a point before.
            raise InvalidKey("The peer's public key is a point of low order.") from None


class SodiumKey:
    """An Ed25519 private key that libsodium signs with, in 0.6 of the time that OpenSSL takes.

    Otherwise as pyca/cryptography's are. PyNaCl's own has its seed for a text.
    """

    __slots__ = ("_pair",)

    def __init__(self, pair: bytes) -> None:
        """`pair` is libsodium's form: the secret and the public key, 32 bytes each."""
        self._pair = pair

    @classmethod
    def generate(cls) -> Self:
        return cls(sodium.crypto_sign_keypair()[1])

    @classmethod
    def from_private_bytes(cls, secret: bytes) -> Self:
        return cls(sodium.crypto_sign_seed_keypair(secret)[1])

    def private_bytes_raw(self) -> bytes:
        return self._pair[:32]

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return ed25519.Ed25519PublicKey.from_public_bytes(self._pair[32:])

    def sign(self, message: bytes) -> bytes:
        return sodium.crypto_sign(message, self._pair)[: sodium.crypto_sign_BYTES]


class Ed25519(SeedIsSecret, PureSigner, AskarStored):
    """Ed25519 (RFC 8032 section 5.1): 32-byte keys, 64-byte signatures."""

    name, crv, size, multicodec = "ed25519", "Ed25519", 32, 0xED
    did_key = True
    # RFC 9864 names the curve; the libraries of today know the older name.
    signing_algs = ("EdDSA", "Ed25519")
    private_class, public_class = SodiumKey, ed25519.Ed25519PublicKey
    is_public_key = staticmethod(points.is_ed25519_point)


class X25519(SeedIsSecret, MontgomeryAgreement, AskarStored):
    """X25519 key agreement (RFC 7748 section 6.1): 32-byte keys and secrets."""

    name, crv, size, multicodec = "x25519", "X25519", 32, 0xEC
    did_key = True
    jose_algs = ("ECDH-ES",)
    private_class, public_class = x25519.X25519PrivateKey, x25519.X25519PublicKey
    is_public_key = staticmethod(points.is_x25519_key)


class Ed448(OkpAlgorithm, PureSigner, Pkcs8KeyAlgorithm):
    """Ed448 (RFC 8032 section 5.2), which Askar has not: 57-byte keys, 114-byte signatures."""

    name, crv, size, multicodec = "ed448", "Ed448", 57, 0x1203
    signing_algs = ("Ed448", "EdDSA")
    private_class, public_class = ed448.Ed448PrivateKey, ed448.Ed448PublicKey
    is_public_key = staticmethod(points.is_ed448_point)


class X448(OkpAlgorithm, MontgomeryAgreement, Pkcs8KeyAlgorithm):
    """X448 key agreement (RFC 7748 section 6.2), which Askar has not: 56-byte keys and secrets."""

    name, crv, size, multicodec = "x448", "X448", 56, 0x1204
    jose_algs = ("ECDH-ES",)
    private_class, public_class = x448.X448PrivateKey, x448.X448PublicKey
    is_public_key = staticmethod(points.is_x448_key)
