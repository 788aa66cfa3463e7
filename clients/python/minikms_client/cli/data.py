"""Input and output of commands: bytes, base64url, JSON."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from minikms_client.cli.display import tell, visible
from minikms_client.wire import decode, encode

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


def takes_data(command: CommandT) -> CommandT:
    """Let a command read the argument `data`, `--file`, or else standard input."""
    file = click.option(
        "--file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Read the bytes from a file.",
    )
    return click.argument("data", required=False)(file(command))


def takes_output(command: CommandT) -> CommandT:
    """Let a command write the bytes of its result to `--output`."""
    return click.option(
        "--output",
        type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
        help="Write the bytes to a file, or with - to standard output.",
    )(command)


def takes_certificate_header(*names: str) -> Callable[[CommandT], CommandT]:
    """Let a command read `--certificate-header`, once or several times."""
    return click.option(
        "--certificate-header",
        type=click.Choice(["none", *names]),
        multiple=True,
        callback=lambda context, option, given: given[0] if len(given) == 1 else given or None,
        help="The certificate of the key in the header; repeatable.",
    )


def message(data: str | None, file: Path | None) -> bytes:
    """Return the bytes of the argument, of a file, or of standard input."""
    if data is not None and file is not None:
        raise click.UsageError("Give the data or a file, not both.")
    if data is not None:
        if sys.stderr.isatty() and os.path.isfile(data):
            tell(f"mkms: The input is the text {data!r}. For the file of this name, use --file.")
        return data.encode()
    return contents(file) if file else standard_input()


def standard_input() -> bytes:
    """Return the bytes of standard input; tell people on a terminal that it is read."""
    if sys.stdin.isatty():
        tell("mkms: The input is read from the terminal, up to Control-D.")
    return sys.stdin.buffer.read()


def encoded(data: str | None, file: Path | None) -> bytes:
    """Read the output of another command: base64url as an argument or on standard input, or a file.

    A file contains the bytes themselves, as written by `--output`.
    """
    if file is not None:
        return message(data, file)
    return from_text(data if data is not None else standard_input().decode("ascii", "replace"))


def from_text(text: str) -> bytes:
    """Decode base64url."""
    try:
        return decode(text.strip())
    except ValueError as error:
        raise click.UsageError("This is not base64url.") from error


def contents(file: Path) -> bytes:
    """Return the bytes of a file, or for - of standard input."""
    if str(file) == "-":
        return standard_input()
    try:
        return file.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}.") from error


def from_json(text: bytes, what: str) -> Any:
    """Parse JSON; `what` names it in an error."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{what} is not JSON.") from error


def write_plaintext(plaintext: bytes, output: Path | None) -> None:
    """Write bytes unchanged, or to a terminal as text that cannot control it."""
    if output is None and sys.stdout.isatty():
        click.echo(visible(plaintext.decode(errors="backslashreplace"), keep="\n\t"))
    else:
        write_bytes(plaintext, output or Path("-"))


def write_bytes(result: bytes, output: Path | None) -> None:
    """Write bytes to `output` unchanged, or a line of base64url to standard output."""
    if output is None:
        click.echo(encode(result))
    elif str(output) == "-":
        sys.stdout.buffer.write(result)
    else:
        try:
            output.write_bytes(result)
        except OSError as error:
            raise click.UsageError(f"{output} cannot be written: {error.strerror}.") from error
