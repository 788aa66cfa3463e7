"""Message authentication codes."""

from dataclasses import dataclass
from typing import Any

from minikms.keys.operation import Operation, UsableKey, Use
from minikms.plugin.protocol import Mac


@dataclass(slots=True, repr=False)
class ComputeMac(Operation[Mac[Any], bytes]):
    """The authentication code of a message."""

    uses = (Use(Mac, "mac"),)
    message: bytes

    def compute(self, key: UsableKey[Mac[Any]]) -> bytes:
        return key.algorithm.mac(key.material, self.message)


@dataclass(slots=True, repr=False)
class VerifyMac(Operation[Mac[Any], bool]):
    """Whether an authentication code is that of a message."""

    uses = (Use(Mac, "mac-verify"),)
    message: bytes
    mac: bytes

    def compute(self, key: UsableKey[Mac[Any]]) -> bool:
        return key.algorithm.verify_mac(key.material, self.message, self.mac)

    def is_final(self, result: bool) -> bool:
        return result
