"""Exports private keys."""

from dataclasses import dataclass
from typing import Any

from minikms.keys.operation import Operation, UsableKey, Use
from minikms.plugin.protocol import JwkImporter


@dataclass(slots=True, repr=False)
class Export(Operation[JwkImporter[Any], dict[str, str]]):
    """Exports the private JWK (RFC 7517); raises NotExportable unless the key is exportable."""

    uses = (Use(JwkImporter, "export", if_exportable=True),)
    asks = True

    def compute(self, key: UsableKey[JwkImporter[Any]]) -> dict[str, str]:
        return key.algorithm.export_jwk(key.material)
