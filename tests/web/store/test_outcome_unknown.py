"""A write that PostgreSQL does not confirm: its caller learns whether it may have been applied."""

import asyncio

import pytest
from problems import refused
from waiting import until, waiting_for

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE

FAULT = """
CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM {what}; RETURN NEW; END';
CREATE CONSTRAINT TRIGGER fault AFTER {change} ON items DEFERRABLE INITIALLY {when}
FOR EACH ROW EXECUTE FUNCTION fault();
"""
DIE = "pg_terminate_backend(pg_backend_pid())"
COMMITTING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
BUSY = """SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"""
HEAL = "DROP FUNCTION fault() CASCADE"


@pytest.fixture
async def client(start_swept, make_store, database):
    """A client of a service that has done its work of the start, so that it commits only calls."""
    client = await start_swept(create_service(Config(**await make_store(database[1]))))
    await client.app[SERVICE].operations.uses.store()
    return client


@pytest.fixture
def outcome(client):
    """The outcome of a call that is refused."""

    async def call(path, body):
        async with client.post(path, json=body) as response:
            return (await refused(response, 503, "store-unavailable")).get("outcome", "not done")

    return call


async def aliases(client):
    async with client.get("/keys") as response:
        return {alias for key in await response.json() for alias in key["aliases"]}


async def test_a_commit_that_hangs(client, generate, own_postgres, outcome):
    """The first is applied later, and those who wait for the next transaction are not."""

    def hangs(alias):
        return asyncio.create_task(outcome("/key/generate", {"alg": "ed25519", "alias": alias}))

    await generate()  # so that Askar knows the profile, which it locks by itself once
    own_postgres.set("synchronous_standby_names", "nobody")
    first = hangs("first")
    # In a thread: the service is in this process, and must see the others before the first ends.
    async with waiting_for("a commit that hangs"):
        while await asyncio.to_thread(own_postgres.execute, COMMITTING) == "0\n":
            pass
    others = [hangs(f"other-{number}") for number in range(5)]
    assert await first == "unknown"
    assert set(await asyncio.gather(*others)) == {"not done"}
    own_postgres.set("synchronous_standby_names", "")
    await until("the commit to end", lambda: own_postgres.execute(COMMITTING) == "0\n")
    assert await aliases(client) == {"first"}


async def test_a_connection_that_dies_in_a_commit(client, own_postgres, database, outcome):
    fault = FAULT.format(what=DIE, change="INSERT", when="DEFERRED")
    # In a thread: the service is in this process, and may be about to end a transaction.
    await asyncio.to_thread(own_postgres.execute, fault, database[0])
    assert await outcome("/key/generate", {"alg": "ed25519"}) == "unknown"
    await asyncio.to_thread(own_postgres.execute, HEAL, database[0])
    assert await aliases(client) == set()


async def test_a_write_that_hangs_before_its_commit(
    client, generate, own_postgres, database, outcome
):
    """A write is not committed after its caller was refused."""
    # Three statements, none of which is slow enough to be cancelled.
    fault = FAULT.format(what="pg_sleep(1.2)", change="INSERT OR UPDATE", when="IMMEDIATE")
    await generate(alias="a")
    # In a thread: the service is in this process, and may be in a transaction, such as a sweep's.
    await asyncio.to_thread(own_postgres.execute, fault, database[0])
    assert await outcome("/key/generate", {"alg": "ed25519", "alias": "b"}) == "not done"
    await until("the write to end", lambda: own_postgres.execute(BUSY, database[0]) == "0\n")
    await asyncio.to_thread(own_postgres.execute, HEAL, database[0])
    await generate(alias="c")
    assert await aliases(client) == {"a", "c"}
