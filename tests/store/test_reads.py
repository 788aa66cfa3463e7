"""Reads that wait at the same time share sessions, and each caller gets its own answer."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from aries_askar import AskarError, AskarErrorCode
from filled_stores import opened
from waiting import until, waiting_for

from minikms.errors import AliasNotFound, KeyNotFound, ProfileNotFound, StoreUnavailable
from minikms.events import CURRENT, AuditEvent
from minikms.key_requests import KeyRef
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.store import reads
from minikms.store.reads import Reads

pytestmark = pytest.mark.each_store

KIDS = [f"kid-{n}" for n in range(40)]


async def fill(store, profile=DEFAULT_PROFILE):
    record = KeyRecord("", "x", "oct", None, None, None, None, (), "bytes", 1)
    keys = [(replace(record, kid=kid), f"secret of {kid}".encode()) for kid in KIDS]
    await store.insert_all(profile, keys)
    await store.record(profile, KeyRef(kid=KIDS[0]))  # so that the profile is looked up


@pytest.fixture
async def store(any_store):
    async with opened(any_store) as store:
        await fill(store)
        yield store
        store.database._reads.close()
        await until("all connections are free", lambda: store.database.pool.in_use == 0)
        # Readers on a pool that was replaced meanwhile end a turn later.
        await until("all readers have ended", lambda: store.database._reads._profiles == {})


@pytest.fixture
async def sessions(store, monkeypatch):
    """The profiles on which reads began sessions; for none, too much time has passed."""
    store.database._reads.close()
    monkeypatch.setattr(reads, "_LONGEST", 60)
    monkeypatch.setattr(reads, "_PATIENCE", 60)
    monkeypatch.setattr(store.database._pool, "acquire_timeout", 600)
    begun, begin = [], Reads._begin

    def counted(self, profile):
        begun.append(profile.askar_profile)
        begin(self, profile)

    monkeypatch.setattr(Reads, "_begin", counted)
    return begun


def read(store, kid, profile=DEFAULT_PROFILE, check=lambda record: record):
    return store.open_key(profile, KeyRef(kid=kid), check)


def work(store, call):
    """A read by a function of a session."""
    return store.database.read(DEFAULT_PROFILE, call)


class Hang:
    """A read that stays in its session until it is let go on."""

    def __init__(self):
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()

    async def __call__(self, session):
        self.begun.set()
        await self.go_on.wait()
        return "done"


async def test_waiting_reads_share_sessions_and_each_has_its_own_key(store, sessions):
    found = await asyncio.gather(*(read(store, kid) for kid in KIDS))
    assert [(record.kid, secret) for record, secret in found] == [
        (kid, f"secret of {kid}".encode()) for kid in KIDS
    ]
    assert len(sessions) <= max(store.database.pool.connections // 2, 1)


async def test_reads_that_come_one_after_the_other_share_a_session(store, sessions):
    for kid in KIDS:
        await read(store, kid)
    # Others could not use a store in memory meanwhile, which has one connection.
    assert len(sessions) == (1 if store.database.pool.connections > 1 else len(KIDS))


async def test_a_session_is_idle_for_a_moment(store):
    await read(store, KIDS[0])
    await until("all connections are free", lambda: store.database.pool.in_use == 0)


async def test_idle_sessions_leave_connections_to_others(store, sessions):
    connections = store.database.pool.connections
    for n in range(connections + 2):
        await store.directory.create(f"p{n}")
        await fill(store, f"p{n}")
    for n in range(connections + 2):
        await read(store, KIDS[0], f"p{n}")
    half = connections // 2
    await until("the others are closed", lambda: store.database.pool.in_use == half)
    async with AsyncExitStack() as stack, waiting_for("all connections"):
        for _ in range(connections):
            await stack.enter_async_context(store.database._calls.held())


async def test_the_error_of_a_read_reaches_its_own_caller(store, sessions):
    def refuse(record):
        raise PermissionError(record.kid)

    def call(place, kid):
        if place == 5:
            return store.open_key(DEFAULT_PROFILE, KeyRef(alias="nothing"), refuse)
        if place == 7:
            return read(store, kid, check=refuse)
        return read(store, "nothing" if place == 3 else kid)

    calls = (call(place, kid) for place, kid in enumerate(KIDS))
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert type(results[3]) is KeyNotFound
    assert type(results[5]) is AliasNotFound
    assert type(results[7]) is PermissionError
    assert str(results[7]) == KIDS[7]
    for place, kid in enumerate(KIDS):
        if place not in (3, 5, 7):
            assert results[place][1] == f"secret of {kid}".encode()


async def test_a_deletion_that_is_due_is_recorded_for_one_of_them(store, sessions):
    await store.deletions.schedule(DEFAULT_PROFILE, KeyRef(kid=KIDS[2]), 1)
    results = await asyncio.gather(*(read(store, kid) for kid in KIDS), return_exceptions=True)
    assert [type(result) for result in results].count(KeyNotFound) == 1
    assert type(results[2]) is KeyNotFound


async def test_each_read_names_the_key_in_the_event_of_its_call(store):
    async def call(kid):
        event = AuditEvent("sign", None, kid=kid)
        CURRENT.set(event)
        await read(store, kid)
        return event.kid, event.alg

    found = await asyncio.gather(*(asyncio.create_task(call(kid)) for kid in KIDS))
    assert found == [(kid, "x") for kid in KIDS]


async def test_a_caller_that_is_gone_leaves_the_others_their_answers(store, sessions):
    hang = Hang()
    reading = asyncio.create_task(work(store, hang))
    await hang.begun.wait()
    waiting = [asyncio.create_task(read(store, kid)) for kid in KIDS]
    await asyncio.sleep(0)
    waiting[0].cancel()
    waiting[2].cancel()
    reading.cancel()
    await asyncio.sleep(0)
    hang.go_on.set()  # a call of Askar's cannot be cancelled
    results = await asyncio.gather(reading, *waiting, return_exceptions=True)
    gone = [place for place, one in enumerate(results) if type(one) is asyncio.CancelledError]
    assert gone == [0, 1, 3]
    assert [one[0].kid for one in results if isinstance(one, tuple)] == [
        kid for kid in KIDS if kid not in (KIDS[0], KIDS[2])
    ]


async def test_a_caller_that_is_gone_when_its_key_was_read(store, sessions):
    hang = Hang()
    first = asyncio.create_task(read(store, KIDS[0]))
    second = asyncio.create_task(work(store, hang))
    await hang.begun.wait()  # in the same session, after the first
    first.cancel()
    third = asyncio.create_task(read(store, KIDS[1]))
    await asyncio.sleep(0)
    hang.go_on.set()
    assert await second == "done"
    assert (await third)[0].kid == KIDS[1]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_reads_do_not_wait_for_one_that_hangs(store, monkeypatch):
    if store.database.pool.connections == 1:
        pytest.skip("a store in memory has one connection")
    monkeypatch.setattr(reads, "_PATIENCE", 0.01)
    hang = Hang()
    hanging = asyncio.create_task(work(store, hang))
    await hang.begun.wait()
    found = await asyncio.gather(*(read(store, kid) for kid in KIDS))
    assert [record.kid for record, _ in found] == KIDS
    assert not hanging.done()
    hang.go_on.set()
    assert await hanging == "done"


async def test_a_database_that_hangs_is_reported_in_time(store, monkeypatch):
    monkeypatch.setattr(reads, "_PATIENCE", 0.01)
    monkeypatch.setattr(store.database._pool, "acquire_timeout", 0.2)
    monkeypatch.setattr(store.database._pool, "timeout", 0.3)
    hang = Hang()
    async with waiting_for("all errors", 10):
        calls = (work(store, hang) for _ in range(50))
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    assert {result.outcome for result in results} == {None}
    monkeypatch.undo()
    hang.go_on.set()  # its connections are in use until Askar's calls have ended
    await until("all connections are free", lambda: store.database.pool.in_use == 0)
    assert (await read(store, KIDS[0]))[0].kid == KIDS[0]


async def test_a_read_whose_session_is_lost_is_done_again(store):
    attempts = 0

    async def lost_once(session):
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise AskarError(AskarErrorCode.BACKEND, "planted")
        return await session.fetch("minikms.key", KIDS[0])

    found, *others = await asyncio.gather(
        work(store, lost_once), *(read(store, kid) for kid in KIDS)
    )
    assert found.name == KIDS[0]
    assert [record.kid for record, _ in others] == KIDS
    assert attempts == 2


async def test_a_session_is_kept_for_a_time(store, sessions, monkeypatch):
    monkeypatch.setattr(reads, "_LONGEST", 0)
    await asyncio.gather(*(read(store, kid) for kid in KIDS))
    assert len(sessions) >= len(KIDS)


async def test_a_write_and_a_listing_get_connections_while_reads_go_on(store):
    stop = False

    async def keep_reading(kid):
        while not stop:
            await read(store, kid)

    reading = [asyncio.create_task(keep_reading(kid)) for kid in KIDS]
    await asyncio.sleep(0.05)
    for n in range(5):
        name = KeyRecord(f"new-{n}", "x", "oct", None, None, None, None, (), "bytes", 1)
        await store.insert(DEFAULT_PROFILE, name, b"")
        page, _ = await store.listing.page(DEFAULT_PROFILE, limit=100)
        assert len(page) == len(KIDS) + n + 1
    stop = True
    await asyncio.gather(*reading)


async def test_a_profile_that_is_removed_while_reads_wait(store):
    await store.directory.create("t")
    await fill(store, "t")

    async def keep_reading(kid):
        while True:
            try:
                assert (await read(store, kid, "t"))[1] == f"secret of {kid}".encode()
            except (ProfileNotFound, KeyNotFound) as exc:
                return type(exc)

    reading = [asyncio.create_task(keep_reading(kid)) for kid in KIDS]
    await asyncio.sleep(0.02)
    await store.remove_profile("t")
    assert set(await asyncio.gather(*reading)) == {ProfileNotFound}


async def test_a_profile_that_is_made_again_while_reads_wait(store, any_store):
    """By another process, so that reads find the old one gone."""
    if store.database.pool.connections == 1:
        pytest.skip("a store in memory has one process")
    await store.directory.create("t")
    await fill(store, "t")
    async with opened(any_store) as other:
        hang = Hang()

        async def hang_then_read(session):
            await hang(session)
            raise KeyNotFound

        waiting = [asyncio.create_task(store.database.read("t", hang_then_read))]
        await hang.begun.wait()
        waiting += [asyncio.create_task(read(store, kid, "t")) for kid in KIDS[:3]]
        await other.remove_profile("t")
        await other.directory.create("t")
        await fill(other, "t")
        hang.go_on.set()
        first, *others = await asyncio.gather(*waiting, return_exceptions=True)
    assert type(first) is KeyNotFound
    assert [secret for _, secret in others] == [f"secret of {kid}".encode() for kid in KIDS[:3]]


async def test_sessions_of_a_replaced_pool_are_not_handed_on(store, sessions):
    if store.database.pool.connections == 1:
        pytest.skip("a store in memory is never opened again")
    hang = Hang()
    reading = asyncio.create_task(work(store, hang))
    await hang.begun.wait()
    waiting = [asyncio.create_task(read(store, kid)) for kid in KIDS[:3]]
    pool = store.database._pool
    pool._healthy = False
    async with store.database._calls.held():  # opens the store again
        assert pool.reopened == 1
    hang.go_on.set()
    assert await reading == "done"
    assert [record.kid for record, _ in await asyncio.gather(*waiting)] == KIDS[:3]
    assert len(sessions) > 1


async def test_idle_sessions_of_a_replaced_pool_are_not_used(store, sessions):
    if store.database.pool.connections == 1:
        pytest.skip("a store in memory is never opened again")
    await read(store, KIDS[0])
    store.database._pool._healthy = False
    async with store.database._calls.held():  # opens the store again
        assert store.database._pool.reopened == 1
    await read(store, KIDS[1])  # which looks the profile up again
    await read(store, KIDS[2])
    assert len(sessions) == 2


async def test_a_read_beside_one_that_hangs_has_its_answer(store, sessions, monkeypatch):
    hang = Hang()
    before = Hang()
    calls = [asyncio.create_task(work(store, before))]
    await before.begun.wait()
    calls += [asyncio.create_task(one) for one in (read(store, KIDS[0]), work(store, hang))]
    await asyncio.sleep(0)
    before.go_on.set()
    await hang.begun.wait()
    assert not any(call.done() for call in calls)
    monkeypatch.setattr(reads, "_PATIENCE", 0.01)
    [profile] = store.database._reads._profiles.values()
    await asyncio.sleep(0.02)
    store.database._reads._look(profile)
    assert await calls[0] == "done"
    assert (await calls[1])[0].kid == KIDS[0]
    assert not calls[2].done()
    hang.go_on.set()
    assert await calls[2] == "done"


async def test_a_connection_is_in_use_until_a_late_call_has_ended(store, monkeypatch):
    monkeypatch.setattr(reads, "_PATIENCE", 0.01)
    monkeypatch.setattr(store.database._pool, "timeout", 0.05)
    hang = Hang()
    with pytest.raises(StoreUnavailable):
        await work(store, hang)
    assert store.database.pool.in_use == 1
    hang.go_on.set()
    await until("all connections are free", lambda: store.database.pool.in_use == 0)


async def test_a_read_that_is_tried_again_has_only_the_rest_of_its_time(store, monkeypatch):
    """The first session is lost after a while, and then the database does not answer."""
    pool, answer = store.database._pool, asyncio.Event()
    monkeypatch.setattr(pool, "acquire_timeout", 1.0)
    monkeypatch.setattr(pool, "timeout", 3.0)
    tries = []

    async def lost(*_):
        tries.append("shared")
        await asyncio.sleep(2.0)
        raise AskarError(AskarErrorCode.BACKEND, "the connection is lost")

    async def silent(session):
        tries.append("alone")
        await answer.wait()

    monkeypatch.setattr(Reads, "shared", lost)
    with pytest.raises(StoreUnavailable):
        await store.database.read(DEFAULT_PROFILE, silent)
    silences = pool.errors["dead"]
    answer.set()
    assert tries == ["shared", "alone"]
    assert silences == 0  # a new call's time is not over yet
