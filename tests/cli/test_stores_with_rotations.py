"""Commands on whole stores keep each state of a rotation, which then goes on."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.keys.key_store import KeyStore

REGISTRY = AlgorithmRegistry.from_installed()
DAY = 86_400
STEPS = {"rotate_every": 30 * DAY, "publish_ahead": DAY, "retire_after": 2 * DAY}
T = "t"


@asynccontextmanager
async def opened(options):
    """A service on a store."""
    location, key = StoreLocation.parse(options["store"]), StoreKey(options["store_key"])
    async with KeyStore.open(location, key) as store:
        yield KeyService(REGISTRY, store)


async def swept(service):
    """Look for due keys; give the steps that were taken."""
    steps = []

    def sink(events, outcome):
        steps.extend((each.operation, each.kid, each.new_kid) for each in events)

    await service.sweep(sink)
    return steps


async def listed(service):
    keys, _ = await service.descriptions.list_keys(T, limit=100)
    return keys


@pytest.fixture
async def source(persistent, clock):
    """The options of a store with a key that has a next key, a replaced and a retired one."""
    async with opened(persistent) as service:
        await service.profiles.create(T)
        kids = []
        for alias, steps in (("a", STEPS), ("b", {"retire_after": 2 * DAY}), ("c", STEPS)):
            policy = KeyPolicy(aliases=(alias,), **steps)
            kids.append((await service.creation.generate(T, "ed25519", policy)).kid)
        _, b, c = kids
        await service.rotation.rotate(T, c)
        clock(2 * DAY + 60)
        assert await swept(service) == [("retireKey", c, None)]
        clock(29 * DAY + 60)
        assert sorted(step for step, _, _ in await swept(service)) == ["nextKey", "nextKey"]
        await service.rotation.make_next(T, b)
        await service.rotation.rotate(T, b)
        return persistent, kids, await listed(service)


async def copied(command, options, tmp_path, *args):
    other = f"sqlite://{tmp_path}/copy.db"
    done = await asyncio.to_thread(command, "store", "copy", "--to", other, *args, **options)
    assert done.returncode == 0, done.stderr
    return options | {"store": other}


async def by_copy(command, options, tmp_path):
    return await copied(command, options, tmp_path)


async def by_copy_of_the_profile(command, options, tmp_path):
    return await copied(command, options, tmp_path, "--profile", T)


async def by_backup(command, options, tmp_path):
    """A backup of the profile, which is restored into a store of its own."""
    file = str(tmp_path / "backup.db")
    done = await asyncio.to_thread(command, "store", "backup", file, "--profile", T, **options)
    assert done.returncode == 0, done.stderr
    return await copied(command, options | {"store": f"sqlite://{file}"}, tmp_path)


async def by_upgrade(command, options, tmp_path):
    done = await asyncio.to_thread(command, "store", "upgrade", **options)
    assert done.returncode == 0, done.stderr
    return options


@pytest.mark.parametrize("way", [by_copy, by_copy_of_the_profile, by_backup, by_upgrade])
async def test_the_steps_go_on(command, source, tmp_path, clock, way):
    options, (a, b, c), before = source
    options = await way(command, options, tmp_path)
    done = await asyncio.to_thread(command, "store", "verify", **options)
    assert done.returncode == 0, done.stdout
    async with opened(options) as service:
        assert await listed(service) == before
        following = {each.follows: each.kid for each in before if each.follows}
        assert len(following) == 2
        assert await swept(service) == []
        clock(30 * DAY + 120)
        steps = await swept(service)
        assert ("rotateKey", a, following[a]) in steps
        assert {kid for step, kid, _ in steps if step == "rotateKey"} == following.keys()
        clock(31 * DAY + 120)
        assert await swept(service) == [("retireKey", b, None)]
        states = {each.kid: each.current_state for each in await listed(service)}
        assert {kid: states[kid] for kid in (a, b, c)} == {
            a: "verify-only",
            b: "disabled",
            c: "disabled",
        }
        for alias in "abc":
            found = await service.descriptions.describe(T, KeyRef(alias=alias))
            assert found.current_state == "enabled"


@pytest.mark.parametrize("persistent_url", ["sqlite"], indirect=True)
async def test_a_restored_backup_begins_where_it_was_made(command, source, tmp_path, clock):
    """A rotation after the backup did not happen, and the same next key takes the place later."""
    options, (a, _, _), before = source
    file = str(tmp_path / "backup.db")
    done = await asyncio.to_thread(command, "store", "backup", file, **options)
    assert done.returncode == 0, done.stderr
    async with opened(options) as service:
        following = (await service.rotation.rotate(T, a)).kid
    done = await asyncio.to_thread(command, "store", "restore", file, **options)
    assert done.returncode == 0, done.stderr
    async with opened(options) as service:
        assert await listed(service) == before
        clock(30 * DAY + 120)
        assert ("rotateKey", a, following) in await swept(service)
