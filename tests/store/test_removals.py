"""The contents of a removed profile are erased in parts, in any number of processes."""

import asyncio
import time
from dataclasses import replace

import pytest
from aries_askar import Key, KeyAlg
from filled_stores import opened
from waiting import waiting_for

from minikms.errors import KeyNotFound, ProfileNotFound
from minikms.key_requests import KeyRef
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.serve.upkeep import sweeping
from minikms.store.askar.layout import SYSTEM
from minikms.store.askar.location import StoreLocation
from minikms.store.categories import LAST_USES
from minikms.store.keys import key_store
from minikms.store.keys.key_store import KeyStore
from minikms.store.keys.last_use import LastUses
from minikms.store.profiles import removals
from minikms.store.profiles.entries import use_tags

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)
REGISTRY = AlgorithmRegistry.from_installed()
PART = 4
KEYS = 5 * PART


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    """A part is small, and the deletion of a profile erases only one."""
    monkeypatch.setattr(removals, "_PART", PART)
    monkeypatch.setattr(key_store, "_ERASING", 0)


async def fill(store, profile="t", keys=KEYS):
    """Make a profile with keys, some of them Askar's, with aliases, and with last uses."""
    await store.directory.create(profile)
    for number in range(1, keys + 1):
        record, material = replace(RECORD, kid=f"kid-{number}"), b"secret"
        if number % 2:
            record = replace(record, material="askar")
            material = Key.generate(KeyAlg.ED25519)
        await store.insert(profile, record, material, [f"a{number}"])
    seqs = [f"{256 * number:020d}" for number in range(KEYS)]
    await LastUses(store.database).write({(profile, seq): time.time_ns() for seq in seqs})


async def until_erased(store):
    async with waiting_for("the erasure"):
        while await store.database.directory.removals.pending():
            await asyncio.sleep(0.01)


async def left(store, askar_profile):
    """Count the entries of a removed profile, its keys in Askar, and its last uses."""
    calls = store.database._calls
    async with calls.session(askar_profile) as session:
        own = await session.count(None), len(await session.all_keys())
    async with calls.session(SYSTEM) as session:
        return *own, await session.count(LAST_USES, use_tags(askar_profile))


@pytest.mark.each_store
async def test_a_large_profile_is_gone_at_once_and_erased_in_parts(any_store):
    async with opened(any_store) as store:
        directory = store.database.directory
        await fill(store)
        askar_profile = await directory.askar_profile("t")
        first = await left(store, askar_profile)
        assert min(first) >= KEYS // 2
        assert await store.remove_profile("t")
        assert not await store.remove_profile("t")
        assert await directory.names() == [DEFAULT_PROFILE]
        for ref in KeyRef("kid-1"), KeyRef(alias="a20"):
            with pytest.raises(ProfileNotFound):
                await store.record("t", ref)

        await directory.create("t")  # its name is free
        assert await store.listing.page("t", limit=9) == ([], False)
        await store.insert("t", RECORD, b"other", ["a20"])
        [removed] = await directory.removals.pending()
        assert removed.askar_profile == askar_profile
        before, parts = sum(await left(store, askar_profile)), 0
        while not await directory.removals.erase(removed, time.monotonic()):
            now = sum(await left(store, askar_profile))
            assert before - now == PART
            before, parts = now, parts + 1
        assert parts > 10
        assert await directory.removals.pending() == []
        assert askar_profile not in await directory.askar_profiles()
        async with store.database._calls.session(SYSTEM) as session:
            assert await session.count(LAST_USES, use_tags(askar_profile)) == 0
        assert (await store.record("t", KeyRef(alias="a20"))).kid == "kid-1"
        with pytest.raises(KeyNotFound):
            await store.record("t", KeyRef("kid-2"))


@pytest.mark.each_store
async def test_the_service_goes_on_until_a_removed_profile_is_erased(any_store):
    async with opened(any_store) as store:
        await fill(store)
        service = KeyService(REGISTRY, store)
        async with sweeping(service, None):
            assert await store.remove_profile("t")
            await until_erased(store)
        assert len(await store.database.directory.askar_profiles()) == 1


@pytest.mark.each_store
async def test_a_start_goes_on_with_a_removed_profile(any_store):
    async with opened(any_store) as store:
        await fill(store)
        assert await store.remove_profile("t")
        assert await store.database.directory.removals.pending()
        async with sweeping(KeyService(REGISTRY, store), None):
            await until_erased(store)


@pytest.mark.each_store
async def test_several_erase_a_profile_at_the_same_time(any_store):
    async with opened(any_store) as store:
        await fill(store)
        directory = store.database.directory
        assert await store.remove_profile("t")
        [removed] = await directory.removals.pending()
        done = await asyncio.gather(*(directory.removals.erase(removed) for _ in range(3)))
        assert done == [True] * 3
        assert await directory.removals.erase(removed)
        assert await directory.removals.pending() == []
        assert len(await directory.askar_profiles()) == 1


@pytest.mark.parametrize(
    "which", ["length(value) DESC", "profile_id DESC, kind, length(value) DESC"]
)
async def test_entries_that_do_not_decrypt_are_erased_together(sqlite, key, flip, query, which):
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as store:
        await fill(store)
    ((damaged,),) = query(sqlite, f"SELECT id FROM items ORDER BY {which} LIMIT 1")
    flip(sqlite, damaged)
    async with KeyStore.open(location, key) as store:
        removals = store.database.directory.removals
        assert await store.remove_profile("t")
        for removed in await removals.pending():
            assert await removals.erase(removed)
        assert await removals.pending() == []
        assert len(await store.database.directory.askar_profiles()) == 1
