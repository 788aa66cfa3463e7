"""Bases for algorithms whose keys are those of pyca/cryptography."""

from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as ser

from minikms.errors import UnsupportedOption
from minikms.plugin.protocol import KeyAlgorithm, Signer, Stored


def public_of(key: Any) -> Any:
    """The public key of a pyca/cryptography private key, and a public one as it is."""
    return key.public_key() if hasattr(key, "public_key") else key


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
