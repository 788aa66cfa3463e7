"""A connection to PostgreSQL that dies in the middle of a write: 503, and nothing is half done."""

import asyncio

import pytest
from problems import refused
from waiting import until

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.store.connections import pool
from minikms.web.state import STORE

# Ends the connection, as a server that is killed does.
DIE = """
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN COALESCE(NEW, OLD); END';
CREATE TRIGGER die BEFORE {change} ON items FOR EACH ROW EXECUTE FUNCTION die();
"""
HEAL = "DROP FUNCTION die() CASCADE"


@pytest.fixture
def client(database_client):
    return database_client


async def test_a_connection_lost_while_storing_the_last_place_is_reported(
    client, get, generate, postgres_server, database
):
    await generate()
    postgres_server.execute(DIE.format(change="UPDATE"), database[0])
    async with client.post("/key/generate", json={"alg": "ed25519"}) as response:
        await refused(response, 503, "store-unavailable")
    postgres_server.execute(HEAL, database[0])
    await generate()
    assert len(await get("/keys")) == 2


@pytest.mark.parametrize("change", ["INSERT", "UPDATE", "DELETE"])
async def test_a_connection_lost_within_a_write_is_store_unavailable(
    client, generate, post, postgres_server, database, change
):
    kid = (await generate(alias="a"))["kid"]
    await client.post("/profile", json={"name": "old"})
    token = (await post("/tokens", {"name": "t", "scopes": ["sign"]}))["record"]["id"]
    calls = [
        ("POST", "/profile", {"name": "new"}),
        ("PATCH", "/profile/old", {"jwks": "public"}),
        ("DELETE", "/profile/old", None),
        ("POST", "/tokens", {"name": "t", "scopes": ["sign"]}),
        ("DELETE", f"/tokens/{token}", None),
        ("POST", "/key/generate", {"alg": "ed25519"}),
        ("POST", "/key/generate/batch", {"alg": "ed25519", "count": 2}),
        ("POST", f"/key/{kid}/associate", {"alias": "b"}),
        ("DELETE", f"/key/{kid}/associate?alias=a", None),
        ("POST", f"/key/{kid}/rotate", None),
        ("PATCH", f"/key/{kid}", {"labels": {"a": "b"}}),
        ("DELETE", f"/key/{kid}", None),
    ]
    postgres_server.execute(DIE.format(change=change), database[0])
    statuses = set()
    for method, path, body in calls:
        async with client.request(method, path, json=body) as response:
            statuses.add(response.status)
            if response.status != 200:  # of a call that does not do this to a row
                await refused(response, 503, "store-unavailable")
    assert 503 in statuses


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_the_first_calls_after_a_restart_succeed(start, make_store, own_postgres, mode):
    options = await make_store(own_postgres.create_database())
    client = await start(create_service(Config(**options, cache_size=0)))
    database = client.app[STORE].database

    async def calls():
        """Enough at the same time for every connection that the service may have."""
        answers = [client.post("/key/generate", json={"alg": "ed25519"}) for _ in range(10)]
        answers += [client.get("/keys") for _ in range(10)]
        return {answer.status for answer in await asyncio.gather(*answers)}

    assert await calls() == {200}
    await asyncio.to_thread(own_postgres.restart, mode)
    await until("new connections", lambda: database.pool.reopened)
    assert await calls() == {200}


async def test_a_call_waits_for_connections_that_are_being_made(
    start, make_store, own_postgres, caplog, monkeypatch
):
    monkeypatch.setattr(pool, "_RECONNECT_WAIT", 60)  # since a busy machine starts it slowly
    monkeypatch.setattr(pool, "ACQUIRE_TIMEOUT", 60)
    options = await make_store(own_postgres.create_database())
    client = await start(create_service(Config(**options, cache_size=0)))
    await until("notices", lambda: all(client.app[STORE].database.counters.values))
    await asyncio.to_thread(own_postgres.stop, "immediate")
    await until("its loss to be noticed", lambda: "is lost" in caplog.text)
    call = asyncio.create_task(client.get("/keys"))
    await asyncio.to_thread(own_postgres.start)
    assert (await call).status == 200


async def test_a_proxy_that_ends_the_connection_for_notices_each_time(
    client, generate, postgres_server, database, caplog, monkeypatch
):
    """The first end replaces the pool, since all connections may have ended; the next ones wait."""
    monkeypatch.setattr(pool, "_LONG_PAUSE", 600)
    end = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'minikms notices'"""
    store = client.app[STORE].database
    await until("notices", lambda: all(store.counters.values))
    for number in range(1, 4):
        assert postgres_server.execute(end, database[0]).split() == ["t"]
        await until("its loss", lambda n=number: caplog.text.count("is lost") == n)
        await until("notices", lambda n=number: caplog.text.count("notices come again") == n)
        await until("new connections", lambda: store.pool.reopened)
        await generate()
    assert store.pool.reopened == 1
