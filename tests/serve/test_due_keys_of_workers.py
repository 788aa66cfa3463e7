"""Workers of one service rotate and delete due keys once, and store last uses when they stop."""

import asyncio
import json
import os
import re
import signal
import time

import pytest
from aiohttp import ClientSession
from waiting import LONG, until, waiting_for

from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.keys.key_store import KeyStore

pytestmark = pytest.mark.process

# The number of keys that a sweep deletes together (minikms/keys/deletions.py).
TOGETHER = 16

REGISTRY = AlgorithmRegistry.from_installed()
ALIASES = [f"a{number}" for number in range(20)]


def swept(folder, operation):
    """The audit lines of an operation, by the number of the worker that wrote them."""
    found = {}
    for file in folder.glob("audit.*.log"):
        written = file.read_text()
        lines = map(json.loads, written[: written.rfind("\n") + 1].splitlines())  # whole ones
        if of_it := [line for line in lines if line.get("operation") == operation]:
            found[file.name.split(".")[1]] = of_it
    return found


def audited(folder, operation):
    """The audit lines of an operation, of all workers."""
    return [line for lines in swept(folder, operation).values() for line in lines]


def kids(folder, operation):
    return [line["kid"] for line in audited(folder, operation)]


async def make_due_for_rotation(keys, aliases):
    """Make a key that is due for each alias; return their kids by alias."""
    old = {}
    for alias in aliases:
        policy = KeyPolicy(aliases=(alias,), rotate_every=3600)
        old[alias] = (await keys.creation.generate(DEFAULT_PROFILE, "ed25519", policy)).kid
        due = {"rotate_every": 3600, "rotates": 1}
        await keys.changes.update(DEFAULT_PROFILE, old[alias], due)
    return old


async def test_two_workers_delete_keys_made_to_be_deleted_once(
    serve, make_store, tmp_path, monkeypatch
):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    location, key = StoreLocation.parse(options["store"]), StoreKey(options["store_key"])
    now = time.time_ns()
    async with KeyStore.open(location, key) as store:
        keys = KeyService(REGISTRY, store)
        monkeypatch.setattr(time, "time_ns", lambda: now - 3600 * 10**9)
        policy = KeyPolicy(delete_after=600)
        made = await keys.creation.generate_batch(DEFAULT_PROFILE, "ed25519", 100, policy)
        monkeypatch.undo()
        left = await keys.creation.generate(DEFAULT_PROFILE, "ed25519", policy)
    options["audit_log"] = str(tmp_path / "audit.log")
    service = await asyncio.to_thread(serve, "--port", "0", "--workers", "2", **options)

    await until("the deletion of all keys", lambda: len(kids(tmp_path, "sweepKey")) >= len(made))
    service.process.terminate()
    assert await asyncio.to_thread(service.process.wait, 60) == 0
    assert sorted(kids(tmp_path, "sweepKey")) == sorted(each.kid for each in made)
    async with KeyStore.open(location, key) as store:
        found, _ = await KeyService(REGISTRY, store).descriptions.list_keys(
            DEFAULT_PROFILE, limit=100
        )
        assert [each.kid for each in found] == [left.kid]


async def test_two_workers_rotate_due_keys_once_and_store_uses(serve, make_store, tmp_path):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    location, key = StoreLocation.parse(options["store"]), StoreKey(options["store_key"])
    async with KeyStore.open(location, key) as store:
        keys = KeyService(REGISTRY, store)
        old = await make_due_for_rotation(keys, ALIASES)
    options["audit_log"] = str(tmp_path / "audit.log")
    service = await asyncio.to_thread(serve, "--port", "0", "--workers", "2", **options)
    async with ClientSession(f"http://{service.host}:{service.port}") as session:
        for alias in ALIASES:
            async with asyncio.timeout(60):
                while True:
                    async with session.get("/key", params={"alias": alias}) as response:
                        if (await response.json())["kid"] != old[alias]:
                            break
                    await asyncio.sleep(0.05)
        async with session.post("/sign", json={"alias": ALIASES[0], "data": ""}) as response:
            assert response.status == 200
    service.process.terminate()
    assert await asyncio.to_thread(service.process.wait, 60) == 0
    rotations = audited(tmp_path, "rotateKey")
    rotated = {line["kid"]: line["new_kid"] for line in rotations}
    assert len(rotations) == len(old)
    async with KeyStore.open(location, key) as store:
        keys = KeyService(REGISTRY, store)
        found, _ = await keys.descriptions.list_keys(DEFAULT_PROFILE, limit=100)
        by_alias = {key.aliases[0]: key.kid for key in found if key.aliases}
        assert rotated == {old[alias]: by_alias[alias] for alias in ALIASES}
        assert len(found) == 2 * len(ALIASES)
        assert all(each.scheduled for each in found[len(ALIASES) :])
        used = await keys.descriptions.describe(DEFAULT_PROFILE, KeyRef(alias=ALIASES[0]))
        other = await keys.descriptions.describe(DEFAULT_PROFILE, KeyRef(alias=ALIASES[1]))
        assert used.last_used is not None
        assert other.last_used is None


@pytest.mark.kill
@pytest.mark.timeout(5 * LONG)  # for the turn of each killed worker, which lasts 15 s
async def test_another_process_goes_on_with_a_sweep_whose_worker_is_killed(
    serve, persistent_url, make_store, tmp_path, monkeypatch
):
    options = await make_store(persistent_url)
    location, key = StoreLocation.parse(options["store"]), StoreKey(options["store_key"])
    now, aliases = time.time_ns(), [f"a{number}" for number in range(200)]
    async with KeyStore.open(location, key) as store:
        keys = KeyService(REGISTRY, store)
        old = await make_due_for_rotation(keys, aliases)
        monkeypatch.setattr(time, "time_ns", lambda: now - 3600 * 10**9)
        policy = KeyPolicy(delete_after=600)
        made = await keys.creation.generate_batch(DEFAULT_PROFILE, "ed25519", 1000, policy)
        monkeypatch.undo()
    options["audit_log"] = str(tmp_path / "audit.log")
    service = await asyncio.to_thread(serve, "--port", "0", "--workers", "2", **options)

    async def until_swept(operation, number):
        async with waiting_for("a process that sweeps", LONG):
            while len({*kids(tmp_path, operation)}) < number:
                await asyncio.sleep(0.01)

    for operation, some, most in (("sweepKey", 100, len(made)), ("rotateKey", 5, len(old))):
        await until_swept(operation, some)
        [name] = swept(tmp_path, operation)  # one of them sweeps
        [pid] = re.findall(rf"worker {name} is process (\d+)", "".join(service.lines))[-1:]
        os.kill(int(pid), signal.SIGKILL)
        assert len(kids(tmp_path, operation)) < most
        await asyncio.to_thread(service.read_until, f"worker {name} is process ")
    await until_swept("rotateKey", len(old))
    service.process.terminate()
    assert await asyncio.to_thread(service.process.wait, 60) == 0
    # A killed worker may have written lines of a transaction that it did not commit.
    deleted, rotated = (kids(tmp_path, name) for name in ("sweepKey", "rotateKey"))
    assert set(deleted) == {each.kid for each in made}
    assert len(deleted) <= len(made) + TOGETHER
    assert set(rotated) == {*old.values()}
    assert len(rotated) <= len(old) + 1
    async with KeyStore.open(location, key) as store:
        found, _ = await KeyService(REGISTRY, store).descriptions.list_keys(
            DEFAULT_PROFILE, limit=1000
        )
        assert len(found) == 2 * len(aliases)
        assert {each.kid for each in found} > {*old.values()}
        assert sorted(alias for each in found for alias in each.aliases) == sorted(aliases)
