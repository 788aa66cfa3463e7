"""`minikms store backup` and `minikms store restore`, of SQLite files."""

from pathlib import Path
from typing import Any

import click

from minikms.cli.help import ON_A_STORE, HelpCommand
from minikms.cli.options import config_of
from minikms.cli.store_options import durable, key_of, on_a_store
from minikms.maintenance.backup import back_up
from minikms.maintenance.backup import restore as restore_backup
from minikms.startup_errors import StoreError
from minikms.store import StoreKey, StoreLocation

_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.command(cls=HelpCommand, examples=(f"minikms store backup keys-1.db {ON_A_STORE}",))
@_FILE
@on_a_store
async def backup(file: Path, **options: Any) -> None:
    """Write a store in an SQLite file, which may be in use, into a new FILE.

    The backup is a consistent snapshot with all writes acknowledged before. If a key is given, the
    command checks that it opens the backup.
    """
    location, path, key, checked = _store_of(options)
    await back_up(path, file, key)
    click.echo(f"Made a backup of {location} in {file}: {checked}.")


@click.command(cls=HelpCommand, examples=(f"minikms store restore keys-1.db {ON_A_STORE}",))
@_FILE
@on_a_store
async def restore(file: Path, **options: Any) -> None:
    """Replace a store in an SQLite file by the backup in FILE.

    No process may have the store open. The command first checks that the backup is complete and, if
    a key is given, that the key opens it.
    """
    location, path, key, checked = _store_of(options)
    await restore_backup(path, file, key)
    click.echo(f"Restored {location} from {file}: {checked}.")


def _store_of(options: dict[str, Any]) -> tuple[StoreLocation, Path, StoreKey | None, str]:
    """Return a store's location, file and key, if one is given, and a description of the check.

    Raises StoreError.
    """
    config = config_of(options)
    location = durable(config.store)
    if location.path is None:
        raise StoreError(
            "Back up PostgreSQL by pg_dump or point-in-time recovery; "
            "`minikms store copy` makes a copy in a file."
        )
    if config.store_key_file or config.store_key:
        return location, location.path, key_of(config), "the key opens it"
    return location, location.path, None, "without the key, only the file's structure was checked"
