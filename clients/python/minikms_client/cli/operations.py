"""Operations on keys: signatures, encryption, wrapping, codes, random bytes."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Command
from minikms_client.cli.data import (
    contents,
    encoded,
    from_json,
    from_text,
    message,
    takes_data,
    takes_output,
    write_bytes,
    write_plaintext,
)
from minikms_client.cli.exits import NOT_VALID
from minikms_client.cli.session import Session, pass_session
from minikms_client.models import Signature
from minikms_client.wire import decode

_signature_options = (
    click.option(
        "--alg",
        shell_complete=completion.jose_names,
        help="A JOSE name of the key's signatures, such as PS256.",
    ),
    click.option(
        "--encoding", type=click.Choice(["raw", "der"]), help="The form of an ECDSA signature."
    ),
    click.option(
        "--prehashed", is_flag=True, default=None, help="The data is the digest of the message."
    ),
)


def takes_signature_options(command: Any) -> Any:
    """Add the options of a signature to a command."""
    for option in reversed(_signature_options):
        command = option(command)
    return command


def say_valid(session: Session, answer: object, is_valid: bool) -> None:
    """Print the validity; exit with 0 if valid, else 1."""
    session.show(answer, "valid" if is_valid else "not valid")
    if not is_valid:
        sys.exit(NOT_VALID)


def say_signature(session: Session, signature: Signature, output: Path | None = None) -> None:
    """Print a signature in base64url, or write its bytes to a file."""
    if session.is_json and output is None:
        session.show(signature, "")
    else:
        write_bytes(signature.sig, output)


@click.command(
    cls=Command,
    examples="mkms sign signer hello\n"
    "mkms sign signer <message.bin\n"
    "mkms sign signer --file message.bin --encoding der --output message.sig",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@takes_signature_options
@takes_output
@pass_session
def sign(
    session: Session,
    /,
    name: str,
    data: str | None,
    file: Path | None,
    output: Path | None,
    **options: Any,
) -> None:
    """Sign DATA with the key NAME, a kid or an alias; print the signature in base64url."""
    call = partial(session.client.sign, message(data, file), **options)
    say_signature(session, session.by_name(name, call), output)


@click.command(
    cls=Command,
    examples='mkms verify signer hello --sig "$(mkms sign signer hello)"\n'
    "mkms sign signer <message.bin >message.sig\n"
    "mkms verify signer --sig-file message.sig <message.bin",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@click.option("--sig", help="The signature in base64url.")
@click.option(
    "--sig-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the signature, in bytes or base64url.",
)
@takes_signature_options
@pass_session
def verify(
    session: Session,
    /,
    name: str,
    data: str | None,
    file: Path | None,
    sig: str | None,
    sig_file: Path | None,
    **options: Any,
) -> None:
    """Verify a signature of DATA by the key NAME: exit code 0 or 1."""
    if (sig is None) == (sig_file is None):
        raise click.UsageError("Give the signature by --sig or --sig-file.")
    signature = from_text(sig) if sig is not None else _signature(sig_file)  # type: ignore[arg-type]
    call = partial(session.client.verify, message(data, file), signature, **options)
    is_valid = session.by_name(name, call)
    say_valid(session, {"valid": is_valid}, is_valid)


def _signature(file: Path) -> bytes:
    """Return the signature in a file: its bytes, or base64url as `mkms sign` prints it.

    The bytes of a signature are too many to be characters of base64url by chance.
    """
    content = contents(file)
    try:
        return decode(content.decode("ascii").strip())
    except ValueError:
        return content


@click.command(
    cls=Command,
    examples="mkms encrypt box hello --aad context\n"
    "mkms encrypt box --file message.bin >sealed.json",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@click.option("--aad", help="A string that is authenticated but not encrypted.")
@pass_session
def encrypt(
    session: Session, name: str, data: str | None, file: Path | None, aad: str | None
) -> None:
    """Encrypt DATA with the key NAME; print a JSON object for `mkms decrypt`."""
    head = None if aad is None else aad.encode()
    call = partial(session.client.encrypt, message(data, file), aad=head)
    session.show_json(session.by_name(name, call))


@click.command(
    cls=Command,
    examples="mkms encrypt box hello | mkms decrypt box\n"
    "mkms encrypt box --file message.bin >sealed.json\n"
    "mkms decrypt box --file sealed.json --output message.copy",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@click.option("--aad", help="The string that was authenticated.")
@takes_output
@pass_session
def decrypt(
    session: Session,
    name: str,
    data: str | None,
    file: Path | None,
    aad: str | None,
    output: Path | None,
) -> None:
    """Decrypt the output of `mkms encrypt`; the plaintext goes to standard output."""
    sealed = from_json(message(data, file), "The ciphertext")
    try:
        parts = [
            None if sealed.get(part) is None else from_text(sealed[part])
            for part in ("ciphertext", "nonce", "tag")
        ]
    except AttributeError as error:
        raise click.UsageError("The ciphertext is not a JSON object.") from error
    if parts[0] is None:
        raise click.UsageError("The JSON object has no ciphertext.")
    head = None if aad is None else aad.encode()
    call = partial(session.client.decrypt, parts[0], parts[1], parts[2], aad=head)
    write_plaintext(session.by_name(name, call), output)


@click.command(
    cls=Command,
    examples="mkms wrap wrapper --file secret.bin",
)
@click.argument("name", shell_complete=completion.keys)
@click.option(
    "--file", type=click.Path(dir_okay=False, path_type=Path), help="Read the bytes from a file."
)
@takes_output
@pass_session
def wrap(session: Session, name: str, file: Path | None, output: Path | None) -> None:
    """Wrap the secret bytes of a file, or of standard input, with the key NAME."""
    call = partial(session.client.wrap, message(None, file))
    write_bytes(session.by_name(name, call), output)


@click.command(
    cls=Command,
    examples="mkms wrap wrapper --file secret.bin | mkms unwrap wrapper\n"
    "mkms wrap wrapper --file secret.bin --output wrapped.bin\n"
    "mkms unwrap wrapper --file wrapped.bin --output secret.copy",
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@takes_output
@pass_session
def unwrap(
    session: Session, name: str, data: str | None, file: Path | None, output: Path | None
) -> None:
    """Unwrap the output of `mkms wrap` with the key NAME."""
    call = partial(session.client.unwrap, encoded(data, file))
    write_bytes(session.by_name(name, call), output)


@click.command(
    cls=Command,
    examples='mkms mac checker hello\nmkms mac checker hello --check "$(mkms mac checker hello)"',
)
@click.argument("name", shell_complete=completion.keys)
@takes_data
@click.option("--check", metavar="CODE", help="A code in base64url, to compare.")
@takes_output
@pass_session
def mac(
    session: Session,
    name: str,
    data: str | None,
    file: Path | None,
    check: str | None,
    output: Path | None,
) -> None:
    """Print the authentication code of DATA by the key NAME, or verify one: exit code 0 or 1."""
    given = message(data, file)
    if check is None:
        write_bytes(session.by_name(name, partial(session.client.mac, given)), output)
        return
    call = partial(session.client.verify_mac, given, from_text(check))
    is_valid = session.by_name(name, call)
    say_valid(session, {"valid": is_valid}, is_valid)


@click.command(
    cls=Command,
    examples="mkms random 32\nmkms random 32 --output random.bin",
)
@click.argument("length", type=click.IntRange(1, 65536))
@takes_output
@pass_session
def random(session: Session, length: int, output: Path | None) -> None:
    """Print LENGTH random bytes of the service."""
    write_bytes(session.client.random(length), output)
