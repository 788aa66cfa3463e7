"""Files of an SQLite store that are moved or replaced while a service has them open."""

import logging
import shutil
from dataclasses import replace

import pytest
from waiting import until

from minikms.errors import StoreUnavailable
from minikms.key_requests import KeyRef
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.store.askar.location import StoreLocation
from minikms.store.cache import Bounds, Cache
from minikms.store.keys.key_store import KeyStore

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)


@pytest.mark.parametrize("replaced", [False, True], ids=["moved", "replaced"])
async def test_a_file_that_is_not_the_one_that_was_opened(sqlite, key, replaced, caplog):
    shutil.copy(sqlite, sqlite.with_name("copy.db"))
    async with KeyStore.open(StoreLocation.parse(f"sqlite://{sqlite}"), key) as store:
        await store.insert(DEFAULT_PROFILE, RECORD, b"secret")
        sqlite.rename(sqlite.with_name("away.db"))
        if replaced:
            sqlite.with_name("copy.db").rename(sqlite)
        calls = (
            lambda: store.insert(DEFAULT_PROFILE, replace(RECORD, kid="kid-2"), b"secret"),
            lambda: store.directory.create("t"),
            lambda: store.record(DEFAULT_PROFILE, KeyRef(kid="kid-1")),
            store.ping,  # for /readyz
        )
        for call in calls * 2:
            with pytest.raises(StoreUnavailable, match="moved or replaced"):
                await call()
        lines = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [line.levelname for line in lines] == ["ERROR"]
        assert "was moved or replaced" in lines[0].message
        sqlite.with_name("away.db").rename(sqlite)
        await store.insert(DEFAULT_PROFILE, replace(RECORD, kid="kid-2"), b"secret")
        await store.record(DEFAULT_PROFILE, KeyRef(kid="kid-1"))
        assert "is in its place again" in caplog.text


@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
@pytest.mark.parametrize("ending", ["lock-2", "lock-3", "next-3", "seen"])
async def test_a_file_beside_it_that_is_not_the_one_that_was_opened(sqlite, key, ending, replaced):
    beside = sqlite.with_name(f"{sqlite.name}-{ending}")
    async with KeyStore.open(StoreLocation.parse(f"sqlite://{sqlite}"), key) as store:
        await store.insert(DEFAULT_PROFILE, RECORD, b"secret")
        beside.rename(sqlite.with_name("away"))
        if replaced:
            shutil.copy(sqlite.with_name("away"), beside)
        for call in (
            lambda: store.insert(DEFAULT_PROFILE, replace(RECORD, kid="kid-2"), b"secret"),
            lambda: store.record(DEFAULT_PROFILE, KeyRef(kid="kid-1")),
            store.ping,  # for /readyz
        ):
            with pytest.raises(StoreUnavailable, match="moved or replaced"):
                await call()


async def test_the_cache_is_not_used_without_the_file_of_changes(sqlite, key):
    """Other processes write to the new file, for example the revocation of a token."""
    async with KeyStore.open(StoreLocation.parse(f"sqlite://{sqlite}"), key) as store:
        cache = Cache[str](store.database.counters, Bounds(10))
        cache.start_fill().fill(("token",), "good", ("minikms.token", "1"))
        async with store.database.counters.listening(lambda: None):
            assert cache.get("token") == "good"
            sqlite.with_name(f"{sqlite.name}-seen").unlink()
            await until("the end of what was cached", lambda: cache.get("token") is None)
