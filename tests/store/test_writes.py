"""Writes that wait at the same time share a transaction, and each caller gets its own answer."""

import asyncio

import pytest
from aries_askar import AskarError, AskarErrorCode
from filled_stores import opened

from minikms.errors import AuditUnavailable, KeyExists, KeyNotFound, StoreUnavailable
from minikms.events import CURRENT, AuditEvent
from minikms.key_requests import KeyRef
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.store import writes
from minikms.store.askar.sequence import CONTENTS, slot_of
from minikms.store.askar.sessions import Transaction
from minikms.store.connections.calls import StoreCalls

pytestmark = pytest.mark.each_store


def record(name):
    return KeyRecord(f"kid-{name}", "x", "oct", None, None, None, None, (), "bytes", 1)


@pytest.fixture
async def store(any_store):
    async with opened(any_store) as store:
        yield store


@pytest.fixture
def transactions(monkeypatch):
    """Count the transactions begun on profiles."""
    monkeypatch.setattr(writes, "_SECONDS", 60)
    begun, transaction = [], StoreCalls.transaction

    def counted(calls, *args):
        begun.append(args)
        return transaction(calls, *args)

    monkeypatch.setattr(StoreCalls, "transaction", counted)
    return begun


def insert(store, name, **options):
    return store.insert(DEFAULT_PROFILE, record(name), b"secret", **options)


async def places(store):
    page, more = await store.listing.page(DEFAULT_PROFILE, limit=1000)
    assert not more
    return [(key.kid, int(key.seq)) for key in page]


async def test_waiting_writes_share_a_transaction(store, transactions):
    await asyncio.gather(*(insert(store, n) for n in range(20)))
    assert len(transactions) == 1
    kept = await places(store)
    assert [kid for kid, _ in kept] == [f"kid-{n}" for n in range(20)]
    assert [place for _, place in kept] == list(range(1, 21))


async def test_a_transaction_has_a_bound(store, transactions, monkeypatch):
    monkeypatch.setattr(writes, "_MOST", 5)
    await asyncio.gather(*(insert(store, n) for n in range(20)))
    assert len(transactions) == 4
    monkeypatch.setattr(writes, "_BYTES", 1)
    await asyncio.gather(*(insert(store, n) for n in range(20, 23)))
    assert len(transactions) == 7
    monkeypatch.setattr(writes, "_BYTES", 1_000_000)
    monkeypatch.setattr(writes, "_SECONDS", 0)
    await asyncio.gather(*(insert(store, n) for n in range(23, 26)))
    assert len(transactions) == 10


async def test_the_last_place_is_read_where_another_process_may_have_written(store, monkeypatch):
    read, sequence = [], Transaction.sequence

    def counted(transaction):
        read.append(transaction)
        return sequence(transaction)

    await insert(store, 0)
    monkeypatch.setattr(Transaction, "sequence", counted)
    for n in range(1, 4):
        await insert(store, n)
    # In PostgreSQL it is not known in time that another has written.
    assert len(read) == (3 if store.database.counters.needs_ttl else 0)
    assert [place for _, place in await places(store)] == [1, 2, 3, 4]
    read.clear()
    store.database.counters.count([slot_of(CONTENTS, DEFAULT_PROFILE)])
    await insert(store, 4)
    assert len(read) == 1


async def test_one_that_fails_fails_alone(store, transactions):
    await insert(store, 7)
    transactions.clear()
    calls = [insert(store, n) for n in range(20)]
    calls.append(store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-nothing")))
    *stored, nothing = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(nothing, KeyNotFound)
    assert isinstance(stored.pop(7), KeyExists)
    assert all(isinstance(one, KeyRecord) for one in stored)
    assert len(await places(store)) == 20
    # If a key exists, the service checks whether its deletion is due.
    assert len(transactions) <= 3


async def test_one_that_fails_after_it_has_written(store, transactions):
    """The failed write is not stored, but the other writes are."""

    async def half(session):
        await session.insert("test", "half", b"written")
        raise KeyNotFound

    database = store.database
    calls = [insert(store, 1), database.write(DEFAULT_PROFILE, half), insert(store, 2)]
    first, failed, second = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(failed, KeyNotFound)
    assert first.kid == "kid-1"
    assert second.kid == "kid-2"
    found = await database.run(DEFAULT_PROFILE, lambda session: session.fetch("test", "half"))
    assert found is None
    assert len(transactions) == 3  # together, and then one after the other
    assert [kid for kid, _ in await places(store)] == ["kid-1", "kid-2"]


async def test_a_connection_that_is_lost_after_another_write_has_failed(store):
    """Each write has a transaction of its own then; the lost one is refused as not done."""

    async def half(session):
        await session.insert("test", "half", b"written")
        raise KeyNotFound

    calls = 0

    async def lost(session):
        nonlocal calls
        calls += 1
        if calls > 1:
            raise AskarError(AskarErrorCode.BACKEND, "planted")

    database = store.database
    works = [lost, half]
    running = [database.write(DEFAULT_PROFILE, work) for work in works]
    refused, failed = await asyncio.gather(*running, return_exceptions=True)
    assert isinstance(failed, KeyNotFound)
    assert isinstance(refused, StoreUnavailable)
    assert refused.outcome is None


async def test_a_kid_that_exists_though_it_could_not(store):
    """Nothing is read before it is inserted, so that the database refuses it."""
    await insert(store, 1)
    calls = [insert(store, n, is_unique=True) for n in range(3)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[1], KeyExists)
    assert [results[0].kid, results[2].kid] == ["kid-0", "kid-2"]


async def test_a_write_cancelled_before_it_begins_is_left_out(store):
    tasks = [asyncio.create_task(insert(store, n)) for n in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.wait(tasks)
    assert [kid for kid, _ in await places(store)] == ["kid-0", "kid-2"]


def of_a_call(call, sink):
    """A call with an audit event of its own."""

    async def run():
        CURRENT.set(AuditEvent("generateKey", sink))
        return await call

    return asyncio.create_task(run())


async def test_their_lines_come_in_one_piece_before_the_commit(store, monkeypatch):
    monkeypatch.setattr(writes, "_SECONDS", 60)  # however busy the machine is
    pieces = []

    def sink(events, outcome):
        pieces.append([event.kid for event in events])

    async def named(n):
        event = CURRENT.get()
        event.kid = f"kid-{n}"
        return await insert(store, n)

    await asyncio.gather(*(of_a_call(named(n), sink) for n in range(5)))
    assert pieces == [[f"kid-{n}" for n in range(5)]]


async def test_nothing_is_stored_without_its_line(store):
    def sink(events, outcome):
        raise AuditUnavailable

    tasks = [of_a_call(insert(store, n), sink) for n in range(5)]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [AuditUnavailable] * 5
    assert await places(store) == []


async def test_profiles_do_not_share(store, transactions):
    await store.directory.create("another")
    transactions.clear()
    await asyncio.gather(
        insert(store, 1), store.insert("another", record(1), b"secret"), insert(store, 2)
    )
    assert len({args[1] for args in transactions}) == 2
    assert (await store.record("another", KeyRef(kid="kid-1"))).kid == "kid-1"


async def test_the_last_places_of_so_many_profiles_are_remembered(store, monkeypatch):
    monkeypatch.setattr(writes, "_SEQUENCES", 2)
    names = "abcd"
    for name in names:
        await store.directory.create(name)
    for number in range(2):
        for name in names:
            await store.insert(name, record(number), b"secret")
    assert len(store.database._writes._sequences) <= 2
    for name in names:
        page, _ = await store.listing.page(name, limit=9)
        assert [int(key.seq) for key in page] == [1, 2]
