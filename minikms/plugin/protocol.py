"""The protocol of key algorithms: their facts, their methods, and their capabilities.

The classes are generic in the type of a key, so that a type checker checks an author's class:
`Aead[AesKey]`. A key pair has two types, for the private and the public key, which may be the
same: `Signer[Ed448PrivateKey, Ed448PublicKey]`. Without type parameters keys are `Any`.

The file is over 300 lines: an algorithm's operations follow from the list of all capabilities, and
most capabilities are algorithms with a key pair, so neither can be in a file without the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar

from aries_askar import Key as AskarKey

from minikms.errors import UnsupportedOperation
from minikms.plugin.cose import cose_algs_of

Stored: TypeAlias = AskarKey | bytes
"""Key material in the store: an Askar key, or bytes, which Askar encrypts."""

API_VERSION: Final = 2
"""The version of `minikms.plugin`: 1 in Mini KMS 0.1 and 0.2, 2 since 0.3."""

CapabilityT = TypeVar("CapabilityT", bound="Capability")
KeyT = TypeVar("KeyT")
"""A key; of a key pair, the private one."""
PublicT = TypeVar("PublicT")
"""The public key of a key pair."""

# RFC 7518 section 4.6, draft-madden-jose-ecdh-1pu-04 section 2.
_AGREEMENT_ALGS: Final = tuple(
    f"{agreement}{wrap}"
    for agreement in ("ECDH-ES", "ECDH-1PU")
    for wrap in ("", "+A128KW", "+A192KW", "+A256KW")
)


class KeyAlgorithm(ABC, Generic[KeyT]):
    """One key algorithm: its facts, and the making and storing of its keys.

    A key is any object: the service only hands it back. Methods are synchronous, do no I/O, change
    no key, and may be called in several threads at once on one key.
    """

    api_version: ClassVar[int] = 1
    """The API_VERSION that the class was written for; an older service refuses the class."""
    name: ClassVar[str]
    """Canonical name: lower-case letters and digits."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other names. Like `name`, they match without case, hyphens and underscores."""
    kty: ClassVar[str]
    """The JWK key type (RFC 7518 section 6.1)."""
    jose_algs: ClassVar[tuple[str, ...]] = ()
    """JOSE `alg` and `enc` values of its uses besides signing (RFC 7518, RFC 8037)."""
    crv: ClassVar[str | None] = None
    """The JWK curve, if its `kty` has curves (RFC 7518 section 6.2.1.1, RFC 8037)."""
    multicodec: ClassVar[int | None] = None
    """Multicodec code of its public key, if it has one."""
    did_key: ClassVar[bool] = False
    """True if the did:key method defines its multicodec."""
    slow: ClassVar[frozenset[str]] = frozenset()
    """Operations, and "generate", "import" and "export", that run in a thread.

    Each takes several times the 90 µs that a thread costs. "import" is every way to import."""
    opt_in: ClassVar[frozenset[str]] = frozenset()
    """The `key_operations` that a key has only if its maker named them.

    They are a second use of one key, which most keys should not have."""

    @abstractmethod
    def generate(self) -> KeyT:
        """Make a new key from the randomness of the system."""

    @abstractmethod
    def pack(self, key: KeyT) -> Stored:
        """The stored form of `key`."""

    @abstractmethod
    def unpack(self, stored: Stored) -> KeyT:
        """The key that `pack` made `stored` from."""

    def memory_of(self, key: Any) -> int:
        """Bytes that a private or public key in use takes in memory, for the cache; at most."""
        return 64 * 1024

    def owns_jwk(self, jwk: Mapping[str, Any]) -> bool:
        """Tell whether a JWK, valid or not, is meant for this algorithm: by `kty` and `crv`."""
        return jwk.get("kty") == self.kty and jwk.get("crv") == self.crv

    @property
    def operations(self) -> tuple[str, ...]:
        """Its operations, as the API names them, from the capabilities that its class inherits."""
        return tuple(op for cap in CAPABILITIES if isinstance(self, cap) for op in cap.grants)

    @cached_property
    def key_operations(self) -> tuple[str, ...]:
        """The operations of one of its keys: `operations` without the ways to import."""
        return tuple(op for op in self.operations if op in KEY_OPERATIONS)

    @property
    def public_operations(self) -> tuple[str, ...]:
        """The `key_operations` that need only a public key."""
        return tuple(
            op for cap in CAPABILITIES if isinstance(self, cap) for op in cap.public_grants
        )

    def require(self, capability: type[CapabilityT]) -> CapabilityT:
        """The algorithm, typed as `capability`; raises UnsupportedOperation if it lacks it."""
        if isinstance(self, capability):
            return self
        can = ", ".join(self.operations) or "nothing but keep keys"
        wants = ", ".join(capability.grants)
        raise UnsupportedOperation(f"{self.name} cannot {wants}; it can: {can}.")


class KeyPairAlgorithm(KeyAlgorithm[KeyT], Generic[KeyT, PublicT]):
    """An algorithm whose keys have a public part.

    `public_jwk` and `public_bytes` take a private key, or a public one that `load_public` gave.
    """

    @abstractmethod
    def public_jwk(self, key: KeyT | PublicT) -> dict[str, str]:
        """The public JWK of `key`: no private member, no `kid` (RFC 7517)."""

    @abstractmethod
    def public_bytes(self, key: KeyT | PublicT) -> bytes:
        """The bytes of the public key, as its multicodec has them.

        Raw for OKP and AKP, the compressed point for EC (SEC 1), PKCS #1 for RSA.
        """

    @abstractmethod
    def load_public(self, jwk: Mapping[str, Any]) -> PublicT:
        """The public key of a public JWK; raises InvalidKey for any other JWK."""


class Capability(ABC):
    """A capability of an algorithm, declared by inheriting the class."""

    grants: ClassVar[tuple[str, ...]]
    """Its operations, as the API names them."""
    public_grants: ClassVar[tuple[str, ...]] = ()
    """The operations that need only a public key."""
    # Each algorithm sets it, for all of its capabilities.
    slow: ClassVar[frozenset[str]]


@dataclass(frozen=True, slots=True)
class SignatureOptions:
    """The form of a signature; a later version may have more fields, each with a default.

    `alg` is one of `signing_algs`, empty if the algorithm has none. If `prehashed`, the message is
    the digest that `alg` would make (of ML-DSA mu, FIPS 204 section 6.2).

    `hash` is one of `signing_hashes`, and replaces the hash of `alg`; with "none", the message
    itself is signed instead of a digest. `salt_length` is for RSA-PSS: bytes, or "auto" for the
    longest when signing and any when verifying; None is the length of the hash.
    """

    alg: str = ""
    prehashed: bool = False
    hash: str | None = None
    salt_length: int | Literal["auto"] | None = None


class Signer(KeyPairAlgorithm[KeyT, PublicT], Capability):
    """Signs with a private key, verifies with a public one."""

    grants: ClassVar[tuple[str, ...]] = ("sign", "verify")
    public_grants: ClassVar[tuple[str, ...]] = ("verify",)
    signing_algs: ClassVar[tuple[str, ...]]
    """JOSE `alg` values of its signatures (RFC 7518, RFC 8037), the default first; empty if JOSE
    has none."""
    signing_hashes: ClassVar[tuple[str, ...]] = ()
    """The values of `SignatureOptions.hash` that it takes; without any, `alg` decides the hash."""

    @property
    def jws_algs(self) -> tuple[str, ...]:
        """The JOSE `alg` values of a JWS by one of its keys, the default first."""
        return self.signing_algs

    @cached_property
    def cose_algs(self) -> Mapping[int, str]:
        """The COSE `alg` numbers of its signatures, the default first, each with its JOSE `alg`.

        By default, the numbers of `jws_algs`. A number without a JOSE name maps to the empty text.
        """
        return cose_algs_of(self.jws_algs)

    @abstractmethod
    def sign(self, key: KeyT, message: bytes, options: SignatureOptions) -> bytes:
        """The signature over `message`, in JOSE's form (ECDSA: r‖s).

        Raises UnsupportedOption if `alg` has no such form.
        """

    def sign_many(
        self, key: KeyT, messages: Sequence[bytes], options: SignatureOptions
    ) -> list[bytes]:
        """The signature over each message, as `sign` makes it; raises the first error of `sign`.

        Override it if a library makes many with less work than one by one.
        """
        return [self.sign(key, message, options) for message in messages]

    @abstractmethod
    def verify(
        self, public: PublicT, message: bytes, signature: bytes, options: SignatureOptions
    ) -> bool:
        """Tell whether `signature` is valid; for a wrong length, return False without an error."""


class EcdsaSigner(Signer[KeyT, PublicT]):
    """A signer whose signatures are a pair (r, s), with a DER form (RFC 3279 section 2.2.3)."""

    @abstractmethod
    def to_der(self, signature: bytes) -> bytes:
        """The DER form of a signature r‖s that `sign` made."""

    @abstractmethod
    def from_der(self, der: bytes) -> bytes:
        """The form r‖s of a DER signature; raises ValueError for invalid DER."""


class Mac(Capability, Generic[KeyT]):
    """Makes and checks message authentication codes."""

    grants: ClassVar[tuple[str, ...]] = ("mac", "mac-verify")
    # Each algorithm sets it, for all of its capabilities.
    jose_algs: ClassVar[tuple[str, ...]]

    @property
    def jws_algs(self) -> tuple[str, ...]:
        """The JOSE `alg` values of a JWS by one of its keys, the default first."""
        return self.jose_algs

    @cached_property
    def cose_algs(self) -> Mapping[int, str]:
        """The COSE `alg` numbers of its codes, the default first, each with its JOSE `alg`.

        By default, the numbers of `jws_algs`.
        """
        return cose_algs_of(self.jws_algs)

    @abstractmethod
    def mac(self, key: KeyT, message: bytes) -> bytes:
        """The authentication code of `message`."""

    @abstractmethod
    def verify_mac(self, key: KeyT, message: bytes, mac: bytes) -> bool:
        """Tell whether `mac` is the authentication code of `message`, in constant time."""

    def hmac_secret(self, key: KeyT) -> bytes | None:
        """The secret of an HMAC key, which may also be used with other hashes; None by default."""
        return None


class Jwe(Capability):
    """Opens JWEs with its keys, and makes them (RFC 7516).

    `Aead`, `PublicKeyEncryption`, `KeyWrap` and `KeyAgreement` inherit it, and an algorithm gets it
    through one of them.
    """

    grants: ClassVar[tuple[str, ...]] = ("jwe-encrypt", "jwe-decrypt")
    # Each algorithm sets it, for all of its capabilities.
    jose_algs: ClassVar[tuple[str, ...]]

    @property
    def jwe_algs(self) -> tuple[str, ...]:
        """The JOSE `alg` values of a JWE for one of its keys."""
        return self.jose_algs

    @property
    def jwe_work(self) -> Mapping[str, str]:
        """The slowest operation of each `alg`; if it is slow, so is the JWE."""
        return {}


class Sealed(NamedTuple):
    """The result of authenticated encryption."""

    ciphertext: bytes
    nonce: bytes
    tag: bytes


class Aead(Jwe, Generic[KeyT]):
    """Authenticated encryption with associated data (RFC 5116).

    `jose_algs` has the JOSE `enc` that it is, if there is one.
    """

    grants: ClassVar[tuple[str, ...]] = ("encrypt", "decrypt")

    @property
    def jwe_algs(self) -> tuple[str, ...]:
        return ("dir",)

    @property
    def jwe_work(self) -> Mapping[str, str]:
        return {"jwe-encrypt": "encrypt", "jwe-decrypt": "decrypt"}

    @abstractmethod
    def encrypt(self, key: KeyT, plaintext: bytes, aad: bytes) -> Sealed:
        """`plaintext`, encrypted with a new random nonce, and authenticated with `aad`."""

    @abstractmethod
    def decrypt(self, key: KeyT, sealed: Sealed, aad: bytes) -> bytes:
        """The plaintext; raises DecryptionFailed for any mismatch, without a reason."""


class PublicKeyEncryption(KeyPairAlgorithm[KeyT, PublicT], Jwe):
    """Encrypts short plaintexts to a public key, decrypts them with the private one.

    `jose_algs` has its JOSE names; a JWK that is bound to another `alg` is refused.
    """

    grants: ClassVar[tuple[str, ...]] = ("encrypt", "decrypt")
    public_grants: ClassVar[tuple[str, ...]] = ("encrypt",)

    @property
    def jwe_work(self) -> Mapping[str, str]:
        return {"jwe-encrypt": "encrypt", "jwe-decrypt": "decrypt"}

    @abstractmethod
    def encrypt(self, public: PublicT, plaintext: bytes) -> bytes:
        """The ciphertext; raises ValidationFailed for a plaintext that is too long."""

    @abstractmethod
    def decrypt(self, key: KeyT, ciphertext: bytes) -> bytes:
        """The plaintext; raises DecryptionFailed for any mismatch, without a reason."""


class KeyWrap(Jwe, Generic[KeyT]):
    """Wraps keys with a key.

    `jose_algs` has the JOSE `alg` that it is, if there is one.
    """

    grants: ClassVar[tuple[str, ...]] = ("wrap", "unwrap")

    @property
    def jwe_work(self) -> Mapping[str, str]:
        return {"jwe-encrypt": "wrap", "jwe-decrypt": "unwrap"}

    @abstractmethod
    def wrap(self, key: KeyT, secret: bytes) -> bytes:
        """`secret` wrapped; raises InvalidKey if it is too short to be a key."""

    @abstractmethod
    def unwrap(self, key: KeyT, wrapped: bytes) -> bytes:
        """The secret in `wrapped`; raises DecryptionFailed for any mismatch."""


class KeyAgreement(KeyPairAlgorithm[KeyT, PublicT], Jwe):
    """Agrees on a secret with a peer's public key.

    On any curve it brings ECDH-ES and ECDH-1PU: a JWE uses the secret of `derive` and a new key of
    `generate`, whose public JWK is the `epk`.
    """

    grants: ClassVar[tuple[str, ...]] = ("derive",)

    @property
    def jwe_algs(self) -> tuple[str, ...]:
        return _AGREEMENT_ALGS

    @property
    def jwe_work(self) -> Mapping[str, str]:
        return {"jwe-encrypt": "derive", "jwe-decrypt": "derive"}

    def load_peer(self, jwk: Mapping[str, Any]) -> Any:
        """The public key of a peer's JWK, for `derive`; raises InvalidKey.

        By default `load_public`. Override it if keys agree with keys of another type.
        """
        return self.load_public(jwk)

    @abstractmethod
    def derive(self, key: KeyT, peer: PublicT) -> bytes:
        """The raw shared secret with `peer`, a public key that `load_peer` gave.

        Raises InvalidKey for a point of low order (RFC 7748 section 6.1). The caller applies
        a key derivation function.
        """


class Boxed(NamedTuple):
    """The result of a box."""

    ciphertext: bytes
    nonce: bytes


class Box(KeyPairAlgorithm[KeyT, PublicT], Capability):
    """Authenticated encryption from one key pair to another (NaCl's crypto_box).

    A sealed box needs no key of its sender, and does not name the sender.
    """

    grants: ClassVar[tuple[str, ...]] = ("box", "box-open")

    def load_box_peer(self, jwk: Mapping[str, Any]) -> Any:
        """The public key of a peer's JWK, for boxes; raises InvalidKey.

        By default `load_public`. Override it if boxes are for keys of another type.
        """
        return self.load_public(jwk)

    @abstractmethod
    def box(self, key: KeyT, peer: Any, plaintext: bytes) -> Boxed:
        """`plaintext`, encrypted from `key` to `peer` with a new random nonce."""

    @abstractmethod
    def open_box(self, key: KeyT, peer: Any, boxed: Boxed) -> bytes:
        """The plaintext of a box from `peer`; raises DecryptionFailed for any mismatch."""

    @abstractmethod
    def seal(self, peer: Any, plaintext: bytes) -> bytes:
        """`plaintext`, encrypted to `peer` by a new key that is then forgotten."""

    @abstractmethod
    def open_sealed(self, key: KeyT, ciphertext: bytes) -> bytes:
        """The plaintext of a sealed box; raises DecryptionFailed for any mismatch."""


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """A new secret, and the ciphertext that it travels in."""

    ciphertext: bytes
    secret: bytes = field(repr=False)


class Kem(KeyPairAlgorithm[KeyT, PublicT], Capability):
    """Encapsulates new secrets to a public key (FIPS 203 section 3)."""

    grants: ClassVar[tuple[str, ...]] = ("decapsulate",)

    @abstractmethod
    def encapsulate(self, public: PublicT) -> Encapsulated:
        """A new secret, uniformly random, and its ciphertext."""

    @abstractmethod
    def decapsulate(self, key: KeyT, ciphertext: bytes) -> bytes:
        """The secret of `ciphertext`; raises DecryptionFailed if its length is wrong.

        One of the right length that does not fit may give another secret: implicit rejection.
        """


HPKE_KDFS: Final = ("HKDF-SHA256", "HKDF-SHA384", "HKDF-SHA512")
"""Key derivation functions of HPKE, the default first (RFC 9180 section 7.2)."""
HPKE_AEADS: Final = ("AES-128-GCM", "AES-256-GCM", "ChaCha20Poly1305")
"""Ciphers of HPKE, the default first (RFC 9180 section 7.3)."""


@dataclass(frozen=True, slots=True)
class HpkeOptions:
    """The parameters that both sides of HPKE agree on besides the key.

    `kdf` is one of HPKE_KDFS, `aead` one of HPKE_AEADS; `info` and `aad` are bound to the message.
    `aad` is empty unless the algorithm has `hpke_aad`.
    """

    kdf: str = HPKE_KDFS[0]
    aead: str = HPKE_AEADS[0]
    info: bytes = b""
    aad: bytes = b""


class HpkeSealed(NamedTuple):
    """The result of HPKE: the encapsulated key, and the ciphertext with its tag."""

    enc: bytes
    ciphertext: bytes


class Hpke(KeyPairAlgorithm[KeyT, PublicT], Capability):
    """Encrypts single messages to a public key (HPKE in its base mode, RFC 9180 section 6.1)."""

    grants: ClassVar[tuple[str, ...]] = ("hpke-open",)

    hpke_aad: ClassVar[bool] = False
    """Whether it authenticates `HpkeOptions.aad`."""

    @abstractmethod
    def hpke_seal(self, public: PublicT, plaintext: bytes, options: HpkeOptions) -> HpkeSealed:
        """`plaintext`, encrypted under a new encapsulated key."""

    @abstractmethod
    def hpke_open(self, key: KeyT, sealed: HpkeSealed, options: HpkeOptions) -> bytes:
        """The plaintext; raises DecryptionFailed for any mismatch, without a reason."""


class JwkImporter(Capability, Generic[KeyT]):
    """Imports and exports private keys as JWK (RFC 7517)."""

    grants: ClassVar[tuple[str, ...]] = ("import-jwk",)

    @abstractmethod
    def import_jwk(self, jwk: Mapping[str, Any]) -> KeyT:
        """The key of a private JWK; raises InvalidKey, also if its two parts do not match."""

    @abstractmethod
    def export_jwk(self, key: KeyT) -> dict[str, str]:
        """The private JWK of `key`."""


class SecretImporter(Capability, Generic[KeyT]):
    """Imports keys as their secret bytes."""

    grants: ClassVar[tuple[str, ...]] = ("import-secret",)

    @abstractmethod
    def import_secret(self, secret: bytes) -> KeyT:
        """The key of these secret bytes; raises InvalidKey if they are not a key."""


class SeedImporter(Capability, Generic[KeyT]):
    """Imports keys as the seed that the specification of the algorithm expands."""

    grants: ClassVar[tuple[str, ...]] = ("import-seed",)

    @abstractmethod
    def import_seed(self, seed: bytes) -> KeyT:
        """The key of `seed`; raises InvalidKey if its length is wrong."""


_KEY_CAPABILITIES: Final[tuple[type[Capability], ...]] = (
    Signer,
    Mac,
    Aead,
    PublicKeyEncryption,
    KeyWrap,
    KeyAgreement,
    Jwe,
    Box,
    Kem,
    Hpke,
)
CAPABILITIES: Final[tuple[type[Capability], ...]] = (
    *_KEY_CAPABILITIES,
    JwkImporter,
    SecretImporter,
    SeedImporter,
)
KEY_OPERATIONS: Final = tuple(dict.fromkeys(op for cap in _KEY_CAPABILITIES for op in cap.grants))
"""Every operation of keys, as the API names them."""
