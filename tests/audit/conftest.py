"""Fixtures of the audit log's tests."""

import os

import pytest
from filled_stores import new_store

from minikms.audit.heads import AuditStore
from minikms.audit.verify import verify
from minikms.audit.verify_file import LogFile
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.keys.key_store import KeyStore


@pytest.fixture
async def database(tmp_path, make_store):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    location, key = StoreLocation.parse(options["store"]), StoreKey(options["store_key"])
    async with KeyStore.open(location, key, serving=True) as store:
        yield store.database


@pytest.fixture
def store(database):
    return AuditStore(database)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture(params=["store", "apart"])
def checked(request, store):
    """Check files by the store or by heads alone; returns faults and notes."""

    async def check(*files, by=request.param, partial=False):
        public, heads = await store.public_key(), await store.heads()
        assert all(head.is_signed_by(public) for head in heads)
        keys = await store.chains() if by == "store" else None
        faults, notes = [], []
        tally = verify(
            [LogFile(str(file)) for file in files],
            heads,
            keys,
            lambda where, what: faults.append((os.path.basename(where), what)),
            lambda where, what: notes.append((os.path.basename(where), what)),
            partial=partial,
        )
        assert (tally.files, tally.faults) == (len(files), len(faults))
        return faults, notes

    return check


@pytest.fixture
def options(tmp_path):
    return new_store(tmp_path)
