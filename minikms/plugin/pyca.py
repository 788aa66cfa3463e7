"""Bases for algorithms with keys of pyca/cryptography."""

from typing import Protocol, TypeVar, cast

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization as ser

from minikms.errors import InvalidKey, UnsupportedOption
from minikms.plugin.protocol import KeyAlgorithm, PublicT, SignatureOptions, Signer, Stored

PublicT_co = TypeVar("PublicT_co", covariant=True)


class HasPublicKey(Protocol[PublicT_co]):
    """A private key of pyca/cryptography, or of a compatible class."""

    def public_key(self) -> PublicT_co: ...


class HasPkcs8(Protocol):
    """A private key that pyca/cryptography writes as PKCS #8."""

    def private_bytes(
        self,
        encoding: ser.Encoding,
        format: ser.PrivateFormat,  # noqa: A002 - the library's name
        encryption_algorithm: ser.KeySerializationEncryption,
    ) -> bytes: ...


class SignsMessages(Protocol):
    """A private key that signs a message without parameters."""

    def sign(self, message: bytes, /) -> bytes: ...


class VerifiesMessages(Protocol):
    """A public key that verifies a signature over a message; raises InvalidSignature."""

    def verify(self, signature: bytes, message: bytes, /) -> None: ...


Pkcs8T = TypeVar("Pkcs8T", bound=HasPkcs8)
SignsT = TypeVar("SignsT", bound=SignsMessages)
VerifiesT = TypeVar("VerifiesT", bound=VerifiesMessages)
KindT = TypeVar("KindT")


def public_of(key: HasPublicKey[PublicT] | PublicT) -> PublicT:
    """Return the public key of a private key, or `key` itself if it is a public key."""
    return key.public_key() if hasattr(key, "public_key") else key


def read_spki(spki: bytes, kind: type[KindT]) -> KindT:
    """Load a public key from SubjectPublicKeyInfo in DER; raises InvalidKey for another kind."""
    try:
        public: object = ser.load_der_public_key(spki)
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, kind):
        raise InvalidKey("The public key is of another kind.")
    return public


class Pkcs8KeyAlgorithm(KeyAlgorithm[Pkcs8T]):
    """An algorithm whose keys are pyca/cryptography private keys, kept as PKCS #8 (RFC 5958)."""

    def pack(self, key: Pkcs8T) -> Stored:
        return key.private_bytes(ser.Encoding.DER, ser.PrivateFormat.PKCS8, ser.NoEncryption())

    def unpack(self, stored: Stored) -> Pkcs8T:
        if not isinstance(stored, bytes):
            raise TypeError(f"{self.name} keys are kept as bytes")
        # The store returns the bytes of `pack`, so the key has the same class. RSA's consistency
        # check is skipped: it would always pass, and hold the interpreter lock for tens of
        # milliseconds.
        key = ser.load_der_private_key(stored, None, unsafe_skip_rsa_key_validation=True)
        return cast("Pkcs8T", key)


class PureSigner(Signer[SignsT, VerifiesT]):
    """A signer of whole messages, never of digests, with keys of pyca/cryptography.

    Examples are pure EdDSA (RFC 8032 section 5) and ML-DSA (FIPS 204 section 5.2). The class for
    ML-DSA adds its prehashed form.
    """

    def sign(self, key: SignsT, message: bytes, options: SignatureOptions) -> bytes:
        if options.prehashed:
            raise self._not_a_digest()
        return key.sign(message)

    def verify(
        self, public: VerifiesT, message: bytes, signature: bytes, options: SignatureOptions
    ) -> bool:
        if options.prehashed:
            raise self._not_a_digest()
        try:
            public.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def _not_a_digest(self) -> UnsupportedOption:
        return UnsupportedOption(f"{self.name} signs the message, never a digest of it.")
