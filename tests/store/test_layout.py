"""An upgrade raises the layout of a store, and excludes processes of an older layout."""

import fcntl

import pytest

from minikms.startup_errors import StoreError
from minikms.store.askar.layout import BEFORE, LAYOUT, UPGRADING, Layout
from minikms.store.askar.location import StoreLocation
from minikms.store.database import Database
from minikms.store.keys.key_store import KeyStore


@pytest.fixture
def store_of(persistent_url, key):
    """Make a store with a layout."""

    async def make(stored):
        location = StoreLocation.parse(persistent_url)
        async with (
            KeyStore.create(location, key) as store,
            store.database._pool.store.session() as session,
        ):
            await session.replace("minikms.store", "layout", stored)
        return location

    return make


async def layout_of(location, key, **options):
    async with Database.open(location, key, **options) as database:
        return database.layout


def test_a_layout_is_stored_as_it_is_read():
    assert Layout.of(LAYOUT.stored.encode()) == LAYOUT
    assert Layout.of(b"1") == Layout(1, 0)


async def test_a_service_needs_the_upgrade(store_of, key):
    location = await store_of(BEFORE.stored)
    assert await layout_of(location, key) == BEFORE
    with pytest.raises(StoreError, match=r"layout 3.0 of an older .* `minikms store upgrade`"):
        await layout_of(location, key, serving=True)
    assert await layout_of(location, key, upgrading=True) == UPGRADING
    with pytest.raises(StoreError, match=r"begun and not finished: run .* again"):
        await layout_of(location, key, serving=True)
    async with Database.open(location, key, upgrading=True) as database:
        await database.finish_upgrade()
    assert await layout_of(location, key, serving=True) == LAYOUT
    assert await layout_of(location, key, upgrading=True) == LAYOUT


@pytest.mark.parametrize("stored", ["1", "2_0", "2_1"])
@pytest.mark.parametrize("options", [{}, {"serving": True}, {"upgrading": True}])
async def test_a_store_of_before_0_3_needs_release_0_3_first(store_of, key, stored, options):
    location = await store_of(stored)
    with pytest.raises(StoreError, match=r"`minikms store upgrade` of release 0.3 first"):
        await layout_of(location, key, **options)


async def test_a_newer_store_is_refused(store_of, key):
    location = await store_of("4_1")
    with pytest.raises(StoreError, match=r"layout 4.1 of a newer Mini KMS; this one knows 4.0"):
        await layout_of(location, key)


def test_an_older_process_refuses_a_store_that_is_being_upgraded():
    assert BEFORE < UPGRADING < LAYOUT


async def test_no_older_process_writes_while_a_service_has_the_file_open(sqlite, key):
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    with open(f"{sqlite}-lock-2") as lock:  # the lock of layout 3.0
        async with KeyStore.open(location, key) as command:
            await command.directory.create("of a command")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_UN)
            async with KeyStore.open(location, key, serving=True) as service:
                await service.directory.create("of a service")
                await command.directory.create("another")
                with pytest.raises(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
