"""A key of the service, as PKCS#11 needs to know it."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from minikms_p11.algorithms import ALGORITHMS, CURVES_BY_NAME, Algorithm

# Labels of a key with values that a program set in place of its kid and its alias.
ID_LABEL: Final = "pkcs11.id"  # CKA_ID, in hexadecimal
NAME_LABEL: Final = "pkcs11.label"  # CKA_LABEL
SESSION_LABEL: Final = "pkcs11.session"  # of a key pair that is deleted with its session

# The form of both an alias and the value of NAME_LABEL.
NAME: Final = re.compile(r"[^\0-\x1f\x7f-\x9f]{1,4096}")
LONGEST_ID: Final = 4096  # bytes of the longest CKA_ID: a label has at most 8,192 characters

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey


def unbase64(text: str) -> bytes:
    """Decode base64url, with or without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def base64url(data: bytes) -> str:
    """Encode bytes as the service takes them."""
    return base64.urlsafe_b64encode(data).decode()


@dataclass(frozen=True)
class Key:
    """A key of the service: what its key object says."""

    kid: str
    algorithm: Algorithm
    jwk: Mapping[str, str] | None
    aliases: tuple[str, ...]
    labels: Mapping[str, str]
    operations: frozenset[str]
    enabled: bool
    begun: bool  # False for a next key, which only verifies
    imported: bool
    raw: bool  # if its rules allow raw signatures
    certificates: tuple[bytes, ...]  # in DER, its own first

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self | None:
        """Read a key object; None for a key that is not shown."""
        algorithm = ALGORITHMS.get(record["alg"])
        if algorithm is None or record["state"] == "disabled" or "installed" in record:
            return None
        rules = record.get("rules") or {}
        return cls(
            kid=record["kid"],
            algorithm=algorithm,
            jwk=record["jwk"],
            aliases=tuple(record["aliases"]),
            labels=record["labels"],
            operations=frozenset(record["operations"]),
            enabled=record["state"] == "enabled",
            begun=record["state"] != "next",
            imported=bool(record.get("imported")),
            raw=rules.get("raw", "jws" not in rules),
            certificates=tuple(map(base64.b64decode, record.get("certificates", ()))),
        )

    @property
    def is_session_key(self) -> bool:
        return SESSION_LABEL in self.labels

    @property
    def has_private_object(self) -> bool:
        """Whether the private key of a pair has operations; an imported public key has none."""
        return not self.operations.isdisjoint({"sign", "derive", "decrypt"})

    @property
    def may_sign(self) -> bool:
        """If it makes signatures, or MACs, over any bytes."""
        return self.enabled and self.raw and not self.operations.isdisjoint({"sign", "mac"})

    @property
    def may_decrypt(self) -> bool:
        return self.begun and "decrypt" in self.operations

    @property
    def may_derive(self) -> bool:
        return self.enabled and self.raw and "derive" in self.operations

    @property
    def id(self) -> bytes:
        """CKA_ID."""
        own = self.labels.get(ID_LABEL)
        try:
            return self.kid.encode() if own is None else bytes.fromhex(own)
        except ValueError:  # a label that somebody else wrote
            return self.kid.encode()

    @property
    def names(self) -> tuple[str, ...]:
        """All that CKA_LABEL of a search may say, the label that it has first."""
        own = self.labels.get(NAME_LABEL)
        return (*self.aliases, *(() if own is None else (own,)), self.kid)

    @cached_property
    def public_key(self) -> PublicKey | None:
        """The public key, None for a secret."""
        return None if self.jwk is None else public_key_of(self.jwk)

    @cached_property
    def parsed(self) -> tuple[x509.Certificate, ...]:
        """Its certificates."""
        return tuple(map(x509.load_der_x509_certificate, self.certificates))


def public_key_of(jwk: Mapping[str, str]) -> PublicKey:
    """The public key of a JWK of the service (RFC 7518 section 6, RFC 8037)."""
    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(_number(jwk["e"]), _number(jwk["n"])).public_key()
    if jwk["kty"] == "OKP":
        return ed25519.Ed25519PublicKey.from_public_bytes(unbase64(jwk["x"]))
    curve = CURVES_BY_NAME[jwk["crv"]].implementation
    return ec.EllipticCurvePublicNumbers(_number(jwk["x"]), _number(jwk["y"]), curve).public_key()


def point_of(key: PublicKey) -> bytes:
    """The point of a key on a curve: uncompressed (SEC 1 section 2.3.3), or of Ed25519."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key.public_bytes_raw()
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _number(text: str) -> int:
    return int.from_bytes(unbase64(text))
