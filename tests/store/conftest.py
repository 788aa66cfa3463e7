"""Stores, and the key that opens them."""

from contextlib import AsyncExitStack

import pytest

from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore


@pytest.fixture
def key():
    return StoreKey(new_raw_key())


@pytest.fixture
async def sqlite(tmp_path, key):
    """The path of a store in a file."""
    path = tmp_path / "keys.db"
    async with KeyStore.create(StoreLocation.parse(f"sqlite://{path}"), key):
        pass
    return path


@pytest.fixture
async def stores(persistent_url, key):
    """Two services that have the same store open; on PostgreSQL, they hear no notices."""
    location = StoreLocation.parse(persistent_url)
    async with KeyStore.create(location, key):
        pass
    async with AsyncExitStack() as stack:
        opened = [KeyStore.open(location, key) for _ in range(2)]
        yield [await stack.enter_async_context(store) for store in opened]
