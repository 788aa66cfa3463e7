"""Key encapsulation: a new secret to a public key, and its decapsulation (FIPS 203)."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from minikms.keys.operation import Operation, UsableKey, Use
from minikms.plugin.protocol import Encapsulated, Kem

AnyKem: TypeAlias = Kem[Any, Any]


@dataclass(slots=True, repr=False)
class Encapsulate(Operation[AnyKem, Encapsulated]):
    """A new secret to a public JWK, which is the key of this operation."""

    uses = (Use(Kem, "decapsulate", is_public=True),)

    def compute(self, key: UsableKey[AnyKem]) -> Encapsulated:
        return key.algorithm.encapsulate(key.material)


@dataclass(slots=True, repr=False)
class Decapsulate(Operation[AnyKem, bytes]):
    """The secret of a ciphertext; raises DecryptionFailed for one of the wrong length."""

    uses = (Use(Kem, "decapsulate"),)
    ciphertext: bytes

    def compute(self, key: UsableKey[AnyKem]) -> bytes:
        return key.algorithm.decapsulate(key.material, self.ciphertext)
