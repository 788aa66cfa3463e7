"""The hashes that a caller may choose for a signature."""

from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes

HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    # Still used by Vault's protocol and others.
    "sha1": hashes.SHA1(),  # noqa: S303 # nosec B303
    "sha224": hashes.SHA224(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
    "sha3_224": hashes.SHA3_224(),
    "sha3_256": hashes.SHA3_256(),
    "sha3_384": hashes.SHA3_384(),
    "sha3_512": hashes.SHA3_512(),
}
"""Hashes by the names of hashlib."""
NO_HASH: Final = "none"
"""The name for signing the message itself instead of a digest."""
SIGNING_HASHES: Final = (*HASHES, NO_HASH)
