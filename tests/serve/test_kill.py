"""Durability after a kill: of the service, of one of two, of PostgreSQL."""

import asyncio
import os
import random
import signal
from functools import partial

import pytest
from serve.acknowledged_calls import CLIENTS, Ledger, status, under_load, until_made

ROUNDS = int(os.environ.get("MINIKMS_TEST_KILL_ROUNDS", "3"))

# A round starts a service, loads it and verifies its store.
pytestmark = [pytest.mark.kill, pytest.mark.timeout(200 * ROUNDS)]


def verified(run, options):
    ended = run("store", "verify", **options)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout


async def test_the_service_is_killed(answering, run, persistent):
    ledger, chance = Ledger(), random.Random(1)
    for _ in range(ROUNDS):
        service, session = await answering(persistent)
        async with session:
            await ledger.check(session)
            async with under_load(session, ledger):
                # Enough keys that clients delete some, even on a slow machine.
                await until_made(ledger, CLIENTS * (1 + 6 * chance.random()))
                await asyncio.sleep(0.02 * chance.random())
                service.process.send_signal(signal.SIGKILL)
        service.end()
        verified(run, persistent)
    assert ledger.refused == []
    assert len(ledger.unanswered) > ROUNDS  # the kill came in the middle
    assert len(ledger.kids) > CLIENTS * ROUNDS
    assert ledger.deleted
    assert ledger.replaced
    assert any(ledger.batches.values())
    _, session = await answering(persistent)
    async with session:
        await ledger.check(session)
        async with session.get("/keys", headers={"Accept": "application/x-ndjson"}) as response:
            listed = [line async for line in response.content]
    assert len(listed) >= len(ledger.kids)


async def test_one_of_two_copies_is_killed(answering, run, make_store, postgres_server):
    options = await make_store(postgres_server.create_database())
    first, to_first = await answering(options)
    _, to_second = await answering(options)
    killed, left = Ledger(), Ledger()
    async with to_first, to_second:
        async with under_load(to_second, left), under_load(to_first, killed):
            await until_made(killed, 3 * CLIENTS)
            first.process.send_signal(signal.SIGKILL)
            await until_made(left, 3 * CLIENTS)
        assert (left.unanswered, left.refused, killed.unanswered != []) == ([], [], True)
        await left.check(to_second)
        await killed.check(to_second)
    verified(run, options)


@pytest.mark.parametrize("own_postgres", [{"durable": True}], indirect=True)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_postgresql_is_restarted_under_load(answering, run, make_store, own_postgres, mode):
    options = await make_store(own_postgres.create_database())
    ledger, restart = Ledger(), partial(own_postgres.restart, mode)
    service, session = await answering(options)
    async with session:
        async with under_load(session, ledger, keeps_on=True):
            for _ in range(3):
                await until_made(ledger, 3 * CLIENTS)
                await asyncio.to_thread(restart)
            await until_made(ledger, 3 * CLIENTS)
        assert ledger.unanswered == []
        assert set(ledger.refused) == {(503, "store-unavailable")}
        await ledger.check(session)
    assert service.process.poll() is None
    verified(run, options)


async def test_a_stop_while_postgresql_hangs(answering, make_store, own_postgres):
    options = await make_store(own_postgres.create_database())
    service, session = await answering(options)
    async with session:
        own_postgres.pause()
        hanging = [status(session, "/keys") for _ in range(20)]
        assert set(await asyncio.gather(*hanging)) == {503}
        service.process.terminate()
        assert await asyncio.to_thread(service.process.wait, 60) == 0
        own_postgres.resume()
