"""The commands of roles: `minikms roles …`."""

import json
import sys
from typing import Final

import click

from minikms.access.callers import SCOPES
from minikms.access.role_check import (
    Checked,
    NotAccepted,
    Verdict,
    check_certificate,
    check_token,
)
from minikms.basics.small_files import read_small_file
from minikms.cli.help import HelpGroup
from minikms.startup_errors import AccessError

_MOST: Final = 64 * 1024  # bytes
_PIPE: Final = "-"


@click.group(cls=HelpGroup)
def roles() -> None:
    """Try a file of roles."""


@roles.command(
    examples=(
        "minikms roles check roles.toml -",
        "minikms roles check roles.toml --certificate client.pem",
    )
)
@click.argument("file", metavar="FILE")
@click.argument("token", metavar="[TOKEN]", required=False)
@click.option(
    "--certificate", metavar="CERTIFICATE", help="Client certificate in PEM; its CA is not checked."
)
async def check(file: str, token: str | None, certificate: str | None) -> None:
    """Tell which roles of FILE a TOKEN has, and why it lacks the others.

    If TOKEN is -, it is read from standard input. The keys of its issuer are read as the service
    reads them. The exit code is 1 if no role fits.
    """
    if (token is None) == (certificate is None):
        raise click.UsageError("Name a token, - for one in standard input, or --certificate.")
    try:
        if certificate is not None:
            checked = check_certificate(file, _read(certificate))
        else:
            checked = await check_token(file, _piped() if token == _PIPE else token or "")
    except NotAccepted as exc:
        click.echo(f"Refused: {exc}")
        sys.exit(1)
    _show(checked)
    if not any(verdict.grant for verdict in checked.verdicts):
        sys.exit(1)


def _piped() -> str:
    if sys.stdin is None:  # closed at the start
        raise click.UsageError("There is no standard input.")
    return sys.stdin.buffer.read(_MOST).decode("ascii", "replace").strip()


def _read(file: str) -> bytes:
    try:
        return read_small_file(file, _MOST).content
    except OSError as exc:
        raise AccessError(f"The file {file} cannot be read: {exc.strerror}.") from None


def _show(checked: Checked) -> None:
    click.echo(json.dumps(checked.found, indent=2))
    for verdict in checked.verdicts:
        click.echo(f"{verdict.role}: {_said(verdict)}")
    if not checked.verdicts:
        click.echo("The file has no role for such a caller.")


def _said(verdict: Verdict) -> str:
    if verdict.grant is None:
        return f"no. {verdict.refusal}"
    scopes = " ".join(scope for scope in SCOPES if scope in verdict.grant.scopes)
    profiles = verdict.grant.profiles
    named = "all profiles" if profiles is None else " ".join(sorted(profiles))
    return f"yes, {scopes} in {named} until {verdict.until}."
