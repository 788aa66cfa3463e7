"""Functions that the commands for copying profiles share."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import click

from minikms.cli.output import is_among_output, tell
from minikms.maintenance.copy import Copied
from minikms.startup_errors import StoreError
from minikms.store import StoreLocation


def require_another_file(source: StoreLocation, target: StoreLocation) -> None:
    """Raise StoreError if two locations are the same SQLite file."""
    one, other = source.path, target.path
    if one and other and one.exists() and other.exists() and one.samefile(other):
        raise StoreError(f"{target} is the store itself.")


async def tell_copies(copying: AsyncGenerator[Copied, None]) -> tuple[int, int]:
    """Write a line for each copied profile; return the numbers of profiles and of keys."""
    profiles = keys = 0
    async with aclosing(copying) as copies:
        async for copied in copies:
            profiles, keys = profiles + 1, keys + copied.keys
            for token in copied.left:
                tell(
                    f"Profile {copied.profile}: not copied: the token {token.id} {token.name}, "
                    "which is valid in other profiles, too"
                )
            if not is_among_output():
                click.echo(f"Profile {copied.profile}: {_numbers(copied)}")
    return profiles, keys


def _numbers(copied: Copied) -> str:
    deleted = f", {copied.deleted} deleted meanwhile" if copied.deleted else ""
    some = "token" if copied.tokens == 1 else "tokens"
    tokens = f", {copied.tokens} {some}" if copied.tokens else ""
    return f"{keys_text(copied.keys)}{deleted}{tokens}"


def keys_text(number: int) -> str:
    """A number of keys, as commands write it."""
    return f"{number} key{'' if number == 1 else 's'}"
