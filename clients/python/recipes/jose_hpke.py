"""Open a JWE by HPKE, in integrated encryption: docs/wallets.md, JWEs by HPKE."""

import json

from minikms_client import Client
from minikms_client.wire import decode

SUITES = {  # the KDF and the AEAD, for a key of this algorithm
    "HPKE-0": ("HKDF-SHA256", "AES-128-GCM"),  # p256
    "HPKE-1": ("HKDF-SHA384", "AES-256-GCM"),  # p384
    "HPKE-2": ("HKDF-SHA512", "AES-256-GCM"),  # p521
    "HPKE-3": ("HKDF-SHA256", "AES-128-GCM"),  # x25519
    "HPKE-4": ("HKDF-SHA256", "ChaCha20Poly1305"),  # x25519
    "HPKE-5": ("HKDF-SHA512", "AES-256-GCM"),  # x448
    "HPKE-6": ("HKDF-SHA512", "ChaCha20Poly1305"),  # x448
    "HPKE-7": ("HKDF-SHA256", "AES-256-GCM"),  # p256
}


def open_jwe(kms: Client, jwe: str, alias: str, info: bytes = b"") -> bytes:
    """Return the plaintext of a compact JWE to the key `alias`."""
    header, enc, _, ciphertext, _ = jwe.split(".")
    kdf, aead = SUITES[json.loads(decode(header))["alg"]]
    options = {"info": info, "aad": header.encode(), "kdf": kdf, "aead": aead}
    return kms.open_hpke(decode(enc), decode(ciphertext), alias=alias, **options)


def session_info(*parts: str) -> bytes:
    """Return the `info` of a response of OpenID4VP 1.1."""
    return b"\xff".join(part.encode("ascii") for part in parts)
