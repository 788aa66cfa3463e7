"""The names that the author of a seal imports (docs/operations/sealed-store-key.md)."""

from minikms.seals.seal import Seal, SealFault, SealUnavailable, seal_options

__all__ = ["Seal", "SealFault", "SealUnavailable", "seal_options"]
