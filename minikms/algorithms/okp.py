"""Octet key pairs (RFC 8037): EdDSA (RFC 8032), X25519 and X448 (RFC 7748)."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self, TypeVar

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x448 import X448PrivateKey, X448PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from minikms.algorithms import points
from minikms.algorithms.boxes import NaclBox
from minikms.algorithms.sodium import SodiumKey, SodiumPublicKey
from minikms.plugin import (
    X448_KEM,
    BytesStored,
    InvalidKey,
    Jwe,
    JwkImporter,
    KeyAgreement,
    KeyPairAlgorithm,
    Pkcs8KeyAlgorithm,
    ProviderSigner,
    PureSigner,
    PycaHpke,
    Scheme,
    SecretImporter,
    SeedImporter,
    SignatureOptions,
    SignsMessages,
    VerifiesMessages,
    jose_b64url,
    jwk_bytes,
    public_of,
    read_spki,
    require_jwk_type,
)


class PublicKey(Protocol):
    """A public key of pyca/cryptography, on any of these curves."""

    @classmethod
    def from_public_bytes(cls, data: bytes, /) -> Self: ...

    def public_bytes_raw(self) -> bytes: ...


class PrivateKey(Protocol):
    """The methods that pyca/cryptography's private keys on these curves share."""

    @classmethod
    def generate(cls) -> Self: ...

    @classmethod
    def from_private_bytes(cls, data: bytes, /) -> Self: ...

    def private_bytes_raw(self) -> bytes: ...

    def public_key(self) -> PublicKey: ...


PrivateT = TypeVar("PrivateT", bound=PrivateKey)
PublicT = TypeVar("PublicT", bound=PublicKey)
PeerT = TypeVar("PeerT")
SignsT = TypeVar("SignsT", bound=SignsMessages)
VerifiesT = TypeVar("VerifiesT", bound=VerifiesMessages)


class OkpAlgorithm(
    KeyPairAlgorithm[PrivateT, PublicT], JwkImporter[PrivateT], SecretImporter[PrivateT]
):
    """An octet key pair: raw public and secret bytes, and one form of JWK (RFC 8037 section 2)."""

    kty = "OKP"
    crv: ClassVar[str]
    size: ClassVar[int]
    private_class: type[PrivateT]
    public_class: type[PublicT]

    @staticmethod
    @abstractmethod
    def is_public_key(data: bytes) -> bool:
        """Tell whether `data`, of `size` bytes, is on the curve and not of low order."""

    def memory_of(self, key: Any) -> int:
        return 600  # an Ed25519 key also contains the X25519 key that it may act as

    def generate(self) -> PrivateT:
        return self.private_class.generate()

    def public_bytes(self, key: PrivateKey | PublicKey) -> bytes:
        return public_of(key).public_bytes_raw()

    def public_jwk(self, key: PrivateKey | PublicKey) -> dict[str, str]:
        return {"kty": self.kty, "crv": self.crv, "x": jose_b64url(self.public_bytes(key))}

    def load_public(self, jwk: Mapping[str, Any]) -> PublicT:
        require_jwk_type(jwk, self.kty, self.crv)
        x = jwk_bytes(jwk, "x", self.size)
        if not self.is_public_key(x):
            raise InvalidKey(f"The public key is not on {self.crv}, or has low order.")
        return self.public_class.from_public_bytes(x)

    def import_jwk(self, jwk: Mapping[str, Any]) -> PrivateT:
        require_jwk_type(jwk, self.kty, self.crv)
        key = self.import_secret(jwk_bytes(jwk, "d", self.size))
        if jwk_bytes(jwk, "x", self.size) != self.public_bytes(key):
            raise InvalidKey("The JWK's private part does not fit its public part.")
        return key

    def export_jwk(self, key: PrivateT) -> dict[str, str]:
        return {**self.public_jwk(key), "d": jose_b64url(self.secret_bytes(key))}

    def import_secret(self, secret: bytes) -> PrivateT:
        if len(secret) != self.size:
            raise InvalidKey(f"A {self.name} secret must have {self.size} bytes.")
        return self.private_class.from_private_bytes(secret)

    def secret_bytes(self, key: PrivateT) -> bytes:
        """Return the raw private key, which on these curves is also the seed."""
        return key.private_bytes_raw()


class SeedIsSecret(OkpAlgorithm[PrivateT, PublicT], SeedImporter[PrivateT]):
    """An octet key pair whose seed is its secret, unhashed."""

    def import_seed(self, seed: bytes) -> PrivateT:
        return self.import_secret(seed)


def diffie_hellman(exchange: Callable[[PeerT], bytes], peer: PeerT) -> bytes:
    """Compute the secret of RFC 7748 section 6; raises InvalidKey for a point of low order."""
    try:
        return exchange(peer)
    except ValueError:
        # A point of low order gives only zeros, which OpenSSL refuses; `load_public` refuses such
        # points earlier.
        raise InvalidKey("The peer's public key has low order.") from None


class X25519(
    SeedIsSecret[X25519PrivateKey, X25519PublicKey],
    KeyAgreement[X25519PrivateKey, X25519PublicKey],
    NaclBox[X25519PrivateKey, X25519PublicKey],
    PycaHpke[X25519PrivateKey, X25519PublicKey],
    BytesStored[X25519PrivateKey],
):
    """X25519 (RFC 7748 section 6.1): key agreement and NaCl's boxes, 32-byte keys and secrets."""

    name, crv, size, multicodec = "x25519", "X25519", 32, 0xEC
    hpke_kem = hpke.KEM.X25519
    did_key = True
    jose_algs = ("ECDH-ES",)
    private_class, public_class = X25519PrivateKey, X25519PublicKey
    is_public_key = staticmethod(points.is_x25519_key)

    def derive(self, key: X25519PrivateKey, peer: X25519PublicKey) -> bytes:
        return diffie_hellman(key.exchange, peer)

    def x25519_pair(self, key: X25519PrivateKey) -> tuple[bytes, bytes]:
        return key.private_bytes_raw(), key.public_key().public_bytes_raw()

    def load_box_peer(self, jwk: Mapping[str, Any]) -> bytes:
        return load_x25519(jwk)


class EdDsa(PureSigner[SignsT, VerifiesT], ProviderSigner[SignsT, VerifiesT]):
    """Pure EdDSA (RFC 8032 section 5); it signs whole messages, also in a provider."""

    spki_class: ClassVar[type[VerifiesMessages]]
    """The class of its public keys in pyca/cryptography."""

    def prepare(self, message: bytes, options: SignatureOptions) -> tuple[bytes, Scheme]:
        if options.prehashed:
            raise self._not_a_digest()
        return message, Scheme("eddsa")

    def load_spki(self, spki: bytes) -> VerifiesT:
        public: Any = read_spki(spki, self.spki_class)
        x = jose_b64url(public.public_bytes_raw())
        return self.load_public({"kty": self.kty, "crv": self.crv, "x": x})


class Ed25519(
    SeedIsSecret[SodiumKey, SodiumPublicKey],
    EdDsa[SodiumKey, SodiumPublicKey],
    KeyAgreement[SodiumKey, SodiumPublicKey],
    NaclBox[SodiumKey, SodiumPublicKey],
    BytesStored[SodiumKey],
):
    """Ed25519 (RFC 8032 section 5.1): 32-byte keys, 64-byte signatures.

    A key may also act as an X25519 key, by the birational map of RFC 7748 section 4.1, with peers
    of both types. Using one key for two purposes is opt-in.
    """

    name, crv, size, multicodec = "ed25519", "Ed25519", 32, 0xED
    did_key = True
    # RFC 9864's name contains the curve; most libraries know only the older name.
    signing_algs = ("EdDSA", "Ed25519")
    private_class, public_class = SodiumKey, SodiumPublicKey
    spki_class = Ed25519PublicKey
    opt_in = frozenset((*KeyAgreement.grants, *Jwe.grants, *NaclBox.grants))
    is_public_key = staticmethod(points.is_ed25519_point)

    def sign_many(
        self, key: SodiumKey, messages: Sequence[bytes], options: SignatureOptions
    ) -> list[bytes]:
        # A subclass with its own `sign` also uses it in batches.
        if options.prehashed or type(self).sign is not Ed25519.sign:
            return super().sign_many(key, messages, options)
        return key.sign_many(messages)

    def load_peer(self, jwk: Mapping[str, Any]) -> X25519PublicKey:
        return X25519PublicKey.from_public_bytes(load_x25519(jwk))

    def derive(self, key: SodiumKey, peer: SodiumPublicKey | X25519PublicKey) -> bytes:
        if isinstance(peer, SodiumPublicKey):
            peer = self.load_peer(self.public_jwk(peer))
        return diffie_hellman(key.x25519.exchange, peer)

    def x25519_pair(self, key: SodiumKey) -> tuple[bytes, bytes]:
        return key.x25519.private_bytes_raw(), key.x25519.public_key().public_bytes_raw()

    def load_box_peer(self, jwk: Mapping[str, Any]) -> bytes:
        return load_x25519(jwk)


def load_x25519(jwk: Mapping[str, Any]) -> bytes:
    """Load a public JWK of X25519, or of Ed25519, which is converted; raises InvalidKey."""
    if jwk.get("crv") != Ed25519.crv:
        return X25519().load_public(jwk).public_bytes_raw()
    require_jwk_type(jwk, Ed25519.kty, Ed25519.crv)
    u = points.ed25519_to_x25519(jwk_bytes(jwk, "x", Ed25519.size))
    if u is None:
        raise InvalidKey("The public key is not a multiple of Ed25519's base point.")
    return u


class Ed448(
    OkpAlgorithm[Ed448PrivateKey, Ed448PublicKey],
    EdDsa[Ed448PrivateKey, Ed448PublicKey],
    Pkcs8KeyAlgorithm[Ed448PrivateKey],
):
    """Ed448 (RFC 8032 section 5.2), not in Askar: 57-byte keys, 114-byte signatures."""

    name, crv, size, multicodec = "ed448", "Ed448", 57, 0x1203
    signing_algs = ("Ed448", "EdDSA")
    private_class, public_class = Ed448PrivateKey, Ed448PublicKey
    spki_class = Ed448PublicKey
    is_public_key = staticmethod(points.is_ed448_point)


class X448(
    OkpAlgorithm[X448PrivateKey, X448PublicKey],
    KeyAgreement[X448PrivateKey, X448PublicKey],
    PycaHpke[X448PrivateKey, X448PublicKey],
    Pkcs8KeyAlgorithm[X448PrivateKey],
):
    """X448 key agreement (RFC 7748 section 6.2), not in Askar: 56-byte keys and secrets."""

    name, crv, size, multicodec = "x448", "X448", 56, 0x1204
    hpke_kem = X448_KEM
    slow = frozenset({"hpke-open"})
    jose_algs = ("ECDH-ES",)
    private_class, public_class = X448PrivateKey, X448PublicKey
    is_public_key = staticmethod(points.is_x448_key)

    def derive(self, key: X448PrivateKey, peer: X448PublicKey) -> bytes:
        return diffie_hellman(key.exchange, peer)
