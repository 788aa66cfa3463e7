"""Key files that commands create, and remove if the store cannot be created."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import click

from minikms.startup_errors import StoreError
from minikms.store.askar import new_raw_key, open_store
from minikms.store.location import StoreKey, StoreLocation
from minikms.store.secret_files import write_secret


@asynccontextmanager
async def new_key(file: str, location: StoreLocation) -> AsyncIterator[StoreKey]:
    """A raw key in a new file, for the store that the block creates; raises StoreError.

    If the block raises StoreError and no store opens with the key, the file is removed, so that the
    same command can be run again. After any other failure the key may be needed, and stays.
    """
    if os.path.isfile(file):
        use = "Leave --generate-key out to use it." if os.path.getsize(file) else "It is empty."
        raise StoreError(f"The key file {file} cannot be made: there is one. {use}")
    key = StoreKey(new_raw_key())
    write_secret(file, key.secret, "key", StoreError)
    try:
        yield key
    except BaseException as exc:
        if isinstance(exc, StoreError) and not await _opens(location, key):
            os.unlink(file)
        else:
            click.echo(
                f"minikms: The key file {file} stays, since it may be in use. "
                "To try again, leave --generate-key out.",
                err=True,
            )
        raise
    click.echo(f"Made a key in {file}: keep a copy in another place.")


async def _opens(location: StoreLocation, key: StoreKey) -> bool:
    """Whether a store, finished or not, opens with the key."""
    try:
        store = await open_store(location, key)
    except StoreError:
        return False
    await store.close()
    return True
