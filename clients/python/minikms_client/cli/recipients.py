"""The other side of a message: a key in the profile, or a JWK in a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from minikms_client.cli import completion
from minikms_client.cli.data import contents, from_json
from minikms_client.cli.session import Session
from minikms_client.wire import Jwk

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
_FILE: Final = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


def takes_recipient(command: CommandT) -> CommandT:
    """Add `--to` and `--to-jwk` to a command."""
    by_jwk = click.option("--to-jwk", type=_FILE, help="File with the recipient's JWK.")
    return click.option(
        "--to",
        shell_complete=completion.keys,
        help="The recipient, if it is a key of this profile.",
    )(by_jwk(command))


def takes_sender(command: CommandT) -> CommandT:
    """Add `--from` and `--from-jwk` to a command."""
    by_jwk = click.option("--from-jwk", type=_FILE, help="File with the sender's JWK.")
    return click.option(
        "--from",
        "from_",
        shell_complete=completion.keys,
        help="The sender, if it is a key of this profile.",
    )(by_jwk(command))


def public_jwk(session: Session, name: str | None, file: Path | None) -> Jwk | None:
    """Return the public JWK of a named key or in a file; None if neither is given."""
    if name is not None and file is not None:
        raise click.UsageError("Give a key or a file with its JWK, not both.")
    if name is not None:
        found = session.key(name).jwk
        if found is None:
            raise click.UsageError(f"The key {name} has no public part.")
        return found
    if file is None:
        return None
    jwk: Jwk = from_json(contents(file), str(file))
    return jwk


def recipient_jwk(session: Session, to: str | None, to_jwk: Path | None) -> Jwk:
    """Return the public JWK of the recipient."""
    jwk = public_jwk(session, to, to_jwk)
    if jwk is None:
        raise click.UsageError("Name the recipient: --to or --to-jwk.")
    return jwk
