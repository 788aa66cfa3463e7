"""The one module that the author of an algorithm imports: protocol, bases, helpers, errors."""

from minikms.encodings import b64url_decode, jose_b64url
from minikms.errors import (
    DecryptionFailed,
    InvalidKey,
    UnsupportedOperation,
    UnsupportedOption,
    ValidationFailed,
)
from minikms.plugin.askar import AskarKeyAlgorithm, AskarKeyPair, AskarStored
from minikms.plugin.elliptic import EcAlgorithm
from minikms.plugin.jwk import jwk_bytes, require_jwk_type
from minikms.plugin.protocol import (
    Aead,
    Box,
    Boxed,
    Capability,
    EcdsaSigner,
    Encapsulated,
    JwkImporter,
    Kem,
    KeyAgreement,
    KeyAlgorithm,
    KeyPairAlgorithm,
    KeyWrap,
    Mac,
    PublicKeyEncryption,
    Sealed,
    SecretImporter,
    SeedImporter,
    Signer,
    Stored,
)
from minikms.plugin.pyca import Pkcs8KeyAlgorithm, PureSigner, public_of

__all__ = [
    "Aead",
    "AskarKeyAlgorithm",
    "AskarKeyPair",
    "AskarStored",
    "Box",
    "Boxed",
    "Capability",
    "DecryptionFailed",
    "EcAlgorithm",
    "EcdsaSigner",
    "Encapsulated",
    "InvalidKey",
    "JwkImporter",
    "Kem",
    "KeyAgreement",
    "KeyAlgorithm",
    "KeyPairAlgorithm",
    "KeyWrap",
    "Mac",
    "Pkcs8KeyAlgorithm",
    "PublicKeyEncryption",
    "PureSigner",
    "Sealed",
    "SecretImporter",
    "SeedImporter",
    "Signer",
    "Stored",
    "UnsupportedOperation",
    "UnsupportedOption",
    "ValidationFailed",
    "b64url_decode",
    "jose_b64url",
    "jwk_bytes",
    "public_of",
    "require_jwk_type",
]
