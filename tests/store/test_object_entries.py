"""Entries of objects: their time is in what is encrypted, also if an older version wrote them."""

import time
from dataclasses import replace

import pytest

from minikms.errors import ProviderUnavailable
from minikms.plugin.provider import ProviderKey
from minikms.records import DEFAULT_PROFILE, PROVIDED, KeyRecord, KeyRef
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore
from minikms.store.keys.object_entries import OBJECT, ProviderObject, objects_in, until_tags

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)
MINUTE = 60 * 10**9
HOUR = 60 * MINUTE
ID = bytes(15) + b"1"


@pytest.fixture
async def store():
    async with KeyStore.open_memory() as memory:
        yield memory


def of(key_id, token=""):
    return ProviderObject("hsm", key_id.hex(), token)


async def write(store, key_id, value, until):
    """Put an entry with this value and this tag in the place of the object's present one."""

    async def work(session):
        await session.remove_all(OBJECT)
        await session.insert(OBJECT, key_id.hex(), value, until_tags(until))

    await store.database.write(DEFAULT_PROFILE, work)


async def entries(store):
    """The values of all entries by the identifiers of their objects."""

    async def read(session):
        return {each.name: each.value.decode() for each in await session.fetch_all(OBJECT)}

    return await store.database.run(DEFAULT_PROFILE, read)


async def insert(store, key_id, token=None, reference=b"reference", profile=DEFAULT_PROFILE):
    record = replace(
        RECORD, provider="hsm", object_id=key_id.hex(), token_serial=token, crit=PROVIDED
    )
    await store.insert(profile, record, reference)


async def to_destroy(store):
    found = await store.objects.due(DEFAULT_PROFILE)
    return await store.objects.condemn_ended(DEFAULT_PROFILE, found)


async def test_a_changed_tag_destroys_nothing_that_a_call_may_take(store):
    [key_id] = await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, time.time_ns() + HOUR)
    value = (await entries(store))[key_id.hex()]
    await write(store, key_id, value, 0)
    assert await to_destroy(store) == []
    await insert(store, key_id)
    assert await entries(store) == {}


async def test_a_changed_tag_gives_no_condemned_object_to_a_key(store):
    [key_id] = await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, time.time_ns() + HOUR)
    await store.objects.condemn(DEFAULT_PROFILE, "hsm", [key_id])
    value = (await entries(store))[key_id.hex()]
    await write(store, key_id, value, time.time_ns() + HOUR)
    with pytest.raises(ProviderUnavailable):
        await insert(store, key_id)


async def test_a_condemned_object_is_destroyed_whatever_the_clock_says(store, clock):
    [key_id] = await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, time.time_ns() + HOUR)
    await store.objects.condemn(DEFAULT_PROFILE, "hsm", [key_id])
    clock(-time.time() - 1000)  # before 1970
    assert await to_destroy(store) == [of(key_id)]


async def test_no_object_is_missed_that_is_condemned_while_all_are_read(tmp_path):
    async def read(session):
        fetch_all = session.fetch_all

        async def fetch_and_delete(category, *args, **options):
            found = await fetch_all(category, *args, **options)
            if not deleted:
                deleted.append(await store.delete(DEFAULT_PROFILE, KeyRef("kid-1")))
            return found

        session.fetch_all = fetch_and_delete
        return await objects_in(session)

    deleted, location = [], StoreLocation.parse(f"sqlite://{tmp_path}/keys.db")
    async with KeyStore.create(location, StoreKey(new_raw_key())) as store:
        [key_id] = await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, time.time_ns() + HOUR)
        await insert(store, key_id)
        assert await store.database.run(DEFAULT_PROFILE, read) == ({}, {of(key_id)})


@pytest.mark.parametrize(
    ("ended", "is_destroyed"), [(1, True), (55 * MINUTE, True), (65 * MINUTE, False)]
)
async def test_an_announcement_is_believed_for_an_hour(store, ended, is_destroyed):
    now = time.time_ns()
    [key_id] = await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, now - ended)
    assert await to_destroy(store) == [of(key_id)] * is_destroyed
    assert await entries(store) == ({key_id.hex(): "hsm\n0\n"} if is_destroyed else {})


async def test_a_condemned_object_is_destroyed_however_late(store, clock):
    [key_id] = await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, time.time_ns() + HOUR)
    await insert(store, key_id)
    await store.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    clock(10 * 365 * 86_400)
    assert await to_destroy(store) == [of(key_id)]


async def test_an_entry_of_an_older_version_destroys_no_object_of_a_key(store):
    await write(store, ID, "hsm", time.time_ns() + HOUR)
    await insert(store, ID)
    for until in (0, 1, time.time_ns() - MINUTE):
        await write(store, ID, "hsm", until)
        assert await to_destroy(store) == []
        assert await entries(store) == {}


async def test_entries_of_an_older_version_are_read(store):
    await write(store, ID, "hsm", 0)
    with pytest.raises(ProviderUnavailable):
        await insert(store, ID)
    assert await to_destroy(store) == [of(ID)]
    await write(store, ID, "hsm", time.time_ns() - MINUTE)
    assert await to_destroy(store) == [of(ID)]
    await write(store, ID, "hsm", time.time_ns() + HOUR)
    assert await to_destroy(store) == []
    await insert(store, ID)
    assert await entries(store) == {}


async def test_a_deleted_key_leaves_the_serial_number_of_its_token(store):
    for token, reference, left in (
        ("a\nb", b"reference", "a\nb"),
        (None, ProviderKey("4711", ID, b"public").to_bytes(), "4711"),  # of an older version
        (None, b"unreadable", ""),
    ):
        await write(store, ID, "hsm", time.time_ns() + HOUR)
        await insert(store, ID, token, reference)
        await store.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
        assert await to_destroy(store) == [of(ID, left)]


async def test_a_removed_profile_leaves_the_serial_numbers_of_tokens(store):
    await store.create_profile("t")
    [key_id] = await store.objects.intend("t", "hsm", 1, time.time_ns() + HOUR)
    await insert(store, key_id, "4711", profile="t")
    await store.remove_profile("t")
    assert await store.objects.due(None) == [of(key_id, "4711")]
