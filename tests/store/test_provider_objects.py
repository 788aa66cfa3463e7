"""Objects of providers: at each moment a key names one, or an entry that lets it be destroyed."""

import asyncio
import time
from dataclasses import replace

import pytest
from aries_askar import Store
from stores import opened

from minikms.errors import (
    AliasExists,
    ProfileNotFound,
    ProviderUnavailable,
    StoreUnavailable,
)
from minikms.records import DEFAULT_PROFILE, PROVIDED, KeyRecord, KeyRef
from minikms.store.askar.location import StoreLocation
from minikms.store.categories import PROFILE
from minikms.store.keys.key_store import KeyStore
from minikms.store.keys.object_entries import ProviderObject, objects_in
from minikms.store.keys.provider_objects import ProviderObjects

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)
HOUR = 3600 * 10**9


@pytest.fixture
async def store():
    async with KeyStore.open_memory() as memory:
        yield memory


def later():
    return time.time_ns() + HOUR


def record_of(key_id, kid="kid-1"):
    """The record of a key whose object has this identifier."""
    return replace(RECORD, kid=kid, provider="hsm", object_id=key_id.hex(), crit=PROVIDED)


async def insert(store, key_id, *aliases, kid="kid-1", binding="move", profile=DEFAULT_PROFILE):
    record = record_of(key_id, kid)
    await store.insert(profile, record, b"reference", aliases, binding=binding)
    return record


async def due(store, profile=DEFAULT_PROFILE):
    """The identifiers of the objects to destroy, in order."""
    found = await store.objects.condemn_ended(profile, await store.objects.due(profile))
    assert {each.provider for each in found} <= {"hsm"}
    return sorted(bytes.fromhex(each.object_id) for each in found)


@pytest.mark.each_store
async def test_an_object_is_announced_taken_and_condemned(any_store, clock):
    async with opened(any_store) as store:
        taken, left = await store.objects.intend(DEFAULT_PROFILE, "hsm", 2, later())
        await insert(store, taken)
        assert await due(store) == []
        clock(3601)
        assert await due(store) == [left]
        clock(0)  # a clock that goes back does not give it to a key
        with pytest.raises(ProviderUnavailable):
            await insert(store, left, kid="kid-2")
        await store.objects.remove(DEFAULT_PROFILE, [ProviderObject("hsm", left.hex())])
        assert await due(store) == []
        await store.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
        assert await due(store) == [taken]
        gone = [ProviderObject("hsm", taken.hex())] * 2
        await store.objects.remove(DEFAULT_PROFILE, gone[:1])
        await store.objects.remove(DEFAULT_PROFILE, gone)  # by another process
        assert await due(store) == []


async def test_identifiers_begin_alike_in_a_store_and_differ_in_another(store):
    key_ids = await store.objects.intend(DEFAULT_PROFILE, "hsm", 3, later())
    [prefix] = await store.objects.prefixes()
    assert {len(each) for each in key_ids} == {16}
    assert len({*key_ids}) == 3
    assert all(each.startswith(prefix) for each in key_ids)
    async with KeyStore.open_memory() as other:
        [key_id] = await other.objects.intend(DEFAULT_PROFILE, "hsm", 1, later())
    assert not key_id.startswith(prefix)


async def test_a_key_without_an_announcement_is_not_stored(store):
    with pytest.raises(ProviderUnavailable):
        await insert(store, bytes(16))
    with pytest.raises(ProviderUnavailable):
        await store.insert_all(DEFAULT_PROFILE, [(record_of(bytes(16)), b"reference")])
    assert await store.existing(DEFAULT_PROFILE, ["kid-1"]) == set()


async def test_an_insert_that_fails_leaves_the_announcement(store):
    await store.insert(DEFAULT_PROFILE, replace(RECORD, kid="other"), b"", ["a"])
    [key_id] = await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, later())
    with pytest.raises(AliasExists):
        await insert(store, key_id, "a", binding="refuse")
    await insert(store, key_id, "b", binding="refuse")
    assert await due(store) == []


async def test_a_failed_call_condemns_what_no_key_has(store):
    taken, left, gone = await store.objects.intend(DEFAULT_PROFILE, "hsm", 3, later())
    await insert(store, taken)
    await store.objects.remove(DEFAULT_PROFILE, [ProviderObject("hsm", gone.hex())])
    await store.objects.condemn(DEFAULT_PROFILE, "hsm", [taken, left, gone])
    _, others = await store.database.run(DEFAULT_PROFILE, objects_in)
    assert others == {ProviderObject("hsm", each.hex()) for each in (left, gone)}
    assert await due(store) == sorted([left, gone])
    with pytest.raises(ProviderUnavailable):
        await insert(store, left, kid="kid-2")
    assert await due(store) == sorted([left, gone])


async def test_a_batch_is_stored_as_a_whole(store):
    key_ids = await store.objects.intend(DEFAULT_PROFILE, "hsm", 3, later())
    keys = [(record_of(each, f"kid-{n}"), b"reference") for n, each in enumerate(key_ids)]
    await store.objects.condemn(DEFAULT_PROFILE, "hsm", key_ids[2:])
    with pytest.raises(ProviderUnavailable):
        await store.insert_all(DEFAULT_PROFILE, keys)
    assert await store.existing(DEFAULT_PROFILE, ["kid-0", "kid-1", "kid-2"]) == set()
    await store.insert_all(DEFAULT_PROFILE, keys[:2])
    assert await due(store) == key_ids[2:]


async def test_a_write_of_the_same_transaction_that_fails_takes_nothing_away(store):
    one, other = await store.objects.intend(DEFAULT_PROFILE, "hsm", 2, later())
    await store.insert(DEFAULT_PROFILE, replace(RECORD, kid="named"), b"", ["a"])
    ended = await asyncio.gather(
        insert(store, one, "a", kid="kid-1", binding="refuse"),
        insert(store, other, "b", kid="kid-2"),
        return_exceptions=True,
    )
    assert isinstance(ended[0], AliasExists)
    assert await store.existing(DEFAULT_PROFILE, ["kid-1", "kid-2"]) == {"kid-2"}
    await store.objects.condemn(DEFAULT_PROFILE, "hsm", [one, other])
    assert await due(store) == [one]


async def test_a_scheduled_deletion_condemns_nothing_before_its_time(store, clock):
    [key_id] = await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, later())
    await insert(store, key_id)
    ref = KeyRef("kid-1")
    await store.schedule(DEFAULT_PROFILE, ref, time.time_ns() + HOUR)
    assert await due(store) == []
    await store.schedule(DEFAULT_PROFILE, ref, None)
    clock(3601)
    assert not await store.remove_due(DEFAULT_PROFILE, "kid-1")
    assert await due(store) == []
    await store.schedule(DEFAULT_PROFILE, ref, time.time_ns() + HOUR)
    clock(7300)
    assert await due(store) == []
    assert await store.remove_due(DEFAULT_PROFILE, "kid-1")
    assert await due(store) == [key_id]


async def test_a_rotation_takes_the_object_of_the_new_key(store):
    old, new, late = await store.objects.intend(DEFAULT_PROFILE, "hsm", 3, later())
    await insert(store, old, "a")
    await store.objects.condemn(DEFAULT_PROFILE, "hsm", [late])

    def successor_of(key_id):
        return lambda _: (record_of(key_id, key_id.hex()), b"reference")

    with pytest.raises(ProviderUnavailable):
        await store.rotate(DEFAULT_PROFILE, KeyRef("kid-1"), successor_of(late))
    assert (await store.record(DEFAULT_PROFILE, KeyRef(alias="a"))).kid == "kid-1"
    await store.rotate(DEFAULT_PROFILE, KeyRef("kid-1"), successor_of(new))
    await store.objects.condemn(DEFAULT_PROFILE, "hsm", [old, new])
    assert await due(store) == [late]


@pytest.mark.each_store
async def test_objects_of_a_removed_profile_are_destroyed(any_store):
    async with opened(any_store) as store:
        await store.create_profile("t")
        taken, left, gone = await store.objects.intend("t", "hsm", 3, later())
        await insert(store, taken, profile="t")
        await insert(store, gone, kid="kid-2", profile="t")
        await store.delete("t", KeyRef("kid-2"))
        await store.insert("t", replace(RECORD, kid="kid-3"), b"software")
        noted = []
        store.objects.on_condemned(noted.append)
        await store.remove_profile("t")
        assert noted == [None]
        assert await due(store, None) == sorted([taken, left, gone])
        with pytest.raises(ProfileNotFound):
            await insert(store, left, kid="kid-4", profile="t")
        await store.create_profile("t")
        with pytest.raises(ProviderUnavailable):
            await insert(store, left, kid="kid-4", profile="t")
        assert await due(store, "t") == []
        await store.objects.remove(None, await store.objects.due(None))
        assert await due(store, None) == []


async def test_an_interrupted_removal_of_a_profile_is_finished(store, monkeypatch):
    await store.create_profile("t")
    key_ids = await store.objects.intend("t", "hsm", 2, later())
    await insert(store, key_ids[0], profile="t")
    directory = store.database.directory
    known = directory._known["t"]

    async def killed(*_):
        raise StoreUnavailable()

    with monkeypatch.context() as patch:
        patch.setattr(Store, "remove_profile", killed)
        with pytest.raises(StoreUnavailable):
            await store.remove_profile("t")
        with pytest.raises(StoreUnavailable):
            await directory.finish_removals()
    # A process that has not learned of the removal: it would make a key that is removed unseen.
    counter = store.database.counters.values[known.slot]
    directory._known["t"] = known._replace(counter=counter)
    with pytest.raises(ProfileNotFound):
        await insert(store, key_ids[1], kid="kid-2", profile="t")
    assert await store.profiles() == [DEFAULT_PROFILE]
    await directory.finish_removals()
    assert await due(store, None) == sorted(key_ids)
    assert len(await directory.askar_profiles()) == 1
    assert await store.database.run_own(_removed) == []


async def _removed(session):
    return [each.name for each in await session.fetch_all(PROFILE) if each.value[:1] == b"-"]


async def test_many_objects_of_a_removed_profile_have_a_longer_time_limit(store):
    await store.objects.intend(None, "hsm", 1, later())
    store.database._pool.timeout = 0.001  # of a call without a limit of its own
    key_ids = await store.objects.intend(DEFAULT_PROFILE, "hsm", 300, later())
    await store.objects.condemn(None, "hsm", key_ids)
    gone = [ProviderObject("hsm", each.hex()) for each in key_ids]
    await store.objects.remove(None, gone)
    store.database._pool.timeout = 5
    assert await due(store, None) == []


async def test_keys_are_found_by_their_objects(store):
    key_ids = await store.objects.intend(DEFAULT_PROFILE, "hsm", 300, later())
    keys = [(record_of(each, f"kid-{n}"), b"r") for n, each in enumerate(key_ids[:299])]
    await store.insert_all(DEFAULT_PROFILE, keys)
    await store.insert(DEFAULT_PROFILE, replace(RECORD, kid="software"), b"")
    found, others = await store.database.run(DEFAULT_PROFILE, objects_in)
    assert found == {ProviderObject("hsm", each.object_id): each.kid for each, _ in keys}
    assert others == {ProviderObject("hsm", key_ids[299].hex())}


async def test_a_change_of_a_record_keeps_the_object(store):
    [key_id] = await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, later())
    await insert(store, key_id)
    await store.change(DEFAULT_PROFILE, "kid-1", lambda one: replace(one, labels={"object": "x"}))
    await store.bind_alias(DEFAULT_PROFILE, "kid-1", "a")
    await store.objects.condemn(DEFAULT_PROFILE, "hsm", [key_id])
    assert await due(store) == []
    await store.remove_name(DEFAULT_PROFILE, "a", lambda *_: None)
    assert await due(store) == [key_id]


async def test_a_store_owns_its_objects_until_it_is_copied(store):
    assert not await store.objects.owns()
    assert not await store.objects.set_owner(owns=True)  # there are none
    await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, later())
    assert await store.objects.owns()
    assert await store.objects.set_owner(owns=False)
    assert not await store.objects.owns()
    await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, later())
    assert not await store.objects.owns()
    assert await store.objects.set_owner(owns=True)
    assert await store.objects.owns()


async def begin_together(store):
    """The prefixes with which two processes that begin at the same time make objects."""
    both = [ProviderObjects(store.database) for _ in range(2)]
    made = await asyncio.gather(*(each.intend(DEFAULT_PROFILE, "hsm", 1, later()) for each in both))
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
