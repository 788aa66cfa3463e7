"""Secrets and messages to a public key: `mkms derive`, `encapsulate`, `decapsulate` and `hpke`."""

from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Command, Group
from minikms_client.cli.data import (
    from_json,
    from_text,
    message,
    takes_data,
    takes_output,
    write_bytes,
    write_plaintext,
)
from minikms_client.cli.recipients import public_jwk, recipient_jwk, takes_recipient
from minikms_client.cli.session import Session, pass_session

_FILE: Final = click.Path(dir_okay=False, allow_dash=True, path_type=Path)
_HPKE_OPTIONS: Final = (
    click.option("--info", help="A string that both sides know and the message is bound to."),
    click.option("--aad", help="A string that both sides know and the message authenticates."),
    click.option("--kdf", help="Key derivation function; HKDF-SHA256 by default."),
    click.option("--aead", help="Cipher; AES-128-GCM by default."),
)


def _takes_hpke_options(command: Any) -> Any:
    for option in reversed(_HPKE_OPTIONS):
        command = option(command)
    return command


@click.command(
    cls=Command,
    examples="mkms derive writer --with reader\n"
    "mkms derive writer --with-jwk reader.jwk --output secret",
)
@click.argument("name", shell_complete=completion.keys)
@click.option(
    "--with",
    "peer",
    shell_complete=completion.keys,
    help="The peer, if it is a key of this profile.",
)
@click.option("--with-jwk", "peer_jwk", type=_FILE, help="File with the peer's public JWK.")
@takes_output
@pass_session
def derive(
    session: Session, name: str, peer: str | None, peer_jwk: Path | None, output: Path | None
) -> None:
    """Print the raw ECDH secret of the key NAME and a peer, for a key derivation function."""
    jwk = public_jwk(session, peer, peer_jwk)
    if jwk is None:
        raise click.UsageError("Name the peer: --with or --with-jwk.")
    write_bytes(session.by_name(name, partial(session.client.derive, jwk)), output)


@click.command(
    cls=Command,
    examples="mkms encapsulate --to kem\nmkms encapsulate --to-jwk kem.jwk | mkms decapsulate kem",
)
@takes_recipient
@pass_session
def encapsulate(session: Session, to: str | None, to_jwk: Path | None) -> None:
    """Make a secret for the holder of an ML-KEM key; print it and its ciphertext as JSON."""
    session.show_json(session.client.encapsulate(recipient_jwk(session, to, to_jwk)))


@click.command(
    cls=Command,
    examples="mkms encapsulate --to kem >made.json\nmkms decapsulate kem --file made.json",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@takes_output
@pass_session
def decapsulate(
    session: Session, name: str, data: str | None, file: Path | None, output: Path | None
) -> None:
    """Print the secret of DATA, the output of `mkms encapsulate` or a ciphertext in base64url."""
    text = message(data, file).strip()
    [ciphertext] = (
        _parts(text, "ciphertext")
        if text[:1] == b"{"
        else [from_text(text.decode("ascii", "replace"))]
    )
    call = partial(session.client.decapsulate, ciphertext)
    write_bytes(session.by_name(name, call), output)


@click.group(cls=Group)
def hpke() -> None:
    """Encrypt and decrypt by HPKE (RFC 9180)."""


@hpke.command(
    "seal",
    examples="mkms hpke seal hello --to reader\n"
    "mkms hpke seal hello --to-jwk reader.jwk --info v1 --aead AES-256-GCM",
)
@takes_data
@takes_recipient
@_takes_hpke_options
@pass_session
def seal_hpke(
    session: Session,
    /,
    data: str | None,
    file: Path | None,
    to: str | None,
    to_jwk: Path | None,
    info: str | None,
    aad: str | None,
    **options: Any,
) -> None:
    """Encrypt DATA to a recipient, without a sender; print JSON for `mkms hpke open`."""
    jwk, plaintext = recipient_jwk(session, to, to_jwk), message(data, file)
    options |= {"info": _bytes(info), "aad": _bytes(aad)}
    session.show_json(session.client.seal_hpke(plaintext, jwk, **options))


@hpke.command(
    "open",
    examples="mkms hpke seal hello --to reader --info v1 | mkms hpke open reader --info v1",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@_takes_hpke_options
@takes_output
@pass_session
def open_hpke(
    session: Session,
    /,
    name: str,
    data: str | None,
    file: Path | None,
    info: str | None,
    aad: str | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Decrypt the output of `mkms hpke seal` with the key NAME and the same options."""
    enc, ciphertext = _parts(message(data, file), "enc", "ciphertext")
    options |= {"info": _bytes(info), "aad": _bytes(aad)}
    call = partial(session.client.open_hpke, enc, ciphertext, **options)
    write_plaintext(session.by_name(name, call), output)


def _parts(text: bytes, *names: str) -> list[bytes]:
    """Decode base64url members of a JSON object."""
    made = from_json(text, "The message")
    if not isinstance(made, dict) or not made.keys() >= set(names):
        raise click.UsageError(f"The message is not a JSON object with {' and '.join(names)}.")
    return [from_text(str(made[name])) for name in names]


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()
