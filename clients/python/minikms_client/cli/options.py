"""The options of `mkms` itself, which every command also accepts."""

import copy
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from minikms_client.cli import completion

_FILE = click.Path(dir_okay=False, path_type=Path)


def _file(name: str, what: str) -> click.Option:
    """Make an option for the name of a file."""
    variable = f"MINIKMS_{name.upper().replace('-', '_')}"
    return click.Option([f"--{name}"], type=_FILE, envvar=variable, show_envvar=True, help=what)


OPTIONS: Final = (
    click.Option(
        ["--context"],
        envvar="MINIKMS_CONTEXT",
        show_envvar=True,
        shell_complete=completion.contexts,
        help="A service and caller kept by mkms login; the current context by default.",
    ),
    click.Option(["--url"], envvar="MINIKMS_URL", show_envvar=True, help="URL of the service."),
    click.Option(
        ["--token-file"],
        type=_FILE,
        help="File with the caller's token; otherwise MINIKMS_TOKEN holds the token,"
        " MINIKMS_TOKEN_FILE names the file, or the context has it.",
    ),
    click.Option(
        ["--profile"],
        envvar="MINIKMS_PROFILE",
        show_envvar=True,
        shell_complete=completion.profiles,
        help="Profile (tenant) of the keys.",
    ),
    _file("ca", "Trusted authorities, in PEM."),
    _file("cert", "The caller's certificate, in PEM."),
    _file("cert-key", "The private key of the certificate."),
    click.Option(
        ["--timeout"],
        type=click.FloatRange(min=0, min_open=True),
        default=30,
        show_default=True,
        help="Seconds to wait for the service.",
    ),
    click.Option(
        ["--json", "is_json"],
        is_flag=True,
        help="Print complete answers as JSON: an object, or for a list each item on a line.",
    ),
)


def _change(context: click.Context, option: click.Parameter, value: object) -> None:
    """Apply an option that is given after the command."""
    name = option.name or ""
    if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        root = context.find_root()
        root.params[name] = value
        root.set_parameter_source(name, ParameterSource.COMMANDLINE)


def _after_the_command(option: click.Option) -> click.Option:
    """Copy an option for a command, hidden in its help."""
    found = copy.copy(option)
    found.hidden, found.expose_value, found.callback = True, False, _change
    return found


OPTIONS_AFTER: Final = tuple(map(_after_the_command, OPTIONS))
