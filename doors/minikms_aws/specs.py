"""AWS's key specs and algorithms, and the algorithms here; public keys in DER as JWKs."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc.jwk import ECKey

from minikms.doors import AlgorithmRegistry, KeyRecord
from minikms.doors.operations import SignOptions
from minikms_aws.errors import invalid, unsupported

SIGN_VERIFY: Final = "SIGN_VERIFY"
ENCRYPT_DECRYPT: Final = "ENCRYPT_DECRYPT"
GENERATE_VERIFY_MAC: Final = "GENERATE_VERIFY_MAC"
KEY_AGREEMENT: Final = "KEY_AGREEMENT"
ENCAPSULATE_DECAPSULATE: Final = "ENCAPSULATE_DECAPSULATE"

OPERATIONS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    SIGN_VERIFY: ("sign", "verify"),
    ENCRYPT_DECRYPT: ("encrypt", "decrypt"),
    GENERATE_VERIFY_MAC: ("mac", "mac-verify"),
    KEY_AGREEMENT: ("derive",),
    ENCAPSULATE_DECAPSULATE: ("decapsulate",),
}
"""The `operations` of a key for each usage; the first usage applies if several match."""
KEY_USAGES: Final = tuple(OPERATIONS_OF)

KEY_SPECS: Final = (
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
)
"""All key specs of AWS, in AWS's order; `Specs` has the supported ones."""
SIGNING_ALGORITHMS: Final = (
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "ECDSA_SHA_256",
    "ECDSA_SHA_384",
    "ECDSA_SHA_512",
    "SM2DSA",
    "ML_DSA_SHAKE_256",
    "ED25519_SHA_512",
    "ED25519_PH_SHA_512",
)
ENCRYPTION_ALGORITHMS: Final = (
    "SYMMETRIC_DEFAULT",
    "RSAES_OAEP_SHA_1",
    "RSAES_OAEP_SHA_256",
    "SM2PKE",
)
MAC_ALGORITHMS: Final = ("HMAC_SHA_224", "HMAC_SHA_256", "HMAC_SHA_384", "HMAC_SHA_512")
RAW: Final = "RAW"
DIGEST: Final = "DIGEST"
EXTERNAL_MU: Final = "EXTERNAL_MU"
MESSAGE_TYPES: Final = (RAW, DIGEST, EXTERNAL_MU)

MAX_PLAINTEXT: Final = 4096
MAX_CIPHERTEXT: Final = 6144
"""Bytes of a ciphertext, a signature or a MAC."""
MAX_PUBLIC_KEY: Final = 8192

SYMMETRIC_DEFAULT: Final = "SYMMETRIC_DEFAULT"


class Signing(NamedTuple):
    """The options for one of AWS's signing algorithms.

    `types` has the options of each message type. If the message is a digest, it has `digest` bytes.
    """

    types: Mapping[str, SignOptions]
    digest: int = 0


def _hashing(jose: str, bits: int, encoding: Literal["raw", "der"] = "raw") -> Signing:
    """Sign messages, or their digests of `bits` bits."""
    types = {RAW: SignOptions(jose, encoding), DIGEST: SignOptions(jose, encoding, prehashed=True)}
    return Signing(types, bits // 8)


class KeySpec(NamedTuple):
    """One of AWS's key specs, and its algorithm here.

    `algorithms` has AWS's algorithms for each usage that its keys may have.
    """

    name: str
    alg: str
    algorithms: Mapping[str, tuple[str, ...]]
    signing: Mapping[str, Signing] = MappingProxyType({})
    """The options for each of AWS's signing algorithms."""
    absent: tuple[str, ...] = ()
    """Algorithms of such keys that AWS supports, but Mini KMS does not."""
    most: int = MAX_PLAINTEXT
    """Bytes of the longest plaintext that such a key encrypts."""

    def usage_of(self, record: KeyRecord) -> str | None:
        """Return the usage of a key by its operations; None if AWS has no such usage."""
        for usage, operations in OPERATIONS_OF.items():
            if not set(operations).isdisjoint(record.operations):
                return usage if usage in self.algorithms else None
        return None

    def listed(self, usage: str) -> dict[str, list[str]]:
        """Return the algorithms for a usage, as members of answers."""
        return {_MEMBERS[usage]: list(self.algorithms[usage])}


class Specs:
    """Key specs whose algorithm is installed."""

    def __init__(self, registry: AlgorithmRegistry) -> None:
        there = {entry.algorithm.name for entry in registry}
        self._by_name = {spec.name: spec for spec in _all() if spec.alg in there}
        self._by_alg = {spec.alg: spec for spec in self._by_name.values()}

    def get(self, name: str) -> KeySpec:
        """Find a key spec by its name; raises UnsupportedOperationException."""
        spec = self._by_name.get(name)
        if spec is None:
            raise unsupported(f"KeySpec {name}")
        return spec

    def of(self, record: KeyRecord) -> KeySpec | None:
        """Find the key spec of a key; None if AWS has none."""
        return self._by_alg.get(record.alg)


_MEMBERS: Final[Mapping[str, str]] = {
    SIGN_VERIFY: "SigningAlgorithms",
    ENCRYPT_DECRYPT: "EncryptionAlgorithms",
    GENERATE_VERIFY_MAC: "MacAlgorithms",
    KEY_AGREEMENT: "KeyAgreementAlgorithms",
    ENCAPSULATE_DECAPSULATE: "EncapsulationAlgorithms",
}
_RSA_SIGNING: Final = {
    f"RSASSA_{scheme}_SHA_{bits}": _hashing(f"{jose}{bits}", bits)
    for scheme, jose in (("PKCS1_V1_5", "RS"), ("PSS", "PS"))
    for bits in (256, 384, 512)
}


def _all() -> Iterator[KeySpec]:
    for size in (2048, 3072, 4096):
        algorithms = {SIGN_VERIFY: tuple(_RSA_SIGNING), ENCRYPT_DECRYPT: ("RSAES_OAEP_SHA_256",)}
        absent = ("RSAES_OAEP_SHA_1",)
        most = size // 8 - 2 * 32 - 2  # RFC 8017 section 7.1.1, with SHA-256
        yield KeySpec(f"RSA_{size}", f"rsa{size}", algorithms, _RSA_SIGNING, absent, most)
    for name, alg, jose, bits in (
        ("ECC_NIST_P256", "p256", "ES256", 256),
        ("ECC_NIST_P384", "p384", "ES384", 384),
        ("ECC_NIST_P521", "p521", "ES512", 512),
        ("ECC_SECG_P256K1", "k256", "ES256K", 256),
    ):
        signing = {f"ECDSA_SHA_{bits}": _hashing(jose, bits, "der")}
        algorithms = {SIGN_VERIFY: tuple(signing)}
        if name != "ECC_SECG_P256K1":
            algorithms[KEY_AGREEMENT] = ("ECDH",)
        yield KeySpec(name, alg, algorithms, signing)
    pure = {"ED25519_SHA_512": Signing({RAW: SignOptions()})}
    absent = ("ED25519_PH_SHA_512",)
    yield KeySpec("ECC_NIST_EDWARDS25519", "ed25519", {SIGN_VERIFY: tuple(pure)}, pure, absent)
    for size in (44, 65, 87):
        types = {RAW: SignOptions(), EXTERNAL_MU: SignOptions(prehashed=True)}
        pure = {"ML_DSA_SHAKE_256": Signing(types, 64)}  # FIPS 204 section 6.2
        yield KeySpec(f"ML_DSA_{size}", f"mldsa{size}", {SIGN_VERIFY: tuple(pure)}, pure)
    for size in (768, 1024):
        algorithms = {ENCAPSULATE_DECAPSULATE: ("ML_KEM",)}
        yield KeySpec(f"ML_KEM_{size}", f"mlkem{size}", algorithms)
    for size in (256, 384, 512):
        algorithms = {GENERATE_VERIFY_MAC: (f"HMAC_SHA_{size}",)}
        yield KeySpec(f"HMAC_{size}", f"hs{size}", algorithms)
    yield KeySpec(SYMMETRIC_DEFAULT, "a256gcm", {ENCRYPT_DECRYPT: (SYMMETRIC_DEFAULT,)})


def jwk_of(spki: bytes) -> dict[str, Any]:
    """Return the JWK of an EC public key in DER; raises ValidationException."""
    try:
        key = ser.load_der_public_key(spki)
        if isinstance(key, ec.EllipticCurvePublicKey):
            return ECKey.import_key(spki).as_dict(private=False)
    # pyca/cryptography may not support the kind of key, nor joserfc the curve.
    except (ValueError, UnsupportedAlgorithm, KeyError):
        pass
    raise invalid("PublicKey is not an EC public key in DER.")
