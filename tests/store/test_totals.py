"""The numbers of keys and profiles are right, and few calls of the store count them."""

import pytest
from stored import fill

from minikms.access.tokens import Tokens
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.service import KeyService
from minikms.maintenance.write import StoreWriter
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.location import StoreLocation
from minikms.store.connections.calls import StoreCalls
from minikms.store.keys import key_store
from minikms.store.keys.key_store import KeyStore

REGISTRY = AlgorithmRegistry.from_installed()
PROFILES = [f"p{number}" for number in range(10)]


@pytest.fixture
def sessions(monkeypatch):
    """The sessions that are opened."""
    made, session = [], StoreCalls.session

    def counted(self, *args, **options):
        made.append(args)
        return session(self, *args, **options)

    monkeypatch.setattr(StoreCalls, "session", counted)
    return made


async def made(store, *profiles):
    """Make profiles with a key each."""
    keys, kids = KeyService(REGISTRY, store), []
    for profile in profiles:
        await store.directory.create(profile)
        kids.append((await keys.creation.generate(profile, "hs256", KeyPolicy())).kid)
    return keys, kids


async def test_only_profiles_that_have_changed_are_counted_again(sessions):
    async with KeyStore.open_memory() as store:
        keys, kids = await made(store, *PROFILES)
        assert (await store.totals())[:2] == (10, 11)
        sessions.clear()
        assert (await store.totals())[:2] == (10, 11)
        assert len(sessions) == 1  # lists the profiles
        await keys.changes.delete("p3", KeyRef(kids[3]))
        await keys.creation.generate("p5", "hs256", KeyPolicy())
        await keys.creation.generate("p6", "hs256", KeyPolicy())
        await store.remove_profile("p8")
        sessions.clear()
        assert (await store.totals())[:2] == (10, 10)
        assert len(sessions) < len(PROFILES)
        await store.directory.create("p8")
        assert (await store.totals())[:2] == (10, 11)


@pytest.mark.postgres
async def test_the_keys_of_many_profiles_in_postgresql_are_counted_together(
    postgres_server, key, monkeypatch, sessions
):
    monkeypatch.setattr(key_store, "_SEVERAL", 5)
    location = StoreLocation.parse(postgres_server.create_database())
    async with KeyStore.create(location, key) as store:
        keys, kids = await made(store, *PROFILES)
        await Tokens(store.database).create("issuer", ("sign",))
        sessions.clear()
        assert (await store.totals())[:2] == (10, 11)
        assert len(sessions) <= 2  # lists the profiles, and counts the tokens
        await keys.changes.delete("p3", KeyRef(kids[3]))
        assert (await store.totals())[:2] == (9, 11)


@pytest.mark.postgres
async def test_many_keys_in_postgresql_are_estimated(postgres_server, key, monkeypatch, sessions):
    monkeypatch.setattr(key_store, "_MANY", 500)
    url = postgres_server.create_database()
    async with KeyStore.create(StoreLocation.parse(url), key) as store:
        await made(store, *PROFILES)
        await fill(StoreWriter(store.database), DEFAULT_PROFILE, 0, 1_000)
        postgres_server.execute("ANALYZE items, items_tags", url.rpartition("/")[2])
        sessions.clear()
        number, _, largest = await store.totals()
        assert number == pytest.approx(1_010, rel=0.05)
        assert largest == pytest.approx(1_000, rel=0.1)
        assert len(sessions) == 1  # lists the profiles
