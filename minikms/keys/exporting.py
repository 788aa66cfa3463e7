"""Export of private keys."""

from dataclasses import dataclass
from typing import Any

from minikms.errors import NotExportable
from minikms.keys.operation import Operation, UsableKey, Use
from minikms.plugin.protocol import JwkImporter, KeyAlgorithm
from minikms.records import KeyRecord


@dataclass(slots=True, repr=False)
class Export(Operation[JwkImporter[Any], dict[str, str]]):
    """The private JWK (RFC 7517); raises NotExportable unless the key was made exportable."""

    uses = (Use(JwkImporter, "export"),)

    def choose(self, algorithm: KeyAlgorithm[Any], record: KeyRecord) -> Use:
        if not record.exportable:
            raise NotExportable("The key was not made exportable.")
        algorithm.require(JwkImporter)
        return self.uses[0]

    def compute(self, key: UsableKey[JwkImporter[Any]]) -> dict[str, str]:
        return key.algorithm.export_jwk(key.material)
