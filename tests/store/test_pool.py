"""A locked file and a full disk lose no acknowledged write."""

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

from minikms.errors import StoreUnavailable
from minikms.key_requests import KeyRef
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.connections import pool
from minikms.store.keys.key_store import KeyStore

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print(flush=True)
input()
"""


@contextmanager
def held(path):
    """Let another program hold the file.

    This process must not hold it: two SQLite libraries in one process do not see each other's
    locks.
    """
    with subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=-1, stdout=-1) as holder:
        holder.stdout.readline()
        yield
        holder.communicate(b"\n")


async def test_another_program_holds_the_file(sqlite, key):
    """Later acknowledged writes are on disk; Askar by itself would lose them."""
    location = StoreLocation.parse(f"sqlite://{sqlite}?busy_timeout=100")
    async with KeyStore.open(location, key) as store:
        with held(sqlite):
            for _ in range(location.max_connections + 1):
                with pytest.raises(StoreUnavailable):
                    await store.insert(DEFAULT_PROFILE, RECORD, b"secret")
            assert await store.listing.page(DEFAULT_PROFILE, limit=1) == ([], False)
        for n in range(10):
            await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=f"{n}"), b"secret")
    # Not before: opening a file releases the locks that this process has on it.
    async with KeyStore.open(location, key) as other:
        for n in range(10):
            assert (await other.record(DEFAULT_PROFILE, KeyRef(kid=f"{n}"))).kid == f"{n}"
        await other.insert(DEFAULT_PROFILE, RECORD, b"secret")


async def test_a_store_with_a_new_key_is_opened_again_with_it(sqlite, key):
    location = StoreLocation.parse(f"sqlite://{sqlite}?busy_timeout=100")
    async with KeyStore.open(location, key) as store:
        await store.database.rekey(StoreKey(new_raw_key()))
        with held(sqlite), pytest.raises(StoreUnavailable):
            await store.insert(DEFAULT_PROFILE, RECORD, b"secret")
        await store.insert(DEFAULT_PROFILE, RECORD, b"secret")
        assert store.database.pool.reopened == 1


async def test_each_outage_of_a_file_that_cannot_be_opened_is_logged_once(
    sqlite, key, caplog, monkeypatch
):
    """Each outage has the same reason, which is hard to cause for one process alone."""
    location = StoreLocation.parse(f"sqlite://{sqlite}?busy_timeout=100")

    async def refuse(*args):
        raise StoreError("it cannot be opened")

    async with KeyStore.open(location, key) as store:
        for _ in range(2):
            with held(sqlite), pytest.raises(StoreUnavailable):
                await store.insert(DEFAULT_PROFILE, RECORD, b"secret")
            with monkeypatch.context() as patched:
                patched.setattr(pool, "open_store", refuse)
                for _ in range(3):
                    with pytest.raises(StoreUnavailable):
                        await store.directory.names()
            assert await store.directory.names() == [DEFAULT_PROFILE]
    assert caplog.messages.count("it cannot be opened") == 2


FULL = """
import asyncio, resource, sys
from dataclasses import replace
from minikms.errors import StoreUnavailable
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.records import KeyRecord
from minikms.store.keys.key_store import KeyStore

RECORD = KeyRecord("", "x", "oct", None, None, None, None, (), "bytes", 1)


async def insert(store, kid):
    try:
        await store.insert("default", replace(RECORD, kid=kid), bytes(5000), [f"of {kid}"])
    except StoreUnavailable:
        return False
    print(kid, flush=True)
    return True


async def main(url, secret):
    async with KeyStore.open(StoreLocation.parse(url), StoreKey(secret)) as store:
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        for number in range(5):
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000 * (number + 1), most))
            tries = 0
            while await insert(store, f"before-{number}-{tries}"):
                tries += 1
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            for after in range(3):
                assert await insert(store, f"after-{number}-{after}")


asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_disk_that_is_full(sqlite, key):
    """Only the writes acknowledged before and after are stored."""
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    command = [sys.executable, "-c", FULL, str(location), key.secret]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    kids = ended.stdout.split()
    assert len(kids) > 20
    async with KeyStore.open(location, key) as store:
        records, _ = await store.listing.page(DEFAULT_PROFILE, limit=1000)
        assert [record.kid for record in records] == kids
        for kid in kids:
            await store.open_key(DEFAULT_PROFILE, KeyRef(alias=f"of {kid}"), lambda _: None)
