"""Flags of commands on a store: its location, and the keys that open it.

A command that makes a key file removes it if it cannot create the store.
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import click

from minikms.basics.secret_files import write_secret
from minikms.cli.options import Command, config_of, options_of_config
from minikms.config import ENV_PREFIX, Config
from minikms.plugin.registry import AlgorithmRegistry
from minikms.seals.key_file import read_key, seals_of
from minikms.seals.opening import seal
from minikms.startup_errors import StoreError
from minikms.store import KEY_METHODS, Database, StoreKey, StoreLocation, new_raw_key
from minikms.store.internals import open_store


def on_a_store(command: Command) -> Command:
    """Add the flags of a store to a command."""
    return options_of_config("store", "store_key_file", "store_key_method")(command)


def at_once(command: Command) -> Command:
    """Add the flag of the profiles that are handled at a time to a command."""
    return click.option(
        "--jobs",
        default=4,
        show_default=True,
        type=click.IntRange(1),
        help="Most profiles at a time; fewer than max_connections of the store.",
    )(command)


def resumable(command: Command) -> Command:
    """Add the flag of the file of progress to a command."""
    return click.option(
        "--progress",
        "progress_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Note finished profiles in this file; if it exists, continue after them.",
    )(command)


def of_profiles(help_text: str) -> Callable[[Command], Command]:
    """Add the flag of profiles, which may be repeated, to a command."""
    return click.option(
        "--profile",
        "profiles",
        multiple=True,
        metavar="NAME",
        callback=lambda _, __, names: tuple(dict.fromkeys(names)),
        help=f"{help_text}; may be repeated.",
    )


def generating_key(name: str) -> Callable[[Command], Command]:
    """Add the flag that generates the key `name` to a command."""
    return click.option(
        "--generate-key",
        is_flag=True,
        help=f"First make a raw key in the new file of --{name}-key-file.",
    )


def with_another_key(name: str, whose: str) -> Callable[[Command], Command]:
    """Add the flags of a second key, described by `whose`, to a command."""

    def decorate(command: Command) -> Command:
        for option in (
            click.option(f"--{name}-key-file", metavar="FILE", help=f"{whose}."),
            click.option(
                f"--{name}-key-method",
                type=click.Choice(KEY_METHODS),
                help="Kind of this key: a raw key, or a passphrase for Argon2i.",
            ),
            generating_key(name),
        ):
            command = option(command)
        return command

    return decorate


def durable(url: str) -> StoreLocation:
    """Return the location of a persistent store; raises StoreError for memory."""
    location = StoreLocation.parse(url)
    if not location.persistent:
        raise StoreError("A store in memory ends with its process: use --store sqlite:///PATH.")
    return location


def key_of(config: Config) -> StoreKey:
    """Return the key that opens the store; raises StoreError."""
    return read_key(config.store_key_file, config.store_key, config.store_key_method)


def store_of(options: dict[str, Any]) -> tuple[StoreLocation, StoreKey]:
    """Return the location and the key of a command's store; raises StoreError."""
    config = config_of(options)
    return durable(config.store), key_of(config)


def registry_of(options: dict[str, Any]) -> AlgorithmRegistry:
    """Return the installed algorithms that a command's options allow."""
    return AlgorithmRegistry.from_installed(config_of(options).without_algorithm)


def open_database(options: dict[str, Any]) -> AbstractAsyncContextManager[Database]:
    """Open the store of a command; raises StoreError."""
    return Database.open(*store_of(options))


@asynccontextmanager
async def new_key(
    file: str, location: StoreLocation, seals: Sequence[str] = ()
) -> AsyncIterator[StoreKey]:
    """Write a raw key to a new file, for the store that the block creates; raises StoreError.

    The key is first sealed by the seals with the URIs `seals`, if any. If the block raises
    StoreError and the key opens no store, the file is removed, so that the command can be repeated.
    After any other failure the file stays, since the key may be needed.
    """
    if os.path.isfile(file):
        use = "Omit --generate-key to use it." if os.path.getsize(file) else "It is empty."
        raise StoreError(f"The key file {file} cannot be made: it already exists. {use}")
    key = StoreKey(new_raw_key())
    text = seal(key.secret, seals).dump() if seals else key.secret
    write_secret(file, text, "key", StoreError)
    try:
        yield key
    except BaseException as exc:
        if isinstance(exc, StoreError) and not await _opens(location, key):
            os.unlink(file)
        else:
            click.echo(
                f"minikms: The key file {file} is kept, since it may be in use. "
                "To try again, omit --generate-key.",
                err=True,
            )
        raise
    sealed = ", sealed by the seals of the other key" if seals else ""
    click.echo(f"Made a key in {file}{sealed}: keep a copy in another place.")


async def _opens(location: StoreLocation, key: StoreKey) -> bool:
    """Tell whether the key opens a store, finished or not."""
    try:
        store = await open_store(location, key)
    except StoreError:
        return False
    await store.close()
    return True


@asynccontextmanager
async def other_key(
    name: str,
    file: str | None,
    method: str | None,
    location: StoreLocation,
    *,
    generate: bool,
    sealed_like: str,
) -> AsyncIterator[StoreKey | None]:
    """Yield the second key of a command, or None if it is not given.

    With `generate` it is made, and sealed by the seals of the key file `sealed_like`.
    """
    text = os.environ.get(f"{ENV_PREFIX}{name.upper()}_STORE_KEY", "")
    if generate:
        async with new_key(
            require_place(name, file, method), location, seals_of(sealed_like)
        ) as key:
            yield key
    elif file or text:
        yield read_key(file or "", text, method or "raw")
    elif method:
        raise StoreError(
            f"--{name}-key-method needs --{name}-key-file or MINIKMS_{name.upper()}_STORE_KEY."
        )
    else:
        yield None


def require_place(name: str, file: str | None, method: str | None) -> str:
    """Return the file in which to make the raw key `name`, from its flags; raises StoreError."""
    if not file or method not in (None, "raw"):
        raise StoreError(f"--generate-key makes a raw key, and --{name}-key-file names its file.")
    return file
