"""The installed seals, loaded from their entry points."""

from typing import Final

from minikms.basics.plugin_classes import class_named, installed
from minikms.seals.seal import Seal
from minikms.startup_errors import StoreError

GROUP: Final = "minikms.seals"


def make_seal(uri: str) -> Seal:
    """Make the seal that a URI names; raises StoreError, and PluginError for a faulty plugin."""
    # Without an installed scheme the argument may be anything, even a secret, so it is not shown.
    scheme = uri.partition(":")[0]
    kind = class_named(GROUP, scheme, Seal)
    if kind is None:
        names = ", ".join(sorted({entry.name for entry in installed(GROUP)}))
        raise StoreError(f"The URI of a seal begins with an installed one: {names}.")
    try:
        return kind(uri)
    except ValueError as exc:
        raise StoreError(f"The URI of the seal {scheme} is not valid. {exc}") from None
