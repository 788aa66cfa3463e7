"""The commands of stores: `minikms store …`."""

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click

from minikms.cli.help import ON_A_STORE, HelpGroup
from minikms.cli.options import options_of_config
from minikms.cli.output import progress, tell, tell_fault
from minikms.cli.store_backup import backup, restore
from minikms.cli.store_copies import keys_text, require_another_file, tell_copies
from minikms.cli.store_init import init
from minikms.cli.store_objects import (
    PROVIDER,
    destroy_orphans,
    open_providers,
    own_objects,
    share_objects,
    tell_differences,
)
from minikms.cli.store_options import (
    at_once,
    durable,
    of_profiles,
    on_a_store,
    other_key,
    registry_of,
    resumable,
    store_of,
    with_another_key,
)
from minikms.cli.store_seal import reseal, seal, seals, unseal
from minikms.cli.store_upgrade import upgrade
from minikms.config import ENV_PREFIX
from minikms.maintenance.copy import COPY_NOTES, Copied, count, finished_copies
from minikms.maintenance.copy import copy as copy_store
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.profile_copy import copy_profiles, require_copyable
from minikms.maintenance.progress import Progress
from minikms.maintenance.verify import VERIFY_NOTES, entries
from minikms.maintenance.verify import verify as verify_store
from minikms.maintenance.write import StoreWriter
from minikms.startup_errors import StoreError
from minikms.store import Database, StoreLocation
from minikms.store.internals import LONG_TIMEOUT, require_one_driver_environment


@click.group(cls=HelpGroup)
def store() -> None:
    """Create, maintain and copy the store of the keys."""


store.add_command(init)


@store.command(examples=(f"minikms store info {ON_A_STORE}",))
@options_of_config("without_algorithm")
@on_a_store
async def info(**options: Any) -> None:
    """Show the location of a store and the number of its keys."""
    location, key = store_of(options)
    algs = [entry.algorithm.name for entry in registry_of(options)]
    async with StoreInspector.open(location, key, any_layout=True) as inspector:
        click.echo(f"Backend: {location.backend}")
        click.echo(f"Location: {location}")
        click.echo(f"Layout: {inspector.database.layout}")
        if missing := await inspector.database.missing_statistics():
            click.echo(f"Missing in PostgreSQL: {', '.join(missing)}: run `minikms store upgrade`.")
        profiles = keys = 0
        async for profile, counts in count(inspector, algs):
            profiles, keys = profiles + 1, keys + sum(counts.values())
            parts = [f"{alg or 'not installed'} {n}" for alg, n in counts.items() if n]
            total = keys_text(sum(counts.values()))
            click.echo(f"Profile {profile}: {total}" + (f": {', '.join(parts)}" if parts else ""))
        click.echo(f"Profiles: {profiles}")
        click.echo(f"Keys: {keys}")


@store.command(
    examples=(f"minikms store rekey --new-key-file new.key --generate-key {ON_A_STORE}",)
)
@with_another_key("new", "New key of the store")
@on_a_store
async def rekey(
    new_key_file: str | None, new_key_method: str | None, generate_key: bool, **options: Any
) -> None:
    """Replace the key that opens a store. MINIKMS_NEW_STORE_KEY may hold the new key."""
    location, key = store_of(options)
    source = other_key(
        "new",
        new_key_file,
        new_key_method,
        location,
        generate=generate_key,
        sealed_like=options["store_key_file"],
    )
    async with Database.open(location, key, timeout=LONG_TIMEOUT) as database, source as new:
        if new is None:
            raise StoreError("The new key is missing: --new-key-file or MINIKMS_NEW_STORE_KEY.")
        if new == key:
            raise StoreError("The new key already opens the store.")
        click.echo("Changing the key: keep the old and the new one until this command is done.")
        await database.rekey(new)
    async with Database.open(location, new):
        click.echo(
            f"Done: the new key opens the store at {location}, and the old one no longer does."
        )


@store.command(
    examples=(
        f"minikms store copy --to sqlite://copy.db {ON_A_STORE}",
        f"minikms store copy --to postgres://kms@db.example/keys {ON_A_STORE}",
        f"minikms store copy --profile alice --to postgres://kms@db2.example/keys {ON_A_STORE}",
    )
)
@click.option(
    "--to",
    "target",
    required=True,
    metavar="URL",
    envvar=f"{ENV_PREFIX}TO_STORE",
    show_envvar=True,
    help="Store of the copy: sqlite:///PATH or postgres://USER:PASSWORD@HOST:PORT/NAME.",
)
@of_profiles("Move this profile alone, also into a store that exists")
@with_another_key("to", "Key of the copy, if it is another one")
@at_once
@resumable
@on_a_store
async def copy(
    target: str,
    profiles: tuple[str, ...],
    to_key_file: str | None,
    to_key_method: str | None,
    generate_key: bool,
    jobs: int,
    progress_file: Path | None,
    **options: Any,
) -> None:
    """Copy a store, which may be in use.

    The copy has the same store key, unless another one is given. MINIKMS_TO_STORE_KEY may hold it.
    An interrupted copy is not a store; run the command again. With --progress, it continues.

    --profile freezes the profile in this store; its copy in the other store is not frozen. Tokens
    that are valid in the profile alone are copied.
    """
    (location, key), place = store_of(options), durable(target)
    require_one_driver_environment(location, place)
    other = other_key(
        "to",
        to_key_file,
        to_key_method,
        place,
        generate=generate_key,
        sealed_like=options["store_key_file"],
    )
    if profiles:
        require_another_file(location, place)
        name, make = "store copy --profile", StoreWriter.open_or_create
        copying: Callable[..., AsyncGenerator[Copied, None]] = partial(
            copy_profiles, profiles=profiles, freeze=True
        )
    else:
        name, make, copying = "store copy", StoreWriter.create, copy_store
    async with (
        progress("Copying keys", show_pos=True) as bar,
        StoreInspector.open(location, key) as source,
        other as to_key,
        _progress_in(progress_file, name, COPY_NOTES, source, location, to=str(place)) as noted,
    ):
        kept = await finished_copies(source, noted)
        if profiles:
            await require_copyable(source, profiles)
        async with make(place, to_key or key, noted.mark, kept) as writer:
            counts = count(source, (), jobs=jobs, profiles=profiles or None, done=noted.done)
            bar.length = sum([sum(each.values()) async for _, each in counts])
            number, keys = await tell_copies(
                copying(source, writer, bar.update, jobs=jobs, progress=noted)
            )
    click.echo(f"Copied {number} profiles and {keys_text(keys)} to {place}.")
    if profiles:
        click.echo("They stay frozen in the first store: send their callers to the second one.")


store.add_command(backup)
store.add_command(restore)
store.add_command(upgrade)
store.add_command(seal)
store.add_command(seals)
store.add_command(unseal)
store.add_command(reseal)
store.add_command(own_objects)
store.add_command(share_objects)
store.add_command(destroy_orphans)


@store.command(
    examples=(
        f"minikms store verify {ON_A_STORE}",
        f"minikms store verify {PROVIDER} {ON_A_STORE}",
    )
)
@options_of_config("without_algorithm", "provider")
@at_once
@resumable
@on_a_store
async def verify(jobs: int, progress_file: Path | None, **options: Any) -> None:
    """Check every record, material and alias in a store, which may be in use.

    With a provider, also compare the keys of the provider with the store.
    """
    (location, key), registry = store_of(options), registry_of(options)
    async with progress("Checking keys") as bar:

        def left(entry: str) -> None:
            tell(f"Left over: {entry}")

        async with (
            open_providers(options) as providers,
            StoreInspector.open(location, key) as inspector,
            _progress_in(progress_file, "store verify", VERIFY_NOTES, inspector, location) as noted,
        ):
            bar.length = await entries(inspector, jobs=jobs, done=noted.done)
            tally = await verify_store(
                inspector, registry, tell_fault, left, bar.update, jobs=jobs, progress=noted
            )
            tally.faults += await tell_differences(inspector, providers)
    click.echo(
        f"Checked {tally.profiles} profiles, {keys_text(tally.keys)} and {tally.aliases} aliases: "
        f"{tally.faults or 'nothing'} wrong."
    )
    if tally.faults:
        sys.exit(1)


@asynccontextmanager
async def _progress_in(
    file: Path | None,
    command: str,
    notes: Mapping[str, type],
    store: StoreInspector,
    location: StoreLocation,
    **facts: str,
) -> AsyncIterator[Progress]:
    """Open the file of progress of a command, and say how much is done; raises StoreError."""
    identity = store.database.identity.decode()
    facts = {"command": command, "store": str(location), "identity": identity, **facts}
    with Progress.open(file, facts, notes) as noted:
        if noted.done:
            tell(f"Continuing after {len(noted.done)} profiles, which {file} names.")
        yield noted
