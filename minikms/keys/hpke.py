"""HPKE in its base mode, one message at a time (RFC 9180 section 6.1)."""

from dataclasses import dataclass
from typing import Any, TypeAlias

from minikms.keys.operation import Operation, UsableKey, Use
from minikms.plugin.protocol import Hpke, HpkeOptions, HpkeSealed

AnyHpke: TypeAlias = Hpke[Any, Any]


@dataclass(slots=True, repr=False)
class SealHpke(Operation[AnyHpke, HpkeSealed]):
    """A plaintext to a public JWK, which is the key of this operation."""

    uses = (Use(Hpke, "hpke-open", is_public=True),)
    plaintext: bytes
    options: HpkeOptions

    def compute(self, key: UsableKey[AnyHpke]) -> HpkeSealed:
        return key.algorithm.hpke_seal(key.material, self.plaintext, self.options)


@dataclass(slots=True, repr=False)
class OpenHpke(Operation[AnyHpke, bytes]):
    """The plaintext of what was sealed; raises DecryptionFailed."""

    uses = (Use(Hpke, "hpke-open"),)
    sealed: HpkeSealed
    options: HpkeOptions

    def compute(self, key: UsableKey[AnyHpke]) -> bytes:
        return key.algorithm.hpke_open(key.material, self.sealed, self.options)
