"""`minikms store own-objects`, `share-objects` and `destroy-orphans`."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import click

from minikms.cli.help import ON_A_STORE, HelpCommand
from minikms.cli.options import config_of, options_of_config
from minikms.cli.output import tell, tell_fault
from minikms.cli.store_options import on_a_store, store_of
from minikms.errors import ProviderUnavailable
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.provider_objects import (
    Comparison,
    compare,
    destroy,
    objects_of,
    require_no_doubt,
)
from minikms.plugin.provider import Provider
from minikms.plugin.providers import make_providers
from minikms.startup_errors import ProviderError
from minikms.store import Database
from minikms.store.internals import ProviderObjects, require_unused

PROVIDER = "--provider 'hsm=pkcs11:token=kms?module-path=/usr/lib/libpkcs11.so'"


@asynccontextmanager
async def open_providers(options: dict[str, Any]) -> AsyncIterator[Mapping[str, Provider]]:
    """Open a command's providers; raises ProviderError if one does not answer."""
    providers = make_providers(config_of(options).provider)
    async with AsyncExitStack() as stack:
        for name, provider in providers.items():
            try:
                await asyncio.to_thread(provider.open)
            except ProviderUnavailable as exc:
                raise ProviderError(f"The provider {name} does not answer: {exc.detail}") from None
            stack.push_async_callback(asyncio.to_thread, provider.close)
        yield providers


async def tell_differences(inspector: StoreInspector, providers: Mapping[str, Provider]) -> int:
    """Compare a store with its providers; return the number of keys without their object."""
    missing = 0
    for name, provider in providers.items():
        found = await compare(inspector, name, provider)
        for key in found.missing:
            tell_fault(key.profile, key.kid, f"its object {key.object_id} is not at {name}")
        for profile in found.unreadable:
            tell(f"The profile {profile or '-'} may have keys of objects that are left over.")
        tell_orphans(name, found)
        tell(f"The provider {name}: {found.keys} keys, {len(found.missing)} without object.")
        missing += len(found.missing)
    return missing


def tell_orphans(name: str, found: Comparison) -> None:
    """Write the orphans of a provider, and the number of other stores' objects."""
    for object_id in found.orphans:
        tell(f"Left over: the object {object_id} of the provider {name}")
    if found.others:
        tell(f"The provider {name} has {found.others} objects of other stores.")


@click.command(cls=HelpCommand, examples=(f"minikms store own-objects {ON_A_STORE}",))
@on_a_store
async def own_objects(**options: Any) -> None:
    """Let a copied store destroy the provider's objects of keys that are deleted in it.

    A copy or a restored backup shares its keys with another store, and leaves their objects at the
    provider. Run this command once no other store with these keys is in use.
    """
    await _set_owner(options, owns=True)


@click.command(cls=HelpCommand, examples=(f"minikms store share-objects {ON_A_STORE}",))
@on_a_store
async def share_objects(**options: Any) -> None:
    """Make a store keep the provider's objects of keys that are deleted in it.

    Run this command in a copy that another program made, such as pg_restore, before a service opens
    it. `minikms store copy`, `backup` and `restore` do the same.
    """
    await _set_owner(options, owns=False)


async def _set_owner(options: dict[str, Any], *, owns: bool) -> None:
    location, key = store_of(options)
    async with Database.open(location, key) as database:
        has_objects = await ProviderObjects(database).set_owner(owns=owns)
    if not has_objects:
        click.echo(f"The store at {location} has never made a key of a provider.")
    elif owns:
        click.echo(f"The store at {location} owns the objects of its keys, and destroys them.")
    else:
        click.echo(f"The store at {location} shares the objects of its keys, and destroys none.")


@click.command(
    cls=HelpCommand,
    examples=(f"minikms store destroy-orphans {PROVIDER} {ON_A_STORE}",),
)
@options_of_config("provider")
@click.option("--yes", is_flag=True, help="Destroy without asking.")
@on_a_store
async def destroy_orphans(yes: bool, **options: Any) -> None:
    """Destroy objects of a provider that this store made, but none of its keys names any more.

    Stop all services of the store first: an object whose key is being made looks the same. The
    command refuses if another process uses the store, if a key lacks its object, if a profile does
    not decrypt, or if the store shares its objects with another one. Objects of other stores stay.
    """
    location, key = store_of(options)
    async with open_providers(options) as providers:
        if not providers:
            raise ProviderError("The provider is missing: --provider NAME=URI.")
        there = {name: await objects_of(provider) for name, provider in providers.items()}
        # Afterwards: a process that has begun to make one of them has stored its key, or has ended.
        await require_unused(location)
        async with StoreInspector.open(location, key) as inspector:
            for name, provider in providers.items():
                found = await compare(inspector, name, provider)
                await require_no_doubt(inspector, name, found)
                orphans = [each for each in found.orphans if each in there[name]]
                await _destroy_orphans(name, provider, found._replace(orphans=orphans), ask=not yes)


async def _destroy_orphans(name: str, provider: Provider, found: Comparison, *, ask: bool) -> None:
    tell_orphans(name, found)
    number = len(found.orphans)
    if number and ask:
        question = f"Destroy these {number} objects of the provider {name} for ever?"
        click.confirm(question, abort=True)
    for object_id in found.orphans:
        await destroy(provider, object_id)
    click.echo(f"Destroyed {number} objects of the provider {name}.")
