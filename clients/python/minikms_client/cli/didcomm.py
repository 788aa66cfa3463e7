"""`mkms didcomm`: envelopes of DIDComm v1 (Aries RFC 0019)."""

from pathlib import Path

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Group
from minikms_client.cli.data import (
    from_json,
    message,
    takes_data,
    takes_output,
    write_plaintext,
)
from minikms_client.cli.session import Session, pass_session


@click.group(cls=Group)
def didcomm() -> None:
    """Pack and unpack messages of DIDComm v1."""


@didcomm.command(
    "pack",
    examples="mkms didcomm pack hello --to agent --from agent\n"
    "mkms didcomm pack hi --to-verkey 8HH5gYEeNc3z7PYXmd54d4x6qAfCNrqQqEB3nS7Zfu7K",
)
@takes_data
@click.option(
    "--to",
    multiple=True,
    shell_complete=completion.keys,
    help="A recipient, if it is an Ed25519 key of this profile; repeatable.",
)
@click.option("--to-verkey", multiple=True, help="A recipient's verkey in base58; repeatable.")
@click.option(
    "--from",
    "from_",
    shell_complete=completion.keys,
    help="The sender's key; without it, the message is anonymous.",
)
@pass_session
def pack(
    session: Session,
    data: str | None,
    file: Path | None,
    to: tuple[str, ...],
    to_verkey: tuple[str, ...],
    from_: str | None,
) -> None:
    """Encrypt DATA to recipients; print the envelope as JSON."""
    verkeys = [session.key(name).b58 for name in to]
    if None in verkeys:
        raise click.UsageError("A recipient of --to has no public part.")
    recipients = [*filter(None, verkeys), *to_verkey]
    if not recipients:
        raise click.UsageError("Name the recipient: --to or --to-verkey.")
    session.show_json(session.client.pack_didcomm(recipients, message(data, file), from_=from_))


@didcomm.command(
    "unpack", examples="mkms didcomm pack hello --to agent --from agent | mkms didcomm unpack"
)
@takes_data
@takes_output
@pass_session
def unpack(session: Session, data: str | None, file: Path | None, output: Path | None) -> None:
    """Decrypt an envelope to a key of the profile; --json also shows sender and recipient."""
    packed = from_json(message(data, file), "The envelope")
    if not isinstance(packed, dict):
        raise click.UsageError("The envelope is not a JSON object.")
    found = session.client.unpack_didcomm(packed)
    if session.is_json and output is None:
        session.show_json(found)
    else:
        write_plaintext(found.message, output)
