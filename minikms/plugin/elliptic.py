"""Bases for algorithms on an elliptic curve: ECDSA and ECDH (RFC 7518 sections 3.4 and 6.2)."""

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, utils

from minikms.encodings import jose_b64url
from minikms.errors import InvalidKey, ValidationFailed
from minikms.plugin.hashing import HASHES, NO_HASH, SIGNING_HASHES
from minikms.plugin.jwk import jwk_bytes, require_jwk_type
from minikms.plugin.protocol import (
    EcdsaSigner,
    JwkImporter,
    KeyAgreement,
    KeyT,
    PublicT,
    SecretImporter,
    SignatureOptions,
)
from minikms.plugin.provider import ProviderSigner, Scheme
from minikms.plugin.pyca import public_of, read_spki

Hash: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512

# Options for a digest made by `fitted_digest`.
_FITTED: Final = SignatureOptions(prehashed=True)


class EcKeyPair(
    EcdsaSigner[KeyT, PublicT],
    ProviderSigner[KeyT, PublicT],
    KeyAgreement[KeyT, PublicT],
    JwkImporter[KeyT],
    SecretImporter[KeyT],
):
    """ECDSA and ECDH on a curve, with keys of any library.

    Signatures are r‖s, each as long as the field.
    """

    kty = "EC"
    jose_algs = ("ECDH-ES",)
    did_key = True
    crv: ClassVar[str]
    curve: ClassVar[ec.EllipticCurve]
    hash: ClassVar[Hash]

    @abstractmethod
    def point(self, key: KeyT | PublicT, *, compressed: bool) -> bytes:
        """Encode the public point of `key` (SEC 1 section 2.3.3)."""

    @abstractmethod
    def from_point(self, point: bytes) -> PublicT:
        """Load the public key of an encoded point; raises ValueError if it is not on the curve."""

    @abstractmethod
    def from_secret(self, secret: bytes) -> KeyT:
        """Load the private key of a scalar; raises ValueError if it is out of range."""

    @abstractmethod
    def secret_bytes(self, key: KeyT) -> bytes:
        """Return the scalar, as long as the field (RFC 7518 section 6.2.2.1)."""

    @property
    def size(self) -> int:
        """The size in bytes of a coordinate, and of each half of a signature."""
        return (self.curve.key_size + 7) // 8

    def public_bytes(self, key: KeyT | PublicT) -> bytes:
        return self.point(key, compressed=True)

    def public_jwk(self, key: KeyT | PublicT) -> dict[str, str]:
        point = self.point(key, compressed=False)
        x, y = point[1 : 1 + self.size], point[1 + self.size :]
        return {"kty": self.kty, "crv": self.crv, "x": jose_b64url(x), "y": jose_b64url(y)}

    def load_public(self, jwk: Mapping[str, Any]) -> PublicT:
        require_jwk_type(jwk, self.kty, self.crv)
        x, y = self._number(jwk, "x"), self._number(jwk, "y")
        try:
            return self.from_point(b"\x04" + x + y)
        except ValueError:
            raise InvalidKey(f"The point is not on {self.crv}.") from None

    def import_jwk(self, jwk: Mapping[str, Any]) -> KeyT:
        require_jwk_type(jwk, self.kty, self.crv)
        key = self.import_secret(self._number(jwk, "d"))
        given = b"\x04" + self._number(jwk, "x") + self._number(jwk, "y")
        if given != self.point(key, compressed=False):
            raise InvalidKey("The JWK's private part does not fit its public part.")
        return key

    def export_jwk(self, key: KeyT) -> dict[str, str]:
        return {**self.public_jwk(key), "d": jose_b64url(self.secret_bytes(key))}

    def import_secret(self, secret: bytes) -> KeyT:
        if len(secret) != self.size:
            raise InvalidKey(f"A {self.name} secret must have {self.size} bytes.")
        try:
            return self.from_secret(secret)
        except ValueError:
            raise InvalidKey(f"These are not the secret bytes of a {self.name} key.") from None

    def to_der(self, signature: bytes) -> bytes:
        return utils.encode_dss_signature(*self.split(signature))

    def from_der(self, der: bytes) -> bytes:
        r, s = utils.decode_dss_signature(der)
        size = self.size
        try:
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        except OverflowError:  # negative, or longer than the field
            raise ValueError("the numbers do not fit the curve") from None

    def split(self, signature: bytes) -> tuple[int, int]:
        """Split a signature r‖s into the numbers r and s."""
        r, s = signature[: self.size], signature[self.size :]
        return int.from_bytes(r, "big"), int.from_bytes(s, "big")

    def prepare(self, message: bytes, options: SignatureOptions) -> tuple[bytes, Scheme]:
        if options.hash is not None:
            digest = self.fitted_digest(message, options)
        else:
            self.check_digest(message, options.prehashed)
            digest = message if options.prehashed else hashlib.new(self.hash.name, message).digest()
        return digest, Scheme("ecdsa", self.hash.name)

    def load_spki(self, spki: bytes) -> PublicT:
        public = read_spki(spki, ec.EllipticCurvePublicKey)
        if public.curve.name != self.curve.name:
            raise InvalidKey(f"The public key is not on {self.crv}.")
        form = ser.PublicFormat.UncompressedPoint
        return self.from_point(public.public_bytes(ser.Encoding.X962, form))

    def check_digest(self, message: bytes, prehashed: bool) -> None:
        """Raise ValidationFailed if `message` should be a digest but has another length."""
        if prehashed and len(message) != self.hash.digest_size:
            raise _wrong_length(self.hash.digest_size)

    def fitted_digest(self, message: bytes, options: SignatureOptions) -> bytes:
        """Fit a digest by `options.hash` to the length of `self.hash`, for the same signature.

        ECDSA signs the leftmost bits of a digest, as many as the order has (FIPS 186-5 section
        6.4.1). Raises ValidationFailed for a digest of the wrong length.
        """
        name, size = options.hash or "", self.hash.digest_size
        if options.prehashed and name != NO_HASH:
            if len(message) != HASHES[name].digest_size:
                raise _wrong_length(HASHES[name].digest_size)
            digest = message
        else:
            digest = message if name == NO_HASH else hashlib.new(name, message).digest()
        if not digest or (len(digest) > size and size < self.size):
            raise ValidationFailed(errors=[("#/data", f"The digest must have 1 to {size} bytes.")])
        width = min(size, self.size)
        return digest[:width].rjust(width, b"\0").ljust(size, b"\0")

    def _number(self, jwk: Mapping[str, Any], member: str) -> bytes:
        """Read a coordinate or the secret of a JWK, as long as the field; raises InvalidKey.

        RFC 7518 section 6.2.1.2 requires leading zeros, which some libraries omit.
        """
        number = jwk_bytes(jwk, member, most=self.size)
        if not number:
            raise InvalidKey(f"The JWK member {member!r} is empty.")
        return number.rjust(self.size, b"\0")


class EcAlgorithm(EcKeyPair[ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey]):
    """ECDSA and ECDH on a curve of pyca/cryptography, with the nonce of RFC 6979."""

    signing_hashes = SIGNING_HASHES

    def memory_of(self, key: Any) -> int:
        return 2_400

    def generate(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(self.curve)

    def sign(
        self, key: ec.EllipticCurvePrivateKey, message: bytes, options: SignatureOptions
    ) -> bytes:
        if options.hash is not None:
            message, options = self.fitted_digest(message, options), _FITTED
        return self.from_der(key.sign(message, self._scheme(message, options, deterministic=True)))

    def verify(
        self,
        public: ec.EllipticCurvePublicKey,
        message: bytes,
        signature: bytes,
        options: SignatureOptions,
    ) -> bool:
        if options.hash is not None:
            message, options = self.fitted_digest(message, options), _FITTED
        scheme = self._scheme(message, options, deterministic=False)
        if len(signature) != 2 * self.size:
            return False
        try:
            public.verify(self.to_der(signature), message, scheme)
        except InvalidSignature:
            return False
        return True

    def derive(self, key: ec.EllipticCurvePrivateKey, peer: ec.EllipticCurvePublicKey) -> bytes:
        return key.exchange(ec.ECDH(), peer)

    def point(
        self, key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey, *, compressed: bool
    ) -> bytes:
        form = (
            ser.PublicFormat.CompressedPoint if compressed else ser.PublicFormat.UncompressedPoint
        )
        return public_of(key).public_bytes(ser.Encoding.X962, form)

    def from_point(self, point: bytes) -> ec.EllipticCurvePublicKey:
        return ec.EllipticCurvePublicKey.from_encoded_point(self.curve, point)

    def from_secret(self, secret: bytes) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(int.from_bytes(secret, "big"), self.curve)

    def secret_bytes(self, key: ec.EllipticCurvePrivateKey) -> bytes:
        return key.private_numbers().private_value.to_bytes(self.size, "big")

    def _scheme(
        self, message: bytes, options: SignatureOptions, *, deterministic: bool
    ) -> ec.ECDSA:
        self.check_digest(message, options.prehashed)
        return self._schemes[options.prehashed, deterministic]

    @cached_property
    def _schemes(self) -> dict[tuple[bool, bool], ec.ECDSA]:
        """The schemes by (prehashed, deterministic), cached: making one takes 1 µs."""
        return {
            (prehashed, deterministic): ec.ECDSA(
                utils.Prehashed(self.hash) if prehashed else self.hash,
                deterministic_signing=deterministic,
            )
            for prehashed in (False, True)
            for deterministic in (False, True)
        }


def _wrong_length(size: int) -> ValidationFailed:
    return ValidationFailed(errors=[("#/data", f"The digest must have {size} bytes.")])
