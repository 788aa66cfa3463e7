"""Classes of plugins, loaded from entry points and checked before they are used."""

import inspect
from abc import ABC
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from minikms.startup_errors import PluginError, one_line

PluginT = TypeVar("PluginT", bound=ABC)


def load_class(entry: EntryPoint, base: type[PluginT], where: str) -> type[PluginT]:
    """Load a subclass of `base` without abstract methods; raises PluginError for anything else.

    `where` names the entry point, and begins the sentence of the error.
    """
    try:
        loaded = entry.load()
    except Exception as exc:
        raise PluginError(f"{where} cannot be loaded: {one_line(exc)}.") from exc
    if not (inspect.isclass(loaded) and issubclass(loaded, base)):
        raise PluginError(f"{where} is not a subclass of {base.__name__}.")
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(loaded.__abstractmethods__))
        raise PluginError(f"{where} lacks: {missing}.")
    return loaded


def class_named(group: str, name: str, base: type[PluginT]) -> type[PluginT] | None:
    """Load the class of the entry point of this name; None if no installed package has one.

    Raises PluginError as `load_class` does, and if two packages have one.
    """
    found = list(entry_points(group=group, name=name))
    kind = base.__name__.lower()
    if len(found) > 1:
        raise PluginError(f"Two installed packages have a {kind} {name}.")
    return load_class(found[0], base, f"The {kind} {name}") if found else None
