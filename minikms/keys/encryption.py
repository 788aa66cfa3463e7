"""Encryption, key wrap, key agreement, encapsulation, HPKE and NaCl's boxes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from minikms.errors import UnsupportedOption, ValidationFailed
from minikms.keys.operation import Operation, UsableKey, Use, refuse_private
from minikms.plugin.protocol import (
    Aead,
    Box,
    Boxed,
    Encapsulated,
    Hpke,
    HpkeOptions,
    HpkeSealed,
    Kem,
    KeyAgreement,
    KeyWrap,
    PublicKeyEncryption,
    Sealed,
)

_MISSING: Final = "Missing data for required field."

AnyEncryption: TypeAlias = Aead[Any] | PublicKeyEncryption[Any, Any]
AnyBox: TypeAlias = Box[Any, Any]
AnyKem: TypeAlias = Kem[Any, Any]
AnyHpke: TypeAlias = Hpke[Any, Any]


class Encrypted(NamedTuple):
    """The result of encryption; encryption to a public key has no nonce and no tag."""

    ciphertext: bytes
    nonce: bytes | None = None
    tag: bytes | None = None


@dataclass(slots=True, repr=False)
class Encrypt(Operation[AnyEncryption, Encrypted]):
    """Encrypts a plaintext under a new nonce, or to a public key.

    Raises UnsupportedOption for `aad` with a public key, and for a JWK with another `alg`.
    """

    uses = (Use(Aead, "encrypt"), Use(PublicKeyEncryption, "encrypt"))
    plaintext: bytes
    aad: bytes | None

    def compute(self, key: UsableKey[AnyEncryption]) -> Encrypted:
        algorithm = key.algorithm
        if isinstance(algorithm, Aead):
            sealed = algorithm.encrypt(key.material, self.plaintext, self.aad or b"")
            return Encrypted(*sealed)
        _refuse_aead_parts(self.aad)
        if key.alg not in (None, *algorithm.jose_algs):
            raise UnsupportedOption("The JWK is for another alg.")
        return Encrypted(algorithm.encrypt(key.material, self.plaintext))


@dataclass(slots=True, repr=False)
class Decrypt(Operation[AnyEncryption, bytes]):
    """Decrypts a ciphertext; raises DecryptionFailed.

    Raises ValidationFailed without a nonce or tag that the algorithm needs, and UnsupportedOption
    with a nonce, tag or `aad` that it does not take.
    """

    uses = (Use(Aead, "decrypt"), Use(PublicKeyEncryption, "decrypt"))
    encrypted: Encrypted
    aad: bytes | None

    def compute(self, key: UsableKey[AnyEncryption]) -> bytes:
        algorithm = key.algorithm
        ciphertext, nonce, tag = self.encrypted
        if isinstance(algorithm, Aead):
            if nonce is None or tag is None:
                parts = (("#/nonce", nonce), ("#/tag", tag))
                raise ValidationFailed(
                    errors=[(at, _MISSING) for at, part in parts if part is None]
                )
            return algorithm.decrypt(key.material, Sealed(ciphertext, nonce, tag), self.aad or b"")
        _refuse_aead_parts(nonce, tag, self.aad)
        return algorithm.decrypt(key.material, ciphertext)


@dataclass(slots=True, repr=False)
class DecryptImport(Operation[PublicKeyEncryption[Any, Any], bytes]):
    """Decrypts an imported key with its wrapping key; raises DecryptionFailed.

    The wrapping key needs no `operations`, so that no other call can decrypt with it.
    """

    uses = (Use(PublicKeyEncryption, "decrypt", by_door=True),)
    ciphertext: bytes

    def compute(self, key: UsableKey[PublicKeyEncryption[Any, Any]]) -> bytes:
        return key.algorithm.decrypt(key.material, self.ciphertext)


@dataclass(slots=True, repr=False)
class Wrap(Operation[KeyWrap[Any], bytes]):
    """Wraps a secret; raises InvalidKey if it is too short."""

    uses = (Use(KeyWrap, "wrap"),)
    secret: bytes

    def compute(self, key: UsableKey[KeyWrap[Any]]) -> bytes:
        return key.algorithm.wrap(key.material, self.secret)


@dataclass(slots=True, repr=False)
class Unwrap(Operation[KeyWrap[Any], bytes]):
    """Unwraps a secret; raises DecryptionFailed."""

    uses = (Use(KeyWrap, "unwrap"),)
    wrapped: bytes

    def compute(self, key: UsableKey[KeyWrap[Any]]) -> bytes:
        return key.algorithm.unwrap(key.material, self.wrapped)


@dataclass(slots=True, repr=False)
class Derive(Operation[KeyAgreement[Any, Any], bytes]):
    """Derives the raw secret shared with a peer's public JWK; raises InvalidKey."""

    uses = (Use(KeyAgreement, "derive"),)
    peer: Mapping[str, Any]

    def compute(self, key: UsableKey[KeyAgreement[Any, Any]]) -> bytes:
        refuse_private(self.peer)
        return key.algorithm.derive(key.material, key.algorithm.load_peer(self.peer))


@dataclass(slots=True, repr=False)
class Encapsulate(Operation[AnyKem, Encapsulated]):
    """Makes a secret and encapsulates it to a public JWK, the key of this operation."""

    uses = (Use(Kem, "decapsulate", is_public=True),)

    def compute(self, key: UsableKey[AnyKem]) -> Encapsulated:
        return key.algorithm.encapsulate(key.material)


@dataclass(slots=True, repr=False)
class Decapsulate(Operation[AnyKem, bytes]):
    """Decapsulates a secret; raises DecryptionFailed if the ciphertext has the wrong length."""

    uses = (Use(Kem, "decapsulate"),)
    ciphertext: bytes

    def compute(self, key: UsableKey[AnyKem]) -> bytes:
        return key.algorithm.decapsulate(key.material, self.ciphertext)


@dataclass(slots=True, repr=False)
class SealHpke(Operation[AnyHpke, HpkeSealed]):
    """Encrypts a plaintext to a public JWK, the key of this operation."""

    uses = (Use(Hpke, "hpke-open", is_public=True),)
    plaintext: bytes
    options: HpkeOptions

    def compute(self, key: UsableKey[AnyHpke]) -> HpkeSealed:
        _require_hpke_aad(key.algorithm, self.options)
        return key.algorithm.hpke_seal(key.material, self.plaintext, self.options)


@dataclass(slots=True, repr=False)
class OpenHpke(Operation[AnyHpke, bytes]):
    """Decrypts a sealed message; raises DecryptionFailed."""

    uses = (Use(Hpke, "hpke-open"),)
    sealed: HpkeSealed
    options: HpkeOptions

    def compute(self, key: UsableKey[AnyHpke]) -> bytes:
        _require_hpke_aad(key.algorithm, self.options)
        return key.algorithm.hpke_open(key.material, self.sealed, self.options)


@dataclass(slots=True, repr=False)
class MakeBox(Operation[AnyBox, Boxed]):
    """Encrypts a plaintext from the key to a peer's public JWK; raises InvalidKey."""

    uses = (Use(Box, "box"),)
    to: Mapping[str, Any]
    plaintext: bytes

    def compute(self, key: UsableKey[AnyBox]) -> Boxed:
        peer = _load_box_peer(key.algorithm, self.to)
        return key.algorithm.box(key.material, peer, self.plaintext)


@dataclass(slots=True, repr=False)
class OpenBox(Operation[AnyBox, bytes]):
    """Opens a box from a peer's public JWK; raises InvalidKey and DecryptionFailed."""

    uses = (Use(Box, "box-open"),)
    sender: Mapping[str, Any]
    boxed: Boxed

    def compute(self, key: UsableKey[AnyBox]) -> bytes:
        peer = _load_box_peer(key.algorithm, self.sender)
        return key.algorithm.open_box(key.material, peer, self.boxed)


@dataclass(slots=True, repr=False)
class SealBox(Operation[AnyBox, bytes]):
    """Encrypts a plaintext to a public JWK, the key of this operation."""

    uses = (Use(Box, "box", is_public=True),)
    plaintext: bytes

    def load_public(self, algorithm: AnyBox, jwk: Mapping[str, Any]) -> Any:
        return algorithm.load_box_peer(jwk)

    def compute(self, key: UsableKey[AnyBox]) -> bytes:
        return key.algorithm.seal(key.material, self.plaintext)


@dataclass(slots=True, repr=False)
class OpenSealedBox(Operation[AnyBox, bytes]):
    """Opens a sealed box; raises DecryptionFailed."""

    uses = (Use(Box, "box-open"),)
    ciphertext: bytes

    def compute(self, key: UsableKey[AnyBox]) -> bytes:
        return key.algorithm.open_sealed(key.material, self.ciphertext)


def _refuse_aead_parts(*given: bytes | None) -> None:
    """Raise UnsupportedOption for a nonce, a tag or AAD, which public-key encryption lacks."""
    if any(part is not None for part in given):
        raise UnsupportedOption("Encryption to this key has no nonce, tag and aad.")


def _require_hpke_aad(algorithm: AnyHpke, options: HpkeOptions) -> None:
    """Raise UnsupportedOption for AAD that a plugin's algorithm does not authenticate."""
    if options.aad and not algorithm.hpke_aad:
        raise UnsupportedOption("The algorithm of this key has no aad.")


def _load_box_peer(algorithm: AnyBox, jwk: Mapping[str, Any]) -> Any:
    """Load a peer's public key from its JWK; raises InvalidKey."""
    refuse_private(jwk)
    return algorithm.load_box_peer(jwk)
