"""The layout of a store, which an upgrade raises, and processes of an older one."""

import fcntl

import pytest

from minikms.startup_errors import StoreError
from minikms.store.askar.layout import LAYOUT, LAYOUTS, UPGRADING, Layout
from minikms.store.askar.location import StoreLocation
from minikms.store.database import Database
from minikms.store.keys.key_store import KeyStore


@pytest.fixture
async def location(persistent_url, key):
    """A store with the layout of the first release."""
    location = StoreLocation.parse(persistent_url)
    async with (
        KeyStore.create(location, key) as store,
        store.database._pool.store.session() as session,
    ):
        await session.replace("minikms.store", "layout", "1")
    return location


async def layout_of(location, key, **options):
    async with Database.open(location, key, **options) as database:
        return database.layout


def test_a_layout_is_stored_as_it_is_read():
    assert Layout.of(LAYOUT.stored.encode()) == LAYOUT
    assert Layout.of(b"1") == Layout(1, 0)
    assert int(LAYOUT.stored) > 1  # as the first release reads it


async def test_a_service_needs_the_upgrade_and_a_command_does_not(location, key):
    assert await layout_of(location, key) == Layout(1, 0)
    with pytest.raises(StoreError, match=r"layout 1.0 of an older .* `minikms store upgrade`"):
        await layout_of(location, key, serving=True)
    assert await layout_of(location, key, upgrading=True) == UPGRADING
    with pytest.raises(StoreError, match=r"begun and not finished: run .* again"):
        await layout_of(location, key, serving=True)
    async with Database.open(location, key, upgrading=True) as database:
        await database.finish_upgrade()
    assert await layout_of(location, key, serving=True) == LAYOUT
    assert await layout_of(location, key, upgrading=True) == LAYOUT


def test_an_older_process_refuses_a_store_that_is_being_upgraded():
    assert int(UPGRADING.stored) > 1  # as the first release reads it
    assert LAYOUTS[-2] < UPGRADING < LAYOUT


async def test_no_older_process_writes_while_a_service_has_the_file_open(sqlite, key):
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    with open(f"{sqlite}-lock") as lock:  # that of layout 1.0
        async with KeyStore.open(location, key) as command:
            await command.create_profile("of a command")
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(lock, fcntl.LOCK_UN)
            async with KeyStore.open(location, key, serving=True) as service:
                await service.create_profile("of a service")
                await command.create_profile("another")
                with pytest.raises(BlockingIOError):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
