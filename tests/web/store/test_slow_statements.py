"""Statements that PostgreSQL cancels since they take too long: the connections stay."""

import asyncio
import subprocess

import pytest
from problems import refused
from waiting import waiting_for

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.store.keys import key_store
from minikms.store.profiles import removals as profile_removals
from minikms.web.state import SERVICE, STORE

# Makes each statement slow that touches an entry of the newest profile.
SLOW = """
CREATE FUNCTION slow(profile bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF profile = (SELECT max(id) FROM profiles) THEN PERFORM pg_sleep(600); END IF;
    RETURN true;
END $$;
"""
# A read passes a view. The table keeps its entries, and is found under its name again later.
READ = """ALTER TABLE items RENAME TO kept;
CREATE VIEW items AS SELECT * FROM kept WHERE slow(profile_id)"""
HEALED = "DROP VIEW items; ALTER TABLE kept RENAME TO items"
WRITE = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM slow((coalesce(NEW, OLD)).profile_id); RETURN coalesce(NEW, OLD); END';
CREATE TRIGGER slow BEFORE {change} ON items FOR EACH ROW {when} EXECUTE FUNCTION slow();
"""
HEAL = "DROP FUNCTION slow() CASCADE"
CONNECTIONS = """SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = '' AND pid <> pg_backend_pid()"""
END_SLEEP = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event = 'PgSleep'"""
SLEEPS = """SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event = 'PgSleep'"""

TENANT = {"X-Profile": "tenant"}
NEWEST = {"X-Profile": "slow"}


@pytest.fixture
async def client(start, make_store, own_postgres, database):
    options = await make_store(database[1])
    # So that an answer is in time on a busy machine, too.
    options["store"] += "?connect_timeout=4"
    client = await start(create_service(Config(**options)))
    await make(client, "tenant")
    await asyncio.to_thread(own_postgres.execute, SLOW, database[0])
    return client


async def make(client, profile):
    async with client.post("/profile", json={"name": profile}) as response:
        assert response.status == 200


async def generate(client, **headers):
    body = {"alg": "ed25519"}
    async with client.post("/key/generate", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.json()


def errors(client):
    return client.app[STORE].database.pool.errors


@pytest.fixture
def execute(own_postgres, database):
    """Run a statement in a thread: the service is in this process."""

    async def run(statement):
        return await asyncio.to_thread(own_postgres.execute, statement, database[0])

    return run


@pytest.fixture
def stays(client, execute):
    """Make slow calls of a tenant; another one goes on, and the service keeps its connections."""

    async def run(*calls):
        await asyncio.gather(*(generate(client) for _ in range(20)))
        before = set((await execute(CONNECTIONS)).split())
        slow = [asyncio.create_task(call) for call in calls]
        async with waiting_for("a slow statement"):
            while await execute(SLEEPS) == "0\n":
                pass
        for _ in range(5):
            await generate(client)
        answers = await asyncio.gather(*slow)
        assert [errors(client)["slow"] > 0, errors(client)["dead"]] == [True, 0]
        assert client.app[STORE].database.pool.reopened == 0
        assert before
        assert before <= set((await execute(CONNECTIONS)).split())
        assert await execute(SLEEPS) == "0\n"
        return answers

    return run


async def answer(client, method, path, body=None, **headers):
    """The status of an answer, its slug, its outcome and the seconds after which to try again.

    It is checked once all have come, since that takes time in the loop of the service.
    """
    async with client.request(method, path, json=body, headers=headers) as response:
        problem = await response.json()
        slug, outcome = problem["type"].rpartition(":")[2], problem.get("outcome", "not done")
        return response.status, slug, outcome, response.headers.get("Retry-After")


TIMEOUT = 503, "timeout", "not done", "1"
UNAVAILABLE = 503, "store-unavailable", "not done", "1"


async def test_slow_reads(client, execute, stays):
    for _ in range(3):
        await generate(client, **TENANT)
    paths = ["/keys", "/keys?label=a:b", "/key?alias=a", "/key?alias=b"]

    await execute(READ)
    assert set(await stays(*(answer(client, "GET", path, **TENANT) for path in paths))) == {TIMEOUT}
    await execute(HEALED)
    async with client.get("/keys", headers=TENANT) as response:
        assert len(await response.json()) == 3


@pytest.mark.parametrize("change", ["INSERT", "UPDATE"])
async def test_slow_writes(client, execute, stays, change):
    """A cancelled write changes nothing; Askar's error hides that an UPDATE was cancelled."""

    first = await generate(client, **TENANT)
    await execute(WRITE.format(change=change, when=""))
    bodies = [{"alg": "ed25519", "alias": alias} for alias in "abc"]
    calls = (answer(client, "POST", "/key/generate", body, **TENANT) for body in bodies)
    assert set(await stays(*calls)) == {TIMEOUT}
    await execute(HEAL)
    second = await generate(client, **TENANT)
    async with client.get("/keys", headers=TENANT) as response:
        kids = [key["kid"] for key in await response.json()]
    assert kids == [first["kid"], second["kid"]]
    async with client.get("/readyz") as response:
        assert response.status == 200


LAST = "SELECT max(id) FROM items"
PROFILES = "SELECT count(*) FROM profiles"


@pytest.fixture
async def removals(client, execute, monkeypatch):
    """Fill two profiles, of which `slow` is the newest, and erase them in small parts.

    Return a function that waits until Askar has so many profiles less.
    """
    monkeypatch.setattr(profile_removals, "_PART", 8)
    monkeypatch.setattr(key_store, "_ERASING", 0)
    await make(client, "slow")
    for headers, keys in (TENANT, 17), (NEWEST, 7):
        for _ in range(keys):
            await generate(client, **headers)
    before = int(await execute(PROFILES))

    async def erased(number):
        async with waiting_for("the erasure"):
            while int(await execute(PROFILES)) != before - number:
                await asyncio.sleep(0.01)

    return erased


async def makes_anew(client):
    """The name of the removed profile is free, and its new profile keeps its key."""
    await make(client, "slow")
    key = await generate(client, **NEWEST)

    async def stays():
        async with client.get("/keys", headers=NEWEST) as response:
            assert [each["kid"] for each in await response.json()] == [key["kid"]]

    return stays


async def test_a_slow_erasure_goes_on_later(client, execute, removals):
    """A slow erasure delays no other profile; its profile is gone, and its name is free."""
    mine, last = await generate(client), await execute(LAST)
    await generate(client, **NEWEST)
    await execute(WRITE.format(change="DELETE", when=f"WHEN (OLD.id > {last})"))
    for name in "slow", "tenant":
        async with client.delete(f"/profile/{name}") as response:
            assert [response.status, await response.json()] == [200, {"success": True}]
    await removals(1)
    assert errors(client)["slow"] > 0
    async with client.get("/keys", headers=NEWEST) as response:
        assert response.status == 404
    await execute(HEAL)
    stays = await makes_anew(client)
    await client.app[SERVICE].sweep()
    await removals(1)  # one is new
    assert await client.app[STORE].database.directory.removals.pending() == []
    await stays()
    async with client.get("/keys") as response:
        assert [key["kid"] for key in await response.json()] == [mine["kid"]]


async def test_a_slow_removal_goes_on_later(client, execute, removals):
    await execute(WRITE.format(change="DELETE", when=""))
    async with client.delete("/profile/slow") as response:
        assert (await refused(response, 503, "store-unavailable"))["outcome"] == "unknown"
    async with client.get("/keys", headers=NEWEST) as response:
        assert response.status == 404
    await execute(HEAL)
    await client.app[SERVICE].sweep()
    await removals(1)
    await (await makes_anew(client))()


async def test_a_locked_table_is_no_dead_server(client, execute, own_postgres, database):
    lock = "BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)"
    command = [*own_postgres.psql(database[0]), "-c", lock]
    await generate(client)

    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        try:
            async with waiting_for("the lock"):
                while await execute(SLEEPS) == "0\n":
                    pass
            found = await asyncio.gather(
                answer(client, "GET", "/keys"),
                answer(client, "GET", "/key?alias=none"),
                answer(client, "POST", "/key/generate", {"alg": "ed25519"}),
            )
        finally:
            await execute(END_SLEEP)
    assert set(found) == {UNAVAILABLE}
    assert [errors(client)["busy"] > 0, errors(client)["dead"]] == [True, 0]
    assert client.app[STORE].database.pool.reopened == 0
    await generate(client)
