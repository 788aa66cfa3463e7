"""The flags and environment variables of the installed doors."""

from functools import cache
from typing import Any, Final

import click

from minikms.cli.help import HelpCommand, HelpOption
from minikms.config import ENV_PREFIX, OPTIONS, DoorConfig
from minikms.doors.registry import installed_doors
from minikms.serve.exits import fail
from minikms.startup_errors import PluginError

_HEADING: Final = "Doors"
_HOST: Final = "127.0.0.1"


class ServeCommand(HelpCommand):
    """A command with the options of every installed door, loaded when the command runs."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return its own options, then the options of doors."""
        *own, last = super().get_params(ctx)  # --help stays last
        of_doors = _door_options()
        # Includes options that have only a variable.
        names = {*(param.name for param in own), *(field.name for field in OPTIONS)}
        if taken := [f"--{each.name}" for each in of_doors if each.name in names]:
            shown = ", ".join(taken).replace("_", "-")
            fail(f"A door has options that the service already has: {shown}.", 2)
        return [*own, *of_doors, last]


def doors_of(options: dict[str, Any]) -> tuple[DoorConfig, ...]:
    """Return the doors that these options open, and remove the doors' options."""
    opened = []
    for name, door in installed_doors().items():
        port, host = options.pop(f"{name}_port"), options.pop(f"{name}_host")
        own = {option.name: options.pop(f"{name}_{option.name}") for option in door.options}
        if port is not None:
            opened.append(DoorConfig(name, host, port, own))
    return tuple(opened)


@cache
def _door_options() -> list[HelpOption]:
    try:
        doors = installed_doors()
    except PluginError as exc:
        fail(str(exc), 2)
    options = []
    for name, door in doors.items():
        text = f"Port of {door.title}; 0 takes a free one."
        kind = click.IntRange(0, 65535)
        options.append(_option(f"{name}_port", text, "NUMBER", "closed", type=kind))
        text = f"Address of {door.title}."
        options.append(_option(f"{name}_host", text, "ADDRESS", _HOST, default=_HOST))
        for own in door.options:
            flag = f"{name}_{own.name}"
            options.append(_option(flag, own.help, own.value, own.default, default=own.default))
    return options


def _option(name: str, help_text: str, value: str, shown: str, **kwargs: Any) -> HelpOption:
    variable = ENV_PREFIX + name.upper()
    notes = [f"env var: {variable}"]
    if shown:
        notes.append(f"default: {shown}")
    return HelpOption(
        ["--" + name.replace("_", "-")],
        envvar=variable,
        help=help_text,
        metavar=value,
        heading=_HEADING,
        notes=notes,
        **kwargs,
    )
