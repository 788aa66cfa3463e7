"""Key files that commands create, and remove if they cannot create the store."""

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
    """Write a raw key to a new file, for the store that the block creates; raises StoreError.

    If the block raises StoreError and no store opens with the key, the file is removed, so that the
    command can be repeated. After any other failure the file stays, since the key may be needed.
    """
    if os.path.isfile(file):
        use = "Omit --generate-key to use it." if os.path.getsize(file) else "It is empty."
        raise StoreError(f"The key file {file} cannot be made: it already exists. {use}")
    key = StoreKey(new_raw_key())
    write_secret(file, key.secret, "key", StoreError)
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
    click.echo(f"Made a key in {file}: keep a copy in another place.")


async def _opens(location: StoreLocation, key: StoreKey) -> bool:
    """Tell whether a store, finished or not, opens with the key."""
    try:
        store = await open_store(location, key)
    except StoreError:
        return False
    await store.close()
    return True
