"""`minikms store backup` and `minikms store restore`, of SQLite files and of profiles."""

from pathlib import Path
from typing import Any

import click

from minikms.cli.help import ON_A_STORE, HelpCommand
from minikms.cli.options import config_of
from minikms.cli.store_copies import keys_text, require_another_file, tell_copies
from minikms.cli.store_options import durable, key_of, of_profiles, on_a_store, store_of
from minikms.maintenance.backup import back_up, backup_of, location_of
from minikms.maintenance.backup import restore as restore_backup
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.profile_copy import copy_profiles, require_copyable
from minikms.maintenance.write import StoreWriter
from minikms.startup_errors import StoreError
from minikms.store import StoreKey, StoreLocation

_FILE = click.argument("file", type=click.Path(path_type=Path))


@click.command(
    cls=HelpCommand,
    examples=(
        f"minikms store backup keys-1.db {ON_A_STORE}",
        f"minikms store backup --profile alice alice-1.db {ON_A_STORE}",
    ),
)
@_FILE
@of_profiles("Back up this profile alone, of any store")
@on_a_store
async def backup(file: Path, profiles: tuple[str, ...], **options: Any) -> None:
    """Write a store in an SQLite file, which may be in use, into a new FILE.

    The backup is a consistent snapshot with all writes acknowledged before. If a key is given, the
    command checks that it opens the backup. A backup of a profile needs the key.
    """
    if profiles:
        store, opens = store_of(options)
        async with StoreInspector.open(store, opens) as source, backup_of(file, opens) as new:
            copied = await _copied(source, profiles, new, opens)
        click.echo(f"Made a backup of {copied} in {file}.")
        return
    location, path, key, checked = _store_of(options)
    await back_up(path, file, key)
    click.echo(f"Made a backup of {location} in {file}: {checked}.")


@click.command(
    cls=HelpCommand,
    examples=(
        f"minikms store restore keys-1.db {ON_A_STORE}",
        f"minikms store restore --profile alice alice-1.db {ON_A_STORE}",
    ),
)
@_FILE
@of_profiles("Restore this profile alone, in any store that does not have it")
@on_a_store
async def restore(file: Path, profiles: tuple[str, ...], **options: Any) -> None:
    """Replace a store in an SQLite file by the backup in FILE.

    No process may have the store open. The command first checks that the backup is complete and, if
    a key is given, that the key opens it. A profile is added to the store, which may be in use.
    """
    if profiles:
        store, opens = store_of(options)
        require_another_file(location_of(file), store)
        async with StoreInspector.open(location_of(file), opens) as source:
            copied = await _copied(source, profiles, store, opens)
        click.echo(f"Restored {copied} from {file}.")
        return
    location, path, key, checked = _store_of(options)
    await restore_backup(path, file, key)
    click.echo(f"Restored {location} from {file}: {checked}.")


async def _copied(
    source: StoreInspector, profiles: tuple[str, ...], target: StoreLocation, key: StoreKey
) -> str:
    """Copy profiles as they are into a store with this key, and return their numbers."""
    await require_copyable(source, profiles)
    async with StoreWriter.open_or_create(target, key) as writer:
        number, keys = await tell_copies(
            copy_profiles(source, writer, lambda _: None, profiles=profiles, freeze=False)
        )
    return f"{number} profiles and {keys_text(keys)}"


def _store_of(options: dict[str, Any]) -> tuple[StoreLocation, Path, StoreKey | None, str]:
    """Return a store's location, file and key, if one is given, and a description of the check.

    Raises StoreError.
    """
    config = config_of(options)
    location = durable(config.store)
    if location.path is None:
        raise StoreError(
            "Back up PostgreSQL by pg_dump or point-in-time recovery; "
            "`minikms store copy` makes a copy in a file, and --profile a backup of a profile."
        )
    if config.store_key_file or config.store_key:
        return location, location.path, key_of(config), "the key opens it"
    return location, location.path, None, "without the key, only the file's structure was checked"
