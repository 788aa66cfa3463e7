"""Flags and environment variables, derived from the fields of `Config`."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import click

from minikms.cli.help import HelpOption
from minikms.config import ENV_PREFIX, HEADINGS, OPTIONS, Config

Command = Callable[..., Any]


def options_of_config(*names: str) -> Callable[[Command], Command]:
    """Add flags for these fields of `Config` to a command; for all fields if none is named."""

    def decorate(command: Command) -> Command:
        flags = [field for field in OPTIONS if field.metadata["flag"]]
        flags.sort(key=lambda field: HEADINGS.index(field.metadata["heading"]))
        for field in reversed(flags):
            if names and field.name not in names:
                continue
            kind: Any = str
            flag = "--" + field.name.replace("_", "-")
            if isinstance(field.default, bool):
                kind, flag = bool, f"{flag}/--no-{flag.removeprefix('--')}"
            elif isinstance(field.default, int):
                kind = click.IntRange(*field.metadata["limits"])
            elif field.metadata["choices"]:
                kind = click.Choice(field.metadata["choices"])
            command = click.option(
                flag,
                envvar=ENV_PREFIX + field.name.upper(),
                default=field.default,
                type=kind,
                help=field.metadata["help"],
                metavar=_metavar(field),
                multiple=isinstance(field.default, tuple),
                cls=HelpOption,
                heading=field.metadata["heading"],
                notes=_notes(field, flag),
            )(command)
        return command

    return decorate


def _metavar(field: dataclasses.Field[Any]) -> str | None:
    """Return the metavar of a flag; None for click's default."""
    if field.metadata["choices"] or isinstance(field.default, bool):
        return None
    return field.metadata["value"] or ("NUMBER" if isinstance(field.default, int) else "TEXT")


def _notes(field: dataclasses.Field[Any], flag: str) -> list[str]:
    """Return a flag's notes for the help: variable, bound and default."""
    notes = [f"env var: {ENV_PREFIX}{field.name.upper()}"]
    if not isinstance(field.default, bool) and field.metadata["limits"][0] > 1:
        notes.append(f"at least {field.metadata['limits'][0]}")
    if typed := _typed(field, flag):
        notes.append(f"default: {typed}")
    return notes


def _typed(field: dataclasses.Field[Any], flag: str) -> str:
    """Format a default as a user types it; round byte counts also with a unit."""
    default: Any = field.default
    if isinstance(default, tuple):
        return ""
    if isinstance(default, bool):
        return flag.split("/")[0 if default else 1]
    if field.metadata["value"] == "BYTES":
        for unit, size in (("MiB", 1024 * 1024), ("KiB", 1024)):
            if default % size == 0:
                return f"{default} ({default // size} {unit})"
    return str(default)


def config_of(options: dict[str, Any]) -> Config:
    """Make the configuration from these options, and from variables without a flag."""
    hidden: dict[str, Any] = {
        field.name: os.environ.get(ENV_PREFIX + field.name.upper(), field.default)
        for field in OPTIONS
        if not field.metadata["flag"]
    }
    return Config(**options, **hidden)
