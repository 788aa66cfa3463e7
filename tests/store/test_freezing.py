"""No process writes in a frozen profile, whatever it remembers, and no write gets lost."""

import asyncio
from dataclasses import replace

import pytest

from minikms.errors import ProfileFrozen, ProfileNotFound
from minikms.key_requests import KeyRef
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)


def insert(store, number):
    return store.insert(DEFAULT_PROFILE, replace(RECORD, kid=f"kid-{number}"), b"secret")


async def freeze(store, *, frozen=True):
    await store.directory.change(DEFAULT_PROFILE, {"frozen": frozen})


@pytest.mark.parametrize("used", [True, False], ids=["with keys", "empty"])
async def test_a_process_that_has_not_learned_of_it_writes_nothing(stores, used):
    one, other = stores
    if used:
        await insert(other, 1)
    else:
        await other.existing(DEFAULT_PROFILE, ["kid-1"])  # it knows the profile
    for _ in range(2):
        await freeze(one)
        with pytest.raises(ProfileFrozen):
            await insert(other, 2)
        assert await keys(other) == ({"kid-1"} if used else set())
        await freeze(one, frozen=False)
    other.directory.settings.clear()  # on PostgreSQL, it learns within five seconds
    await insert(other, 2)
    place = (await one.record(DEFAULT_PROFILE, KeyRef(kid="kid-2"))).seq
    assert int(place) == (2 if used else 1)


async def test_a_write_under_way_ends_before_the_profile_is_frozen(stores):
    one, other = stores
    under_way, may_end = asyncio.Event(), asyncio.Event()

    async def slow(session):
        await session.insert("minikms.key", "slow", b"")
        under_way.set()
        await may_end.wait()

    writing = asyncio.create_task(other.database.run(DEFAULT_PROFILE, slow, write=True))
    await under_way.wait()
    freezing = asyncio.create_task(freeze(one))
    done, _ = await asyncio.wait({freezing}, timeout=0.2)
    assert not done
    may_end.set()
    await asyncio.gather(writing, freezing)
    assert await one.database.run(DEFAULT_PROFILE, lambda found: found.count("minikms.key")) == 1


async def test_freezing_among_many_writes(stores):
    """Each acknowledged key is there once the profile is frozen, and none comes later."""
    made, numbers = set(), iter(range(10_000))

    async def write(store):
        for number in numbers:
            try:
                made.add((await insert(store, number)).kid)
            except ProfileFrozen:
                return

    writers = [asyncio.create_task(write(stores[number % 2])) for number in range(8)]
    while len(made) < 20:
        await asyncio.sleep(0.01)
    await freeze(stores[0])
    frozen = await keys(stores[0])
    await asyncio.gather(*writers)
    assert await keys(stores[1]) == frozen == made


async def keys(store):
    async def work(session):
        return {row.name for row in await session.fetch_all("minikms.key")}

    return await store.database.run(DEFAULT_PROFILE, work)


async def test_calls_that_freeze_and_unfreeze_at_once_leave_what_the_setting_says(stores):
    for _ in range(5):
        changes = [freeze(store, frozen=frozen) for store in stores for frozen in (True, False)]
        await asyncio.gather(*changes)
        settings = await stores[0].directory.settings_of(DEFAULT_PROFILE)
        stored = await stores[0].database.run(DEFAULT_PROFILE, lambda session: session.sequence())
        assert stored.frozen == settings.frozen


async def test_a_transaction_that_only_reads_is_done_in_a_frozen_profile(stores):
    await freeze(stores[0])

    async def work(session):
        return await session.count("minikms.key")

    assert await stores[1].database.run(DEFAULT_PROFILE, work, write=True) == 0


async def test_a_frozen_profile_can_be_removed(stores):
    one, other = stores
    await one.directory.create("alice")
    await one.directory.change("alice", {"frozen": True})
    assert await other.remove_profile("alice")
    with pytest.raises(ProfileNotFound):
        await one.directory.change("alice", {"frozen": False})
    await one.directory.create("alice")
    assert not (await other.directory.settings_of("alice")).frozen
