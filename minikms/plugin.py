"""The one module that the author of an algorithm imports: protocol, bases, helpers, errors."""

from minikms.bases import (
    AskarKeyAlgorithm,
    AskarKeyPair,
    AskarStored,
    EcAlgorithm,
    Pkcs8KeyAlgorithm,
    jwk_bytes,
    require_jwk_type,
)
from minikms.encodings import b64url_decode, jose_b64url
from minikms.errors import (
    DecryptionFailed,
    InvalidKey,
    UnsupportedOperation,
    UnsupportedOption,
    ValidationFailed,
)
from minikms.protocol import (
    Aead,
    Capability,
    JwkImporter,
    KeyAgreement,
    KeyAlgorithm,
    KeyPairAlgorithm,
    KeyWrap,
    Mac,
    Sealed,
    SecretImporter,
    SeedImporter,
    Signer,
    Stored,
)

__all__ = [
    "Aead",
    "AskarKeyAlgorithm",
    "AskarKeyPair",
    "AskarStored",
    "Capability",
    "DecryptionFailed",
    "EcAlgorithm",
    "InvalidKey",
    "JwkImporter",
    "KeyAgreement",
    "KeyAlgorithm",
    "KeyPairAlgorithm",
    "KeyWrap",
    "Mac",
    "Pkcs8KeyAlgorithm",
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
    "require_jwk_type",
]
