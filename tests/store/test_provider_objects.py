"""Keys of providers stay in the store until their objects are gone; a store owns its objects."""

import asyncio
import time
from dataclasses import replace

import pytest
from aries_askar import Store
from filled_stores import opened

from minikms.errors import (
    AliasNotFound,
    KeyExists,
    KeyNotFound,
    ProfileNotFound,
    StoreUnavailable,
)
from minikms.key_requests import KeyRef
from minikms.plugin.provider import ProviderKey
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import PROVIDED, KeyRecord
from minikms.store.askar.location import StoreLocation
from minikms.store.keys.key_store import KeyStore
from minikms.store.keys.provider_objects import ProviderObject, ProviderObjects, objects_in

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)
HOUR = 3600 * 10**9
ID = bytes(15) + b"1"


@pytest.fixture
async def store():
    async with KeyStore.open_memory() as memory:
        yield memory


def record_of(key_id, kid="kid-1", token=None):
    """The record of a key whose object has this identifier."""
    return replace(
        RECORD,
        kid=kid,
        provider="hsm",
        object_id=key_id.hex(),
        token_serial=token,
        crit=PROVIDED,
    )


async def insert(store, *aliases, kid="kid-1", profile=DEFAULT_PROFILE):
    """Store a key of a provider; return the identifier of its object."""
    [key_id] = await store.objects.new_ids(1)
    await store.insert(profile, record_of(key_id, kid), b"reference", aliases)
    return key_id


def of(key_id, kid="kid-1", token="", *, is_due=True):
    return ProviderObject(kid, "hsm", key_id.hex(), token, is_due)


async def is_gone(store, kid="kid-1"):
    with pytest.raises(KeyNotFound):
        await store.record(DEFAULT_PROFILE, KeyRef(kid))
    return await store.deletions.due(DEFAULT_PROFILE) == [kid]


@pytest.mark.each_store
async def test_a_deleted_key_is_gone_at_once_and_stays_until_its_object_is_gone(any_store):
    async with opened(any_store) as store:
        key_id = await insert(store, "a")
        deleted = await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
        assert deleted.deletes is None
        assert await is_gone(store)
        with pytest.raises(AliasNotFound):
            await store.record(DEFAULT_PROFILE, KeyRef(alias="a"))
        assert await store.listing.page(DEFAULT_PROFILE, limit=9) == ([], False)
        assert not await store.deletions.remove_due(DEFAULT_PROFILE, "kid-1")
        found = await store.objects.due(DEFAULT_PROFILE, "kid-1")
        assert found == of(key_id)
        assert await store.deletions.remove_due(DEFAULT_PROFILE, "kid-1", found.object_id)
        assert await store.deletions.due(DEFAULT_PROFILE) == []
        assert await store.objects.due(DEFAULT_PROFILE, "kid-1") is None
        assert not await store.deletions.remove_due(DEFAULT_PROFILE, "kid-1", found.object_id)


async def test_a_deleted_key_stays_gone_whatever_the_clock_says(store, clock):
    await insert(store)
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    clock(-time.time() - 1000)  # before 1970
    assert await is_gone(store)
    with pytest.raises(KeyNotFound):
        await store.deletions.schedule(DEFAULT_PROFILE, KeyRef("kid-1"), None)


async def test_the_alias_of_a_deleted_key_is_free(store):
    await insert(store, "a")
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    record = replace(RECORD, kid="kid-2")
    await store.insert(DEFAULT_PROFILE, record, b"", ["a"], binding="refuse")
    assert (await store.record(DEFAULT_PROFILE, KeyRef(alias="a"))).kid == "kid-2"


async def test_the_kid_of_a_deleted_key_is_free_once_its_object_is_gone(store):
    key_id = await insert(store)
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    with pytest.raises(KeyExists):
        await store.insert(DEFAULT_PROFILE, RECORD, b"")
    await store.deletions.remove_due(DEFAULT_PROFILE, "kid-1", key_id.hex())
    await store.insert(DEFAULT_PROFILE, RECORD, b"")


async def test_deleted_keys_do_not_count(store):
    await store.directory.create("t")
    await store.directory.change("t", {"max_keys": 1})
    await insert(store, profile="t")
    await store.deletions.delete("t", KeyRef("kid-1"))
    await insert(store, kid="kid-2", profile="t")


async def test_a_key_that_is_scheduled_has_a_due_object_only_then(store, clock):
    key_id = await insert(store)
    ref = KeyRef("kid-1")
    await store.deletions.schedule(DEFAULT_PROFILE, ref, time.time_ns() + HOUR)
    assert await store.objects.due(DEFAULT_PROFILE, "kid-1") is None
    await store.deletions.schedule(DEFAULT_PROFILE, ref, None)
    clock(3601)
    assert await store.objects.due(DEFAULT_PROFILE, "kid-1") is None
    await store.deletions.schedule(DEFAULT_PROFILE, ref, time.time_ns() + HOUR)
    await store.deletions.delete(DEFAULT_PROFILE, ref)  # now
    assert await store.objects.due(DEFAULT_PROFILE, "kid-1") == of(key_id)


async def test_deletions_are_told_by_profile_and_kid(store):
    told = []
    store.database.on_ended(lambda profile, kids: told.append((profile, list(kids))))
    await insert(store, "a")
    await store.insert(DEFAULT_PROFILE, replace(RECORD, kid="software"), b"")
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("software"))
    await store.aliases.remove(DEFAULT_PROFILE, "a", lambda *_: None)
    await store.directory.create("t")
    await store.directory.create("u")
    await insert(store, kid="kid-2", profile="t")
    for name in "t", "u":
        await store.remove_profile(name)
    assert told == [(DEFAULT_PROFILE, ["kid-1"]), (None, [])]


async def test_versions_that_are_trimmed_stay_until_their_objects_are_gone(store):
    await insert(store, "a")
    [new] = await store.objects.new_ids(1)

    def successor(_):
        return record_of(new, "kid-2"), b"reference"

    await store.rotations.rotate(DEFAULT_PROFILE, KeyRef(alias="a"), successor, lambda *_: None)

    def trim(_, versions):
        return versions.trimmed(2)

    await store.aliases.change_versions(DEFAULT_PROFILE, "a", trim)
    assert await is_gone(store)
    assert (await store.record(DEFAULT_PROFILE, KeyRef(alias="a"))).kid == "kid-2"


async def test_the_token_of_a_key_of_version_0_3_0_is_in_its_reference(store):
    for token, reference, found in (
        ("a\nb", b"reference", "a\nb"),
        (None, ProviderKey("4711", ID, b"public").to_bytes(), "4711"),
        (None, b"unreadable", ""),
    ):
        await store.insert(DEFAULT_PROFILE, record_of(ID, token=token), reference)
        await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
        assert await store.objects.due(DEFAULT_PROFILE, "kid-1") == of(ID, token=found)
        await store.deletions.remove_due(DEFAULT_PROFILE, "kid-1", ID.hex())


@pytest.mark.each_store
async def test_a_removed_profile_stays_until_its_objects_are_gone(any_store):
    async with opened(any_store) as store:
        directory = store.database.directory
        await store.directory.create("t")
        key_ids = [await insert(store, kid=f"kid-{n}", profile="t") for n in range(2)]
        await store.deletions.delete("t", KeyRef("kid-1"))
        await store.insert("t", replace(RECORD, kid="software"), b"")
        assert await store.remove_profile("t")
        assert not await store.remove_profile("t")
        await store.directory.create("t")  # its name is free
        assert await store.listing.page("t", limit=9) == ([], False)
        assert await store.directory.names() == [DEFAULT_PROFILE, "t"]
        [removed] = await directory.removals.pending()
        assert removed.name == "t"
        found = await store.objects.of_removed(removed)
        assert [each.object_id for each in found] == [each.hex() for each in key_ids]
        for each in found:
            await store.objects.forget(removed, each, None)
        assert await store.objects.of_removed(removed) == []
        await directory.removals.erase(removed)
        await directory.removals.erase(removed)
        assert await directory.removals.pending() == []
        assert len(await directory.askar_profiles()) == 2
        assert await store.listing.page("t", limit=9) == ([], False)


async def test_an_interrupted_removal_of_a_profile_is_finished(store, monkeypatch):
    await store.directory.create("t")
    await insert(store, profile="t")
    directory = store.database.directory
    known = directory._known["t"]

    async def killed(*_):
        raise StoreUnavailable()

    with monkeypatch.context() as patch:
        patch.setattr(Store, "remove_profile", killed)
        await store.remove_profile("t")
        [removed] = await directory.removals.pending()
        with pytest.raises(StoreUnavailable):
            await directory.removals.erase(removed)
    # A process that has not learned of the removal: it would make a key that is removed unseen.
    counter = store.database.counters.values[known.slot]
    directory._known["t"] = known._replace(counter=counter)
    with pytest.raises(ProfileNotFound):
        await insert(store, kid="kid-2", profile="t")
    assert await store.directory.names() == [DEFAULT_PROFILE]
    for removed in await directory.removals.pending():
        await directory.removals.erase(removed)
    assert len(await directory.askar_profiles()) == 1
    assert await directory.removals.pending() == []


async def test_a_write_of_the_same_transaction_that_fails_stores_no_key(store):
    await store.insert(DEFAULT_PROFILE, replace(RECORD, kid="named"), b"", ["a"])
    ids = await store.objects.new_ids(2)
    refused = record_of(ids[0]), b"", ["a"]
    ended = await asyncio.gather(
        store.insert(DEFAULT_PROFILE, *refused, binding="refuse"),
        store.insert(DEFAULT_PROFILE, record_of(ids[1], "kid-2"), b""),
        return_exceptions=True,
    )
    assert [isinstance(each, Exception) for each in ended] == [True, False]
    named = [await store.objects.is_named(DEFAULT_PROFILE, key_id) for key_id in ids]
    assert named == [False, True]


async def test_keys_are_found_by_their_objects(store):
    key_ids = await store.objects.new_ids(300)
    keys = [(record_of(each, f"kid-{n}"), b"r") for n, each in enumerate(key_ids)]
    await store.insert_all(DEFAULT_PROFILE, keys)
    await store.insert(DEFAULT_PROFILE, replace(RECORD, kid="software"), b"")
    found = await store.database.run(DEFAULT_PROFILE, objects_in)
    assert [each.object_id for each in found] == [each.hex() for each in key_ids]
    assert {each.is_due for each in found} == {False}


async def test_a_change_of_a_record_keeps_the_object(store):
    key_id = await insert(store)
    await store.change(DEFAULT_PROFILE, "kid-1", lambda one: replace(one, labels={"object": "x"}))
    await store.aliases.bind(DEFAULT_PROFILE, "kid-1", "a")
    assert await store.objects.is_named(DEFAULT_PROFILE, key_id)
    await store.aliases.remove(DEFAULT_PROFILE, "a", lambda *_: None)
    assert await store.objects.due(DEFAULT_PROFILE, "kid-1") == of(key_id)


async def test_a_store_owns_its_objects_until_it_is_copied(store):
    assert not await store.objects.owns()
    assert not await store.objects.set_owner(owns=True)  # there are none
    await store.objects.new_ids(1)
    assert await store.objects.owns()
    assert await store.objects.set_owner(owns=False)
    assert not await store.objects.owns()
    await store.objects.new_ids(1)
    assert not await store.objects.owns()
    assert await store.objects.set_owner(owns=True)
    assert await store.objects.owns()


async def begin_together(store):
    """The prefixes with which two processes that begin at the same time make objects."""
    both = [ProviderObjects(store.database) for _ in range(2)]
    made = await asyncio.gather(*(each.new_ids(1) for each in both))
    return [key_id[:6] for [key_id] in made]


async def test_two_processes_begin_with_the_same_prefix(persistent_url, key):
    location = StoreLocation.parse(persistent_url)
    async with KeyStore.create(location, key) as store:
        first, second = await begin_together(store)
        assert first == second
    async with KeyStore.open(location, key) as store:
        assert await store.objects.owns()
        assert await begin_together(store) == [first, first]
        await store.objects.set_owner(owns=False)
        copied, again = await begin_together(store)
        assert copied == again != first
        assert await store.objects.prefixes() == (copied,)
        await store.objects.set_owner(owns=True)
        assert await store.objects.prefixes() == (copied, first)
