"""Data that a command takes, and gives: bytes, base64url, JSON."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from minikms_client.cli.display import visible
from minikms_client.wire import decode, encode

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def takes_data(command: CommandT) -> CommandT:
    """Let a command take the argument `data` or `--file`; standard input where neither is given."""
    file = click.option(
        "--file", type=click.Path(dir_okay=False, path_type=Path), help="Take the bytes of a file."
    )
    return click.argument("data", required=False)(file(command))


def takes_output(command: CommandT) -> CommandT:
    """Let a command write the bytes of its result to `--output`."""
    return click.option(
        "--output",
        type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
        help="Write the bytes to a file, or with - to standard output.",
    )(command)


def message(data: str | None, file: Path | None) -> bytes:
    """The bytes of a text that was given, of a file, or of standard input."""
    if data is not None and file is not None:
        raise click.UsageError("Give the data or a file, not both.")
    if data is not None:
        return data.encode()
    return contents(file) if file else sys.stdin.buffer.read()


def encoded(data: str | None, file: Path | None) -> bytes:
    """What another command printed: base64url of an argument or of standard input, or a file.

    A file has the bytes as they are, as `--output` writes them.
    """
    if file is not None:
        return message(data, file)
    return from_text(data if data is not None else sys.stdin.read())


def from_text(text: str) -> bytes:
    """The bytes of base64url."""
    try:
        return decode(text.strip())
    except ValueError as error:
        raise click.UsageError("This is not base64url.") from error


def contents(file: Path) -> bytes:
    """The bytes of a file, or with - of standard input."""
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}.") from error


def from_json(text: bytes, what: str) -> Any:
    """The value of JSON; `what` names it in an error."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{what} is not JSON.") from error


def write_plaintext(plaintext: bytes, output: Path | None) -> None:
    """Write bytes as they are; for people on a terminal, as text that cannot steer it."""
    if output is None and sys.stdout.isatty():
        click.echo(visible(plaintext.decode(errors="backslashreplace"), keep="\n\t"))
    else:
        write_bytes(plaintext, output or Path("-"))


def write_bytes(result: bytes, output: Path | None) -> None:
    """Write bytes to `output` as they are, or a line of base64url to standard output."""
    if output is None:
        click.echo(encode(result))
    elif str(output) == "-":
        sys.stdout.buffer.write(result)
    else:
        try:
            output.write_bytes(result)
        except OSError as error:
            raise click.UsageError(f"{output} cannot be written: {error.strerror}.") from error
