"""NaCl's boxes: between a key and a peer, and sealed ones, which have no sender."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from minikms.keys.operation import Operation, UsableKey, Use, refuse_private
from minikms.plugin.protocol import Box, Boxed

AnyBox: TypeAlias = Box[Any, Any]


@dataclass(slots=True, repr=False)
class MakeBox(Operation[AnyBox, Boxed]):
    """A plaintext from a key to a peer's public JWK; raises InvalidKey."""

    uses = (Use(Box, "box"),)
    to: Mapping[str, Any]
    plaintext: bytes

    def compute(self, key: UsableKey[AnyBox]) -> Boxed:
        return key.algorithm.box(key.material, load_peer(key.algorithm, self.to), self.plaintext)


@dataclass(slots=True, repr=False)
class OpenBox(Operation[AnyBox, bytes]):
    """The plaintext of a box from a peer's public JWK; raises InvalidKey and DecryptionFailed."""

    uses = (Use(Box, "box-open"),)
    sender: Mapping[str, Any]
    boxed: Boxed

    def compute(self, key: UsableKey[AnyBox]) -> bytes:
        peer = load_peer(key.algorithm, self.sender)
        return key.algorithm.open_box(key.material, peer, self.boxed)


@dataclass(slots=True, repr=False)
class SealBox(Operation[AnyBox, bytes]):
    """A plaintext to a public JWK, which is the key of this operation."""

    uses = (Use(Box, "box", is_public=True),)
    plaintext: bytes

    def load_public(self, algorithm: AnyBox, jwk: Mapping[str, Any]) -> Any:
        return algorithm.load_box_peer(jwk)

    def compute(self, key: UsableKey[AnyBox]) -> bytes:
        return key.algorithm.seal(key.material, self.plaintext)


@dataclass(slots=True, repr=False)
class OpenSealedBox(Operation[AnyBox, bytes]):
    """The plaintext of a sealed box; raises DecryptionFailed."""

    uses = (Use(Box, "box-open"),)
    ciphertext: bytes

    def compute(self, key: UsableKey[AnyBox]) -> bytes:
        return key.algorithm.open_sealed(key.material, self.ciphertext)


def load_peer(algorithm: AnyBox, jwk: Mapping[str, Any]) -> Any:
    """A peer's public key, from its JWK; raises InvalidKey."""
    refuse_private(jwk)
    return algorithm.load_box_peer(jwk)
