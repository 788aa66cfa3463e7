"""The installed seals, loaded from their entry points."""

import inspect
from importlib.metadata import entry_points
from typing import Final

from minikms.seals.seal import Seal
from minikms.startup_errors import PluginError, StoreError, one_line

GROUP: Final = "minikms.seals"


def make_seal(uri: str) -> Seal:
    """Make the seal that a URI names; raises StoreError, and PluginError for a faulty plugin."""
    entries = entry_points(group=GROUP)
    # A text without an installed scheme may be anything, so it is not shown.
    scheme = uri.partition(":")[0]
    found = [entry for entry in entries if entry.name == scheme]
    if not found:
        names = ", ".join(sorted({entry.name for entry in entries}))
        raise StoreError(f"The URI of a seal begins with an installed one: {names}.")
    if len(found) > 1:
        raise PluginError(f"Two installed packages have a seal {scheme}.")
    try:
        loaded = found[0].load()
    except Exception as exc:
        raise PluginError(f"The seal {scheme} cannot be imported: {one_line(exc)}.") from exc
    if not (inspect.isclass(loaded) and issubclass(loaded, Seal)):
        raise PluginError(f"The seal {scheme} is not a subclass of Seal.")
    try:
        made: Seal = loaded(uri)
    except ValueError as exc:
        raise StoreError(f"The URI of the seal {scheme} is not valid. {exc}") from None
    return made
