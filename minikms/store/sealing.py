"""Seals the material of keys under a key of their profile, which is in the profile's marker.

Askar encrypts the entries of keys and the marker. Sealed material stays encrypted while records are
listed, changed and copied in memory.
"""

import os
from typing import Final

from aries_askar import AskarErrorCode
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from minikms.store.askar_errors import UndecryptableError

_NONCE: Final = 12  # bytes, random for each material (NIST SP 800-38D section 8.2.2)


def new_sealing_key() -> bytes:
    """Make the key of a profile."""
    return AESGCM.generate_key(256)


def seal(key: bytes, kid: str, material: bytes) -> bytes:
    """Encrypt the material of a key, bound to its kid."""
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, material, kid.encode())


def unseal(key: bytes, kid: str, sealed: bytes) -> bytes:
    """Decrypt the result of `seal`; raises UndecryptableError, also for the material of another."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], kid.encode())
    except (InvalidTag, ValueError):  # ValueError if it is too short, or there is no key
        raise UndecryptableError(AskarErrorCode.ENCRYPTION, "sealed material") from None
