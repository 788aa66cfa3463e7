"""Bases that make the common algorithms tiny."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Final, TypeAlias

import orjson
from aries_askar import AskarError
from aries_askar import Key as AskarKey
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, utils

from minikms.encodings import b64url_decode, jose_b64url
from minikms.errors import InvalidKey, UnsupportedOption, ValidationFailed
from minikms.plugin.protocol import (
    EcdsaSigner,
    JwkImporter,
    KeyAgreement,
    KeyAlgorithm,
    KeyPairAlgorithm,
    SecretImporter,
    Signer,
    Stored,
)

# More bytes than a coordinate or a secret of any of Askar's key pairs has.
_ASKAR_MOST: Final = 256


def jwk_bytes(
    jwk: Mapping[str, Any], member: str, size: int | None = None, *, most: int | None = None
) -> bytes:
    """The bytes of a JWK's base64url member; raises InvalidKey where they are not there.

    With `size`, also where they are not as many; with `most`, also where they are more. What is
    much longer is refused by its length, before it is decoded.
    """
    limit = size if most is None else most
    try:
        text = jwk[member]
        if limit is not None and len(text) > 4 * (limit // 3 + 1):
            raise InvalidKey(f"The JWK member {member!r} is too long.")
        data = b64url_decode(text)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise InvalidKey(f"The JWK needs a member {member!r} in base64url.") from None
    if size is not None and len(data) != size:
        raise InvalidKey(f"The JWK member {member!r} must have {size} bytes.")
    if limit is not None and len(data) > limit:
        raise InvalidKey(f"The JWK member {member!r} is too long.")
    return data


def public_of(key: Any) -> Any:
    """The public key of a pyca/cryptography private key, and a public one as it is."""
    return key.public_key() if hasattr(key, "public_key") else key


def require_jwk_type(jwk: Mapping[str, Any], kty: str, crv: str) -> None:
    """Raise InvalidKey unless the JWK has this `kty` and `crv`."""
    if jwk.get("kty") != kty or jwk.get("crv") != crv:
        raise InvalidKey(f"The JWK must have kty {kty!r} and crv {crv!r}.")


class AskarKeyAlgorithm(KeyAlgorithm):
    """An algorithm of Askar's whose keys are Askar keys, in memory and in the store."""

    def generate(self) -> Any:
        return AskarKey.generate(self.name)

    def pack(self, key: Any) -> Stored:
        return key  # type: ignore[no-any-return]

    def unpack(self, stored: Stored) -> Any:
        return stored


class AskarKeyPair(AskarKeyAlgorithm, KeyPairAlgorithm, JwkImporter, SecretImporter):
    """A key pair of Askar's: Askar has its public forms too."""

    crv: ClassVar[str]

    def public_jwk(self, key: Any) -> dict[str, str]:
        return orjson.loads(key.get_jwk_public())  # type: ignore[no-any-return]

    def public_bytes(self, key: Any) -> bytes:
        return key.get_public_bytes()  # type: ignore[no-any-return]

    def load_public(self, jwk: Mapping[str, Any]) -> Any:
        return self._from_jwk({name: value for name, value in jwk.items() if name != "d"})

    def import_jwk(self, jwk: Mapping[str, Any]) -> Any:
        if "d" not in jwk:
            raise InvalidKey("The JWK has no private part.")
        return self._from_jwk(jwk)

    def export_jwk(self, key: Any) -> dict[str, str]:
        return orjson.loads(key.get_jwk_secret())  # type: ignore[no-any-return]

    def import_secret(self, secret: bytes) -> Any:
        try:
            return AskarKey.from_secret_bytes(self.name, secret)
        except AskarError:
            raise InvalidKey(f"These are not the secret bytes of a {self.name} key.") from None

    def _from_jwk(self, jwk: Mapping[str, Any]) -> Any:
        require_jwk_type(jwk, self.kty, self.crv)
        # Askar refuses a JWK with a member that is no text, like the `ext` of Web Crypto.
        members = {name: jwk[name] for name in ("kty", "crv", "x", "y", "d") if name in jwk}
        for name in members.keys() & {"x", "y", "d"}:
            jwk_bytes(members, name, most=_ASKAR_MOST)
        try:
            key = AskarKey.from_jwk(members)
        except AskarError:
            raise InvalidKey(f"The JWK is not a {self.name} key.") from None
        # Askar fills a coordinate that is too short with zeros, and is content where those fit.
        whole = self.public_jwk(key)
        for name in whole.keys() & {"x", "y"}:
            jwk_bytes(jwk, name, len(jwk_bytes(whole, name)))
        return key


class AskarStored(KeyAlgorithm, SecretImporter):
    """An algorithm whose keys are another library's in memory, and Askar's in the store.

    Askar and the class agree on the secret bytes, which Askar keeps as a key of `name`.
    """

    @abstractmethod
    def secret_bytes(self, key: Any) -> bytes:
        """The bytes that `import_secret` makes `key` from."""

    def pack(self, key: Any) -> Stored:
        return AskarKey.from_secret_bytes(self.name, self.secret_bytes(key))

    def unpack(self, stored: Stored) -> Any:
        if isinstance(stored, bytes):
            raise TypeError(f"{self.name} keys are kept as Askar keys")
        return self.import_secret(stored.get_secret_bytes())


class Pkcs8KeyAlgorithm(KeyAlgorithm):
    """An algorithm whose keys are pyca/cryptography private keys, kept as PKCS #8 (RFC 5958)."""

    def pack(self, key: Any) -> Stored:
        der: bytes = key.private_bytes(
            ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption()
        )
        return der

    def unpack(self, stored: Stored) -> Any:
        if not isinstance(stored, bytes):
            raise TypeError(f"{self.name} keys are kept as bytes")
        # Our own store gives back what `pack` put there: RSA's consistency check, tens of
        # milliseconds with the interpreter lock held, would find nothing.
        return ser.load_der_private_key(stored, None, unsafe_skip_rsa_key_validation=True)


class PureSigner(Signer):
    """Signatures of pyca/cryptography keys over whole messages, never over a digest.

    EdDSA in its pure form (RFC 8032 section 5) and ML-DSA (FIPS 204 section 5.2) are such.
    """

    def sign(self, key: Any, message: bytes, alg: str, prehashed: bool) -> bytes:
        self._refuse_prehashed(prehashed)
        return key.sign(message)  # type: ignore[no-any-return]

    def verify(
        self, public: Any, message: bytes, signature: bytes, alg: str, prehashed: bool
    ) -> bool:
        self._refuse_prehashed(prehashed)
        try:
            public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _refuse_prehashed(self, prehashed: bool) -> None:
        if prehashed:
            raise UnsupportedOption(f"{self.name} signs the message, never a digest of it.")


Hash: TypeAlias = hashes.SHA256 | hashes.SHA384 | hashes.SHA512


class EcAlgorithm(EcdsaSigner, KeyAgreement, JwkImporter, SecretImporter):
    """ECDSA and ECDH on a curve of pyca/cryptography (RFC 7518 sections 3.4 and 6.2).

    Signatures are r‖s, each as long as the field, with the nonce of RFC 6979.
    """

    kty = "EC"
    jose_algs = ("ECDH-ES",)
    did_key = True
    crv: ClassVar[str]
    curve: ClassVar[ec.EllipticCurve]
    hash: ClassVar[Hash]

    @property
    def size(self) -> int:
        """Bytes of a coordinate, and of each half of a signature."""
        return (self.curve.key_size + 7) // 8

    def generate(self) -> Any:
        return ec.generate_private_key(self.curve)

    def public_bytes(self, key: Any) -> bytes:
        return self.point(key, compressed=True)

    def public_jwk(self, key: Any) -> dict[str, str]:
        point = self.point(key, compressed=False)
        x, y = point[1 : 1 + self.size], point[1 + self.size :]
        return {"kty": self.kty, "crv": self.crv, "x": jose_b64url(x), "y": jose_b64url(y)}

    def load_public(self, jwk: Mapping[str, Any]) -> Any:
        require_jwk_type(jwk, self.kty, self.crv)
        x, y = jwk_bytes(jwk, "x", self.size), jwk_bytes(jwk, "y", self.size)
        try:
            return self.from_point(b"\x04" + x + y)
        except ValueError:
            raise InvalidKey(f"The point is not on {self.crv}.") from None

    def import_jwk(self, jwk: Mapping[str, Any]) -> Any:
        require_jwk_type(jwk, self.kty, self.crv)
        key = self.import_secret(jwk_bytes(jwk, "d", self.size))
        given = (jwk_bytes(jwk, "x", self.size), jwk_bytes(jwk, "y", self.size))
        if b"\x04" + b"".join(given) != self.point(key, compressed=False):
            raise InvalidKey("The JWK's private part does not fit its public part.")
        return key

    def export_jwk(self, key: Any) -> dict[str, str]:
        return {**self.public_jwk(key), "d": jose_b64url(self.secret_bytes(key))}

    def import_secret(self, secret: bytes) -> Any:
        if len(secret) != self.size:
            raise InvalidKey(f"A {self.name} secret must have {self.size} bytes.")
        try:
            return self.from_secret(secret)
        except ValueError:
            raise InvalidKey(f"These are not the secret bytes of a {self.name} key.") from None

    def sign(self, key: Any, message: bytes, alg: str, prehashed: bool) -> bytes:
        return self.from_der(
            key.sign(message, self._scheme(message, prehashed, deterministic=True))
        )

    def verify(
        self, public: Any, message: bytes, signature: bytes, alg: str, prehashed: bool
    ) -> bool:
        scheme = self._scheme(message, prehashed, deterministic=False)
        if len(signature) != 2 * self.size:
            return False
        try:
            public.verify(self.to_der(signature), message, scheme)
        except InvalidSignature:
            return False
        return True

    def to_der(self, signature: bytes) -> bytes:
        return utils.encode_dss_signature(*self.split(signature))

    def from_der(self, der: bytes) -> bytes:
        r, s = utils.decode_dss_signature(der)
        try:
            return r.to_bytes(self.size, "big") + s.to_bytes(self.size, "big")
        except OverflowError:  # negative, or longer than the field
            raise ValueError("the numbers do not fit the curve") from None

    def derive(self, key: Any, peer: Any) -> bytes:
        return key.exchange(ec.ECDH(), peer)  # type: ignore[no-any-return]

    # What follows depends on the library that holds the key; k256 has its own.

    def point(self, key: Any, *, compressed: bool) -> bytes:
        """The public point of `key` (SEC 1 section 2.3.3)."""
        form = (
            ser.PublicFormat.CompressedPoint if compressed else ser.PublicFormat.UncompressedPoint
        )
        data: bytes = public_of(key).public_bytes(ser.Encoding.X962, form)
        return data

    def from_point(self, point: bytes) -> Any:
        """The public key of an encoded point; raises ValueError off the curve."""
        return ec.EllipticCurvePublicKey.from_encoded_point(self.curve, point)

    def from_secret(self, secret: bytes) -> Any:
        """The private key of a scalar; raises ValueError out of its range."""
        return ec.derive_private_key(int.from_bytes(secret, "big"), self.curve)

    def secret_bytes(self, key: Any) -> bytes:
        """The scalar, as long as the field (RFC 7518 section 6.2.2.1)."""
        return key.private_numbers().private_value.to_bytes(  # type: ignore[no-any-return]
            self.size, "big"
        )

    def split(self, signature: bytes) -> tuple[int, int]:
        """The numbers r and s of a signature r‖s."""
        r, s = signature[: self.size], signature[self.size :]
        return int.from_bytes(r, "big"), int.from_bytes(s, "big")

    def _scheme(self, message: bytes, prehashed: bool, *, deterministic: bool) -> ec.ECDSA:
        self.check_digest(message, prehashed)
        return self._schemes[prehashed, deterministic]

    @cached_property
    def _schemes(self) -> dict[tuple[bool, bool], ec.ECDSA]:
        """By whether the message is hashed, and whether it is for signing; one takes 1 µs."""
        return {
            (prehashed, deterministic): ec.ECDSA(
                utils.Prehashed(self.hash) if prehashed else self.hash,
                deterministic_signing=deterministic,
            )
            for prehashed in (False, True)
            for deterministic in (False, True)
        }

    def check_digest(self, message: bytes, prehashed: bool) -> None:
        """Raise ValidationFailed where `message` should be a digest and is not as long."""
        if prehashed and len(message) != self.hash.digest_size:
            size = self.hash.digest_size
            raise ValidationFailed(errors=[("#/data", f"The digest must have {size} bytes.")])
