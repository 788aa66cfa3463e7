"""Classes of plugins, loaded from entry points and checked before they are used."""

import functools
import inspect
import sys
from abc import ABC
from collections.abc import Callable
from importlib.metadata import Distribution, EntryPoint, EntryPoints, entry_points
from typing import TypeVar

from minikms.startup_errors import PluginError, one_line

PluginT = TypeVar("PluginT", bound=ABC)


def installed(group: str) -> EntryPoints:
    """Return the entry points of a group, of all installed packages."""
    return _installed_on(tuple(sys.path))(group=group)


def package_of(entry: EntryPoint) -> str:
    """Return the name of the package that has this entry point."""
    return _name(entry.dist) if entry.dist else "unknown"


# Cached, since reading the metadata of all packages takes milliseconds of each start.
@functools.cache
def _installed_on(_path: tuple[str, ...]) -> Callable[..., EntryPoints]:
    return entry_points().select


@functools.cache
def _name(package: Distribution) -> str:
    return package.name


def load_class(
    entry: EntryPoint,
    base: type[PluginT],
    refusal: Callable[[str], PluginError],
    *,
    api_version: int | None = None,
) -> type[PluginT]:
    """Load a subclass of `base` without abstract methods; raises PluginError for anything else.

    `refusal` makes the error for a fault, and names the entry point. With `api_version`, a class
    for a later version is also refused.
    """
    try:
        loaded = entry.load()
    except Exception as exc:
        # Any error in a plugin's module stops the start; the cause is kept for a debugger.
        raise refusal(f"cannot be imported: {one_line(exc)}") from exc
    if not (inspect.isclass(loaded) and issubclass(loaded, base)):
        raise refusal(f"is not a subclass of {base.__name__}")
    # Checked before its methods, since a later version has others.
    if api_version is not None and (states := getattr(loaded, "api_version", 0)) > api_version:
        raise refusal(
            f"is for version {states} of minikms.plugin, and this service has version "
            f"{api_version}: update Mini KMS"
        )
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(loaded.__abstractmethods__))
        raise refusal(f"lacks: {missing}")
    return loaded


def class_named(
    group: str, name: str, base: type[PluginT], *, api_version: int | None = None
) -> type[PluginT] | None:
    """Load the class of the entry point with this name; None if no installed package has it.

    Raises PluginError as `load_class` does, and if two packages have it.
    """
    found = list(installed(group).select(name=name))
    kind = base.__name__.lower()
    if len(found) > 1:
        raise PluginError(f"Two installed packages have a {kind} {name}.")
    if not found:
        return None

    def refusal(fault: str) -> PluginError:
        return PluginError(f"The {kind} {name} {fault}.")

    return load_class(found[0], base, refusal, api_version=api_version)
