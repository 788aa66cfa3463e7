"""A store and its key, for commands."""

import random

import pytest
from filled_stores import write_key

from minikms.store.askar.stores import new_raw_key


@pytest.fixture(params=["sqlite", "postgres"])
def target_url(request, tmp_path):
    """The URL of a copy, which does not exist."""
    if request.param == "sqlite":
        return f"sqlite://{tmp_path}/copy.db"
    return request.getfixturevalue("postgres_server").url(f"copy_{random.randbytes(8).hex()}")


@pytest.fixture(scope="session")
def key():
    """The store key, one for all tests of a process: they copy stores that were filled once."""
    return new_raw_key()


@pytest.fixture
def key_file(tmp_path, key):
    return write_key(tmp_path / "store.key", key)
