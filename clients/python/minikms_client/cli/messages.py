"""Messages to keys: `mkms jwe`, and `mkms box`."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Group
from minikms_client.cli.data import (
    encoded,
    from_json,
    from_text,
    message,
    standard_input,
    takes_data,
    takes_output,
    write_bytes,
    write_plaintext,
)
from minikms_client.cli.recipients import (
    public_jwk,
    recipient_jwk,
    takes_recipient,
    takes_sender,
)
from minikms_client.cli.session import Session, pass_session


@click.group(cls=Group)
def jwe() -> None:
    """Encrypt and decrypt JSON Web Encryption."""


@jwe.command(
    "encrypt",
    examples="mkms jwe encrypt hello --to reader\n"
    "mkms jwe encrypt hello --to-jwk reader.jwk --enc A256CBC-HS512",
)
@takes_data
@takes_recipient
@click.option("--alg", default="ECDH-ES+A256KW", show_default=True, help="Key management.")
@click.option("--enc", default="A256GCM", show_default=True, help="Content encryption.")
@click.option(
    "--from",
    "from_",
    shell_complete=completion.keys,
    help="The key of the sender, for ECDH-1PU.",
)
@click.option("--header", help="More members of the protected header, as JSON.")
@pass_session
def encrypt_jwe(
    session: Session,
    data: str | None,
    file: Path | None,
    to: str | None,
    to_jwk: Path | None,
    alg: str,
    enc: str,
    from_: str | None,
    header: str | None,
) -> None:
    """Print a compact JWE of DATA."""
    members = None if header is None else from_json(header.encode(), "The header")
    jwk = public_jwk(session, None, to_jwk)
    if (jwk is None) == (to is None):
        raise click.UsageError("Name the recipient: --to or --to-jwk.")
    plaintext = message(data, file)

    def call(**name: str | None) -> str | dict[str, Any]:
        recipient = {"jwk": jwk} if jwk is not None else name
        return session.client.encrypt_jwe(
            plaintext, enc, [{**recipient, "alg": alg}], from_=from_, header=members
        )

    made = call() if to is None else session.by_name(to, call)
    session.show({"jwe": made}, made if isinstance(made, str) else json.dumps(made))


@jwe.command(
    "decrypt",
    examples="mkms jwe encrypt hello --to reader | mkms jwe decrypt reader\n"
    'mkms jwe decrypt reader "$(mkms jwe encrypt hello --to reader)" --json',
)
@click.argument("name", shell_complete=completion.keys)
@click.argument("token", metavar="[JWE]", required=False)
@takes_sender
@takes_output
@pass_session
def decrypt_jwe(
    session: Session,
    name: str,
    token: str | None,
    from_: str | None,
    from_jwk: Path | None,
    output: Path | None,
) -> None:
    """Decrypt a JWE to the key NAME; the plaintext goes to standard output."""
    text = (token if token is not None else standard_input().decode("utf-8", "replace")).strip()
    given = from_json(text.encode(), "The JWE") if text.startswith("{") else text
    sender = public_jwk(session, from_, from_jwk)
    found = session.by_name(name, partial(session.client.decrypt_jwe, given, from_=sender))
    if session.is_json and output is None:
        session.show_json(found)
    else:
        write_plaintext(found.plaintext, output)


@click.group(cls=Group)
def box() -> None:
    """Make and open NaCl's boxes: messages between X25519 keys."""


@box.command(
    "seal",
    examples="mkms box seal hello --to reader\n"
    "mkms box seal --file message.bin --to-jwk reader.jwk --output message.box",
)
@takes_data
@takes_recipient
@takes_output
@pass_session
def seal_box(
    session: Session,
    data: str | None,
    file: Path | None,
    to: str | None,
    to_jwk: Path | None,
    output: Path | None,
) -> None:
    """Encrypt DATA to a recipient, without a sender; print the box in base64url."""
    sealed = session.client.seal_box(message(data, file), recipient_jwk(session, to, to_jwk))
    write_bytes(sealed, output)


@box.command(
    "unseal",
    examples="mkms box seal hello --to reader | mkms box unseal reader",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@takes_output
@pass_session
def open_sealed_box(
    session: Session, name: str, data: str | None, file: Path | None, output: Path | None
) -> None:
    """Open a box that `mkms box seal` printed, with the key NAME."""
    call = partial(session.client.open_sealed_box, encoded(data, file))
    write_plaintext(session.by_name(name, call), output)


@box.command(
    "make",
    examples="mkms box make writer hello --to reader",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@takes_recipient
@pass_session
def make_box(
    session: Session,
    name: str,
    data: str | None,
    file: Path | None,
    to: str | None,
    to_jwk: Path | None,
) -> None:
    """Encrypt DATA from the key NAME to a recipient; print a JSON object."""
    recipient = recipient_jwk(session, to, to_jwk)
    call = partial(session.client.make_box, message(data, file), recipient)
    session.show_json(session.by_name(name, call))


@box.command(
    "open",
    examples="mkms box make writer hello --to reader | mkms box open reader --from writer",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@takes_sender
@takes_output
@pass_session
def open_box(
    session: Session,
    name: str,
    data: str | None,
    file: Path | None,
    from_: str | None,
    from_jwk: Path | None,
    output: Path | None,
) -> None:
    """Open a box that `mkms box make` printed, with the key NAME."""
    sender = public_jwk(session, from_, from_jwk)
    if sender is None:
        raise click.UsageError("Name the sender: --from or --from-jwk.")
    made = from_json(message(data, file), "The box")
    if not isinstance(made, dict) or not {"ciphertext", "nonce"} <= made.keys():
        raise click.UsageError("The box is not a JSON object with ciphertext and nonce.")
    ciphertext, nonce = from_text(made["ciphertext"]), from_text(made["nonce"])
    call = partial(session.client.open_box, ciphertext, nonce, sender)
    write_plaintext(session.by_name(name, call), output)
