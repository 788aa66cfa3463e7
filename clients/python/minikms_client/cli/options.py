"""The options of `mkms` as a whole, which every command takes too."""

import copy
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from minikms_client.cli.session import Session

_FILE = click.Path(dir_okay=False, path_type=Path)


def _file(name: str, what: str) -> click.Option:
    """An option that names a file, which a variable may do, too."""
    variable = f"MINIKMS_{name.upper().replace('-', '_')}"
    return click.Option([f"--{name}"], type=_FILE, envvar=variable, show_envvar=True, help=what)


OPTIONS: Final = (
    click.Option(["--url"], envvar="MINIKMS_URL", show_envvar=True, help="Where the service is."),
    click.Option(
        ["--token-file"],
        type=_FILE,
        help="A file that has the caller's token; without it MINIKMS_TOKEN has the token itself, or"
        " MINIKMS_TOKEN_FILE names the file.",
    ),
    click.Option(
        ["--profile"],
        envvar="MINIKMS_PROFILE",
        show_envvar=True,
        help="The profile: which tenant's keys.",
    ),
    _file("ca", "Authorities to trust, in PEM."),
    _file("cert", "The caller's certificate, in PEM."),
    _file("cert-key", "The private key of the certificate."),
    click.Option(
        ["--timeout"],
        type=click.FloatRange(min=0, min_open=True),
        default=30,
        show_default=True,
        help="How many seconds to wait for the service.",
    ),
    click.Option(["--json", "is_json"], is_flag=True, help="Print all of each answer, as JSON."),
)


def _change(context: click.Context, option: click.Parameter, value: object) -> None:
    """Let what is given after the command count."""
    name = option.name or ""
    if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
        context.ensure_object(Session).change(name, value)


def _after_the_command(option: click.Option) -> click.Option:
    """The same option for a command, whose help leaves it out."""
    found = copy.copy(option)
    found.hidden, found.expose_value, found.callback = True, False, _change
    return found


OPTIONS_AFTER: Final = tuple(map(_after_the_command, OPTIONS))
