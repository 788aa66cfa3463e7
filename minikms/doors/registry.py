"""The installed doors, loaded from their entry points."""

import re
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from typing import Final

from minikms.basics.plugin_classes import installed, load_class, package_of
from minikms.doors.protocol import Door
from minikms.plugin.registry import AlgorithmRegistry
from minikms.startup_errors import PluginError, SetupError, one_line

GROUP: Final = "minikms.doors"

_NAME: Final = re.compile(r"[a-z][a-z0-9]*")
_OPTION: Final = re.compile(r"[a-z][a-z0-9_]*")
# Options that every door has.
_EVERY: Final = ("port", "host")
_FACTS: Final = ("name", "title", "content_type")


def installed_doors() -> Mapping[str, type[Door]]:
    """Load the doors of all installed packages, by name; raises PluginError for a faulty one."""
    doors: dict[str, type[Door]] = {}
    for entry in sorted(installed(GROUP), key=lambda entry: entry.name):
        package = package_of(entry)
        door = _load(entry, f"The entry point {entry.name!r} of the package {package!r}")
        if door.name in doors:
            raise PluginError(f"Two doors have the name {door.name!r}.")
        doors[door.name] = door
    return doors


def make_door(door: type[Door], options: Mapping[str, str], registry: AlgorithmRegistry) -> Door:
    """Make a door; raises SetupError as the door does, and PluginError if it fails otherwise."""
    try:
        return door(options, registry)
    except SetupError:
        raise
    except Exception as exc:
        raise PluginError(f"The door {door.name} cannot be made: {one_line(exc)}.") from exc


def _load(entry: EntryPoint, where: str) -> type[Door]:
    def refusal(fault: str) -> PluginError:
        return PluginError(f"{where} {fault}.")

    loaded = load_class(entry, Door, refusal)
    absent = [fact for fact in _FACTS if not getattr(loaded, fact, None)]
    if absent:
        raise refusal(f"does not state: {', '.join(absent)}")
    if not _NAME.fullmatch(loaded.name):
        raise refusal("has a name with other characters than a-z and 0-9")
    prefixes: object = loaded.alias_prefixes
    if not (
        isinstance(prefixes, tuple) and all(isinstance(each, str) and each for each in prefixes)
    ):
        raise refusal("has alias_prefixes other than a tuple of strings")
    names = [*_EVERY, *(option.name for option in loaded.options)]
    wrong = {name for name in names if names.count(name) > 1 or not _OPTION.fullmatch(name)}
    if wrong:
        shown = ", ".join(map(repr, sorted(wrong)))
        raise refusal(f"has options with forbidden or repeated names: {shown}")
    return loaded
