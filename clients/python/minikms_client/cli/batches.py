"""`mkms sign-batch` and `mkms verify-batch`: many messages, each a line, with one key."""

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from minikms_client.cli import completion
from minikms_client.cli.commands import Command
from minikms_client.cli.data import contents, from_text, message
from minikms_client.cli.display import progress, visible
from minikms_client.cli.exits import NOT_VALID, REFUSED
from minikms_client.cli.operations import takes_signature_options
from minikms_client.cli.session import Session, pass_session
from minikms_client.errors import ProblemError
from minikms_client.models import SignResult, VerifyResult
from minikms_client.wire import encode

ItemT = TypeVar("ItemT")
_MOST: Final = 1000  # items per call
_FILE: Final = click.Path(dir_okay=False, allow_dash=True, path_type=Path)

_name = click.argument("name", shell_complete=completion.keys)
_file = click.option("--file", type=_FILE, help="Read the messages from a file.")
_encoded = click.option(
    "--base64url", "is_encoded", is_flag=True, help="Each line is a message in base64url."
)


@click.command(
    "sign-batch",
    cls=Command,
    examples="mkms sign-batch signer <messages\nmkms sign-batch signer --file messages --json",
)
@_name
@_file
@_encoded
@takes_signature_options
@pass_session
def sign_batch(
    session: Session, /, name: str, file: Path | None, is_encoded: bool, **options: Any
) -> None:
    """Sign each line of standard input with the key NAME; print a signature for each line.

    Each message is a line, without its line feed. The output has an empty line for a refused
    message.
    """
    code = 0
    lines = _messages(file, is_encoded)
    for start, items in _groups(lines, "Signing"):
        call = partial(session.client.sign_batch, items, **options)
        for number, found in enumerate(session.by_name(name, call), start + 1):
            session.show(_plain(found), "" if found.sig is None else encode(found.sig))
            code = _tell(number, found.problem) or code
    sys.exit(code)


@click.command(
    "verify-batch",
    cls=Command,
    examples="mkms sign-batch signer <messages >signatures\n"
    "mkms verify-batch signer signatures <messages",
)
@_name
@click.argument("signatures", type=click.Path(dir_okay=False, path_type=Path))
@_file
@_encoded
@takes_signature_options
@pass_session
def verify_batch(
    session: Session,
    /,
    name: str,
    signatures: Path,
    file: Path | None,
    is_encoded: bool,
    **options: Any,
) -> None:
    """Verify each line of standard input with the same line of the file SIGNATURES.

    Each line of the output is "valid" or "not valid". The exit code is 1 if a signature is not
    valid.
    """
    sigs = [
        from_text(line) for line in contents(signatures).decode("ascii", "replace").splitlines()
    ]
    lines = _messages(file, is_encoded)
    if len(lines) != len(sigs):
        raise click.UsageError(f"There are {len(lines)} messages and {len(sigs)} signatures.")
    code = 0
    for start, items in _groups(list(zip(lines, sigs, strict=True)), "Verifying"):
        call = partial(session.client.verify_batch, items, **options)
        for number, found in enumerate(session.by_name(name, call), start + 1):
            session.show(_plain(found), "valid" if found.valid else "not valid")
            code = code or (0 if found.valid else NOT_VALID)
            code = _tell(number, found.problem) or code
    sys.exit(code)


def _messages(file: Path | None, is_encoded: bool) -> list[bytes]:
    """Return the lines of a file or of standard input, decoded if they are base64url."""
    text = message(None, file)
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    return [from_text(line.decode("ascii", "replace")) for line in lines] if is_encoded else lines


def _groups(items: Sequence[ItemT], what: str) -> Iterator[tuple[int, Sequence[ItemT]]]:
    """Yield the items of each call, with the number of previous items; show a bar for many."""
    for start in progress(range(0, len(items), _MOST), what):
        yield start, items[start : start + _MOST]


def _tell(number: int, problem: ProblemError | None) -> int:
    """Print the problem of a line on standard error; return its exit code, or 0."""
    if problem is None:
        return 0
    click.echo(f"mkms: Line {number}: {visible(problem.detail)}", err=True)
    return REFUSED


def _plain(found: SignResult | VerifyResult) -> dict[str, Any]:
    """Convert a result to its JSON in the API, with the slug and text of a problem."""
    if found.problem is not None:
        return {"problem": {"slug": found.problem.slug, "detail": found.problem.detail}}
    return {"sig": found.sig} if isinstance(found, SignResult) else {"valid": found.valid}
