"""A store and the objects of its provider are compared, and orphans are told from others."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from minikms.key_requests import KeyRef
from minikms.keys.deletions import DueDeletions
from minikms.maintenance.backup import back_up, restore
from minikms.maintenance.copy import copy
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.provider_objects import compare, require_no_doubt
from minikms.maintenance.write import StoreWriter
from minikms.plugin import Provider, ProviderKey, ProviderStatus
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import PROVIDED, KeyRecord
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)
REGISTRY = AlgorithmRegistry([])


class Token(Provider):
    """The objects of a provider; `before` and `after` are called when they are listed."""

    def __init__(self, uri=""):
        self.objects = set()
        self.before = self.after = None

    def open(self):
        pass

    def close(self):
        pass

    def algorithms(self):
        return frozenset()

    def make(self, algorithm, key_id):
        self.objects.add(key_id)
        return ProviderKey("1", key_id, b"")

    def sign(self, key, data, scheme):
        raise NotImplementedError

    def find(self):
        before, self.before = self.before, None
        after, self.after = self.after, None
        if before:
            before()
        found = set(self.objects)
        if after:
            after()
        return found

    def destroy(self, key_id):
        self.objects.discard(key_id)

    def status(self):
        return ProviderStatus(available=True)


@pytest.fixture
def key():
    return StoreKey(new_raw_key())


@pytest.fixture
def location(tmp_path):
    return StoreLocation.parse(f"sqlite://{tmp_path}/keys.db")


@pytest.fixture
async def store(location, key):
    async with KeyStore.create(location, key) as made:
        yield made


@pytest.fixture
def inspector(store):
    return StoreInspector(store.database)


@pytest.fixture
def token():
    return Token()


async def generate(store, token, kid="kid-1", profile=DEFAULT_PROFILE, provider="hsm"):
    [key_id] = await store.objects.new_ids(1)
    token.make("x", key_id)
    record = replace(RECORD, kid=kid, provider=provider, object_id=key_id.hex(), crit=PROVIDED)
    await store.insert(profile, record, b"reference")
    return key_id


async def test_a_key_without_object_and_an_object_without_key(store, inspector, token):
    await generate(store, token)
    for name in "t", "u":
        await store.directory.create(name)
    lost = await generate(store, token, "kid-2", "t")
    token.destroy(lost)
    for number in range(2):  # their objects must be destroyed
        deleted = await generate(store, token, f"deleted-{number}")
        await store.deletions.delete(DEFAULT_PROFILE, KeyRef(f"deleted-{number}"))
    token.destroy(deleted)
    await generate(store, token, "kid-3", "u")
    await store.remove_profile("u")
    orphan = lost[:6] + bytes(10)
    of_another_store = bytes(16)
    token.objects |= {orphan, of_another_store}
    found = await compare(inspector, "hsm", token)
    assert (found.keys, found.others, found.unreadable) == (2, 1, [])
    assert found.missing == [("t", "kid-2", lost.hex())]
    assert found.orphans == [orphan.hex()]
    with pytest.raises(StoreError, match="kid-2"):
        await require_no_doubt(inspector, "hsm", found)
    token.make("x", lost)
    await require_no_doubt(inspector, "hsm", await compare(inspector, "hsm", token))


async def test_a_key_of_a_provider_with_another_name_is_no_orphan(store, inspector, token):
    await generate(store, token)
    found = await compare(inspector, "other", token)
    assert (found.keys, found.missing, found.orphans, found.others) == (0, [], [], 0)


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_store_in_use(store, inspector, token, moment):
    loop = asyncio.get_running_loop()
    old = await generate(store, token, "old")
    await store.directory.create("t")
    await generate(store, token, "kid-2", "t")

    async def change():
        await generate(store, token, "new")
        await store.deletions.delete(DEFAULT_PROFILE, KeyRef("old"))
        await store.remove_profile("t")

    def wait_for_change():
        asyncio.run_coroutine_threadsafe(change(), loop).result(20)

    setattr(token, moment, wait_for_change)
    found = await compare(inspector, "hsm", token)
    assert (found.missing, found.orphans) == ([], [])
    assert old in token.objects


async def test_an_object_that_somebody_destroys_meanwhile_is_no_orphan(store, inspector, token):
    key_id = await generate(store, token)
    orphan = key_id[:6] + bytes(10)
    token.objects.add(orphan)
    token.after = lambda: token.destroy(orphan)
    found = await compare(inspector, "hsm", token)
    assert (found.missing, found.orphans, found.others) == ([], [], 0)


async def test_a_profile_that_does_not_decrypt_may_have_keys(store, inspector, token):
    await store.directory.create("t")
    await generate(store, token, profile="t")
    askar_profile = await store.database.directory.askar_profile("t")
    await store.database._pool.store.remove_profile(askar_profile)
    found = await compare(inspector, "hsm", token)
    assert found.unreadable == ["t"]
    with pytest.raises(StoreError, match="profile t"):
        await require_no_doubt(inspector, "hsm", found)


@asynccontextmanager
async def opened(path, key):
    location = StoreLocation.parse(f"sqlite://{path}")
    async with KeyStore.open(location, key, serving=True) as store:
        yield store


async def test_copies_share_the_objects_until_they_own_them(location, key, tmp_path):
    token, path = Token(), Path(location.path)
    async with KeyStore.create(location, key) as store:
        key_id = await generate(store, token)
        copied = StoreLocation.parse(f"sqlite://{tmp_path}/copy.db")
        async with StoreWriter.create(copied, key) as target:
            source = StoreInspector(store.database)
            assert [each.keys async for each in copy(source, target, id)] == [1]
        assert await store.objects.owns()
    await back_up(path, tmp_path / "backup.db", None)  # which needs no key
    async with opened(path, key) as store:
        assert await store.objects.owns()
    await restore(tmp_path / "restored.db", tmp_path / "backup.db", key)
    await restore(path, tmp_path / "backup.db", key)

    async def sweep(store):
        async def destroy(key_id, serial):
            return token.destroy_in(serial, key_id)

        deletions = DueDeletions(store, {"hsm": destroy})
        await deletions.sweep(await store.directory.names(), None)

    for name in ("copy.db", "backup.db", "restored.db", "keys.db"):
        async with opened(tmp_path / name, key) as store:
            assert not await store.objects.owns()
            inspector = StoreInspector(store.database)
            found = await compare(inspector, "hsm", token)
            with pytest.raises(StoreError, match="shares its objects"):
                await require_no_doubt(inspector, "hsm", found)
            await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
            await sweep(store)
            assert token.objects == {key_id}
            assert await store.objects.set_owner(owns=True)
            await sweep(store)
            assert token.objects == {key_id}
    async with opened(path, key) as store:
        assert await store.objects.owns()
        inspector = StoreInspector(store.database)
        found = await compare(inspector, "hsm", token)
        await require_no_doubt(inspector, "hsm", found)
        assert found.orphans == [key_id.hex()]


async def test_no_copy_loses_its_own_keys_to_another_one(location, key, tmp_path):
    token, path = Token(), Path(location.path)
    async with KeyStore.create(location, key) as store:
        await generate(store, token)
        copied = StoreLocation.parse(f"sqlite://{tmp_path}/copy.db")
        async with StoreWriter.create(copied, key) as target:
            source = StoreInspector(store.database)
            assert [each.keys async for each in copy(source, target, id)] == [1]
    await back_up(path, tmp_path / "backup.db", key)
    copies = ["copy.db", "backup.db"]
    made = {}
    for name in ("keys.db", *copies):
        async with opened(tmp_path / name, key) as store:
            made[name] = (await generate(store, token, f"of {name}")).hex()
    for name in ("keys.db", *copies):
        async with opened(tmp_path / name, key) as store:
            found = await compare(StoreInspector(store.database), "hsm", token)
            assert (found.keys, found.missing, found.orphans, found.others) == (2, [], [], 2)
    for name in copies:  # in the place of the first store
        async with opened(tmp_path / name, key) as store:
            await store.objects.set_owner(owns=True)
            found = await compare(StoreInspector(store.database), "hsm", token)
            assert (found.orphans, found.others) == ([made["keys.db"]], 1)
