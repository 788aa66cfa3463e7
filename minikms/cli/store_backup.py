"""`minikms store backup` and `minikms store restore`, of SQLite files."""

import asyncio
from pathlib import Path
from typing import Any

import click

from minikms.cli.help import ON_A_STORE, HelpCommand
from minikms.cli.options import config_of
from minikms.cli.store_options import durable, key_of, on_a_store
from minikms.config import Config
from minikms.maintenance.backup import back_up
from minikms.maintenance.backup import restore as restore_backup
from minikms.startup_errors import StoreError
from minikms.store.location import StoreKey, StoreLocation

_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.command(cls=HelpCommand, examples=(f"minikms store backup keys-1.db {ON_A_STORE}",))
@_FILE
@on_a_store
def backup(file: Path, **options: Any) -> None:
    """Write a store in an SQLite file, which may be in use, into a new FILE.

    It is as it was at one moment, with all that was acknowledged before. With the key, the backup
    is checked to be one that it opens.
    """
    config = config_of(options)
    location, path = _place(config)
    key = _key_if_given(config)
    asyncio.run(back_up(path, file, key))
    checked = "the key opens it" if key else "without the key, only its form was checked"
    click.echo(f"Made a backup of {location} in {file}: {checked}.")


@click.command(cls=HelpCommand, examples=(f"minikms store restore keys-1.db {ON_A_STORE}",))
@_FILE
@on_a_store
def restore(file: Path, **options: Any) -> None:
    """Replace a store in an SQLite file by the backup in FILE. No process may have it open.

    The backup is checked first: that it is whole, and, with the key, that this opens it.
    """
    config = config_of(options)
    location, path = _place(config)
    key = _key_if_given(config)
    asyncio.run(restore_backup(path, file, key))
    checked = "the key opens it" if key else "without the key, only its form was checked"
    click.echo(f"Restored {location} from {file}: {checked}.")


def _place(config: Config) -> tuple[StoreLocation, Path]:
    """Where the store is; raises StoreError for one that is not in a file."""
    location = durable(config.store)
    if location.path is None:
        raise StoreError(
            "Backups of PostgreSQL are made by pg_dump or point-in-time recovery; "
            "`minikms store copy` makes a copy in a file."
        )
    return location, location.path


def _key_if_given(config: Config) -> StoreKey | None:
    """The key that opens the store, None where none is given; raises StoreError."""
    return key_of(config) if config.store_key_file or config.store_key else None
