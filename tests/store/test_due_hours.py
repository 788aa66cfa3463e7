"""A sweep looks only into profiles whose due hours are listed; no due key is left out."""

import time

import pytest

from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.sessions import Session, Transaction
from minikms.store.categories import DUE
from minikms.store.connections.calls import StoreCalls
from minikms.store.keys.key_store import KeyStore

REGISTRY = AlgorithmRegistry.from_installed()
HOUR = 3600 * 10**9


@pytest.fixture
async def store():
    async with KeyStore.open_memory() as store:
        yield store


@pytest.fixture
def keys(store):
    return KeyService(REGISTRY, store)


@pytest.fixture
def clock(monkeypatch):
    """Move the clock by hours."""
    now = time.time_ns

    def move(hours):
        monkeypatch.setattr(time, "time_ns", lambda: now() + int(hours * HOUR))

    return move


@pytest.fixture
def calls(monkeypatch):
    """The sessions that are opened, and the reads and writes in them."""
    made = []

    def count(owner, name):
        method = getattr(owner, name)

        def counted(*args, **options):
            made.append(name)
            return method(*args, **options)

        monkeypatch.setattr(owner, name, counted)

    for name in ("session", "transaction"):
        count(StoreCalls, name)
    for name in ("fetch", "fetch_all", "count"):
        count(Session, name)
    for name in ("insert", "replace", "remove"):
        count(Transaction, name)
    return made


async def listed(store):
    async def work(session):
        return await session.fetch_all(DUE)

    return [row.name for row in await store.database.run_own(work)]


async def number_of_keys(store):
    return await store.database.run(DEFAULT_PROFILE, lambda session: session.count("minikms.key"))


async def test_a_sweep_with_nothing_due_makes_as_few_calls_for_many_profiles(store, keys, calls):
    numbers = []
    for number in range(100):
        if number in (10, 99):
            await keys.sweep()
            calls.clear()
            await keys.sweep()
            numbers.append(len(calls))
        await store.directory.create(f"p{number}")
    assert numbers[0] == numbers[1] <= 10


async def test_a_key_is_found_in_its_hour_and_the_hour_is_forgotten_later(store, keys, clock):
    await keys.creation.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy(delete_after=2 * 3600))
    assert len(await listed(store)) == 1
    assert await keys.sweep() == 0
    clock(2.01)
    await keys.sweep()
    assert await number_of_keys(store) == 0
    assert len(await listed(store)) == 1  # another process may store keys for this hour
    clock(4)
    assert await keys.sweep() == 0
    assert await listed(store) == []


async def test_a_key_that_cannot_be_removed_keeps_its_hour(store, keys, clock):
    made = await keys.creation.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy(delete_after=3600))
    await store.database.run(
        DEFAULT_PROFILE, lambda session: session.remove("minikms.key", made.kid), write=True
    )
    clock(3)
    assert await keys.sweep() == 1
    assert len(await listed(store)) == 1


async def test_an_hour_is_listed_before_a_key_is_due_in_it(store, keys, monkeypatch):
    """So no due key is lost if the process is killed in between."""
    commit, commits = Transaction.commit, []

    async def noted(self):
        commits.append("key" if self.due else "hour")
        await commit(self)

    monkeypatch.setattr(Transaction, "commit", noted)
    policy = KeyPolicy(rotate_every=3600, aliases=("a",))
    made = await keys.creation.generate(DEFAULT_PROFILE, "ed25519", policy)
    assert commits == ["hour", "key"]
    await store.deletions.schedule(DEFAULT_PROFILE, KeyRef(made.kid), time.time_ns() + 9 * HOUR)
    assert commits == ["hour", "key"] * 2


async def test_keys_that_an_older_process_made_due_are_listed(store, keys, clock):
    await keys.creation.generate(DEFAULT_PROFILE, "ed25519", KeyPolicy(delete_after=3600))
    for name in await listed(store):
        await store.database.run_own(
            lambda session, name=name: session.remove(DUE, name), write=True
        )
    store.database.due_hours._stored.clear()  # as after a restart
    clock(2)
    await keys.sweep()
    assert await number_of_keys(store) == 1
    await keys.list_due()
    await keys.sweep()
    assert await number_of_keys(store) == 0
