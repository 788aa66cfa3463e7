"""Stores in a file, and the key that opens them."""

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
