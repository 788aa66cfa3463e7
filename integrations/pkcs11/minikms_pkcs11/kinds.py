"""Kinds of keys that tokens generate, by the names of Mini KMS's algorithms."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final, TypeAlias

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag

LABEL: Final = "minikms"
"""The CKA_LABEL of both halves of each key pair."""

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

# The private key stays in the token, even if the token's defaults differ.
PROTECTED: Final = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.TOKEN: True}


class Kind(ABC):
    """Keys of one algorithm."""

    making: ClassVar[Mechanism]
    signing: ClassVar[frozenset[Mechanism]]
    bits: int

    def is_offered(self, slot: Any, mechanisms: frozenset[Any]) -> bool:
        """Tell whether a token's mechanisms can generate such keys and sign with them."""
        if not mechanisms >= {self.making, *self.signing}:
            return False
        info = slot.get_mechanism_info(self.making)
        # Some tokens report no sizes.
        return not info.max_key_length or info.min_key_length <= self.bits <= info.max_key_length

    def make(self, session: pkcs11.Session, key_id: bytes) -> tuple[Any, Any]:
        """Generate a key pair in the token; return its public and its private half."""
        halves: tuple[Any, Any] = self._source(session).generate_keypair(
            **self._arguments(),
            id=key_id,
            label=LABEL,
            store=True,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            private_template=PROTECTED,
        )
        return halves

    @abstractmethod
    def public(self, half: Any) -> PublicKey:
        """Read the public key of a public half; raises ValueError if it is malformed."""

    def _source(self, session: pkcs11.Session) -> Any:
        """Return the generator of key pairs: the session, or a curve's domain parameters."""
        return session

    def _arguments(self) -> Mapping[str, Any]:
        return {}


class _Ec(Kind):
    """ECDSA on the curve of an object identifier in DER (RFC 5480 section 2.1.1.1)."""

    making, signing = Mechanism.EC_KEY_PAIR_GEN, frozenset({Mechanism.ECDSA})

    def __init__(self, curve: ec.EllipticCurve, oid: str) -> None:
        self.bits = curve.key_size
        self._curve = curve
        self._oid = bytes.fromhex(oid)

    def public(self, half: Any) -> PublicKey:
        size = 1 + 2 * ((self.bits + 7) // 8)
        return ec.EllipticCurvePublicKey.from_encoded_point(self._curve, _point(half, size))

    def _source(self, session: pkcs11.Session) -> Any:
        return session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: self._oid}, local=True
        )


class _Ed25519(Kind):
    """EdDSA on edwards25519 (PKCS #11 version 3.0; object identifier of RFC 8410)."""

    making, signing = Mechanism.EC_EDWARDS_KEY_PAIR_GEN, frozenset({Mechanism.EDDSA})
    bits = 255

    def is_offered(self, slot: Any, mechanisms: frozenset[Any]) -> bool:
        return mechanisms >= {self.making, *self.signing}  # tokens disagree on the size

    def public(self, half: Any) -> PublicKey:
        return ed25519.Ed25519PublicKey.from_public_bytes(_point(half, 32))

    def _source(self, session: pkcs11.Session) -> Any:
        return session.create_domain_parameters(
            KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: bytes.fromhex("06032b6570")}, local=True
        )


class _Rsa(Kind):
    """RSA with the exponent 65537."""

    making = Mechanism.RSA_PKCS_KEY_PAIR_GEN
    signing = frozenset({Mechanism.RSA_PKCS, Mechanism.RSA_PKCS_PSS})

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def public(self, half: Any) -> PublicKey:
        exponent, modulus = half[Attribute.PUBLIC_EXPONENT], half[Attribute.MODULUS]
        numbers = rsa.RSAPublicNumbers(
            int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")
        )
        return numbers.public_key()

    def _arguments(self) -> Mapping[str, Any]:
        return {"key_type": KeyType.RSA, "key_length": self.bits}


KINDS: Final[Mapping[str, Kind]] = {
    "p256": _Ec(ec.SECP256R1(), "06082a8648ce3d030107"),
    "p384": _Ec(ec.SECP384R1(), "06052b81040022"),
    "p521": _Ec(ec.SECP521R1(), "06052b81040023"),
    "k256": _Ec(ec.SECP256K1(), "06052b8104000a"),
    "ed25519": _Ed25519(),
    "rsa2048": _Rsa(2048),
    "rsa3072": _Rsa(3072),
    "rsa4096": _Rsa(4096),
}


def _point(half: Any, size: int) -> bytes:
    """Parse CKA_EC_POINT: an OCTET STRING in DER, or in some tokens only its content."""
    point: bytes = half[Attribute.EC_POINT]
    if len(point) == size:
        return point
    head = b"\x04" + (bytes([size]) if size < 0x80 else bytes([0x81, size]))
    if point[: len(head)] != head or len(point) != len(head) + size:
        raise ValueError("The token's public key is not a point.")
    return point[len(head) :]
