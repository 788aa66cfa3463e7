"""Encryption, key wrap and key agreement."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minikms.keys.operation import Operation, UsableKey, Use, refuse_private
from minikms.plugin.protocol import Aead, KeyAgreement, KeyWrap, Sealed


@dataclass(slots=True, repr=False)
class Encrypt(Operation[Aead[Any], Sealed]):
    """A plaintext sealed under a new nonce."""

    uses = (Use(Aead, "encrypt"),)
    plaintext: bytes
    aad: bytes

    def compute(self, key: UsableKey[Aead[Any]]) -> Sealed:
        return key.algorithm.encrypt(key.material, self.plaintext, self.aad)


@dataclass(slots=True, repr=False)
class Decrypt(Operation[Aead[Any], bytes]):
    """The plaintext of what was sealed; raises DecryptionFailed."""

    uses = (Use(Aead, "decrypt"),)
    sealed: Sealed
    aad: bytes

    def compute(self, key: UsableKey[Aead[Any]]) -> bytes:
        return key.algorithm.decrypt(key.material, self.sealed, self.aad)


@dataclass(slots=True, repr=False)
class Wrap(Operation[KeyWrap[Any], bytes]):
    """A secret wrapped; raises InvalidKey where it is too short."""

    uses = (Use(KeyWrap, "wrap"),)
    secret: bytes

    def compute(self, key: UsableKey[KeyWrap[Any]]) -> bytes:
        return key.algorithm.wrap(key.material, self.secret)


@dataclass(slots=True, repr=False)
class Unwrap(Operation[KeyWrap[Any], bytes]):
    """The secret that was wrapped; raises DecryptionFailed."""

    uses = (Use(KeyWrap, "unwrap"),)
    wrapped: bytes

    def compute(self, key: UsableKey[KeyWrap[Any]]) -> bytes:
        return key.algorithm.unwrap(key.material, self.wrapped)


@dataclass(slots=True, repr=False)
class Derive(Operation[KeyAgreement[Any, Any], bytes]):
    """The raw secret shared with a peer's public JWK; raises InvalidKey."""

    uses = (Use(KeyAgreement, "derive"),)
    peer: Mapping[str, Any]

    def compute(self, key: UsableKey[KeyAgreement[Any, Any]]) -> bytes:
        refuse_private(self.peer)
        return key.algorithm.derive(key.material, key.algorithm.load_peer(self.peer))
