"""The command line of stores: `minikms store …`."""

import asyncio
from functools import wraps
from typing import Any

import click

from minikms.askar import new_raw_key
from minikms.config import Config
from minikms.errors import StoreError
from minikms.location import StoreKey, StoreLocation, read_key, write_key
from minikms.options import Command, config_of, fail, options_of_config
from minikms.store import KeyStore


@click.group()
def store() -> None:
    """Make, look after and copy the store that keys are kept in."""


def _on_a_store(command: Command) -> Command:
    """Give a command the flags of a store, and end it with one sentence where that cannot be."""

    @wraps(command)
    def call(**options: Any) -> None:
        try:
            command(**options)
        except StoreError as exc:
            fail(str(exc), 2)

    return options_of_config("store", "store_key_file", "store_key_method")(call)


@store.command()
@click.option(
    "--generate-key",
    is_flag=True,
    help="First make a raw key, in a new file where --store-key-file says.",
)
@click.option(
    "--if-missing", is_flag=True, help="End well where the store is there, and this key opens it."
)
@_on_a_store
def init(generate_key: bool, if_missing: bool, **options: Any) -> None:
    """Make a store. One that is there stays as it is."""
    config = config_of(options)
    location = _durable(config.store)
    if generate_key:
        if not config.store_key_file or config.store_key_method != "raw":
            raise StoreError("--generate-key makes a raw key: say where, with --store-key-file.")
        write_key(config.store_key_file, new_raw_key())
        click.echo(f"Made a key in {config.store_key_file}: keep a copy in another place.")
    if asyncio.run(_init(location, _key(config), if_missing=if_missing)):
        click.echo(f"Made a store at {location}.")
    else:
        click.echo(f"There is a store at {location}.")


async def _init(location: StoreLocation, key: StoreKey, *, if_missing: bool) -> bool:
    """Make a store; False where there is one already, and that is no error."""
    try:
        async with KeyStore.create(location, key):
            return True
    except StoreError:
        if not if_missing:
            raise
        async with KeyStore.open(location, key):
            return False


def _durable(url: str) -> StoreLocation:
    """The place of a store that is kept; raises StoreError for the one in memory."""
    location = StoreLocation.parse(url)
    if not location.shared:
        raise StoreError("A store in memory ends with its process: say --store sqlite:///PATH.")
    return location


def _key(config: Config) -> StoreKey:
    return read_key(config.store_key_file, config.store_key, config.store_key_method)
