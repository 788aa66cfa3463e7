"""A PostgreSQL that goes away, that hangs, and that has fewer connections than callers."""

import asyncio
from collections import Counter

import pytest
from problems import slug_of

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.store.askar.location import StoreLocation
from minikms.store.connections.pool import ACQUIRE_TIMEOUT


@pytest.fixture
async def client(start, make_store, own_postgres):
    return await start(create_service(Config(**await make_store(own_postgres.create_database()))))


async def answer(client, method, path, body=None):
    async with asyncio.timeout(30):  # so that none is a failure and not a standstill
        async with client.request(method, path, json=body) as response:
            assert ("Retry-After" in response.headers) == (response.status == 503)
            return response.status, await slug_of(response)


def calls(kid):
    return [
        ("DELETE", "/profile/old", None),  # first, with nobody's turn to wait for: it may take long
        ("GET", "/readyz", None),
        ("GET", f"/key/{kid}", None),
        ("GET", "/key?alias=a", None),
        ("GET", "/keys", None),
        ("GET", "/jwks.json", None),
        ("GET", "/profiles", None),
        ("POST", "/profile", {"name": "new"}),
        ("POST", "/sign", {"kid": kid, "data": ""}),
        ("POST", "/key/generate", {"alg": "ed25519"}),
        ("POST", f"/key/{kid}/associate", {"alias": "b"}),
        ("DELETE", f"/key/{kid}/associate?alias=a", None),
        ("PATCH", f"/key/{kid}", {"labels": {}}),
        ("DELETE", f"/key/{kid}", None),
    ]


AWAY = {
    "stopped": (lambda server: server.stop("fast"), lambda server: server.start()),
    "crashed": (lambda server: server.stop("immediate"), lambda server: server.start()),
    "hanging": (lambda server: server.pause(), lambda server: server.resume()),
}


@pytest.mark.parametrize(("leave", "come_back"), AWAY.values(), ids=AWAY)
async def test_a_database_that_is_away(client, generate, own_postgres, leave, come_back):
    kid = (await generate(alias="a"))["kid"]
    await client.post("/profile", json={"name": "old"})
    await asyncio.to_thread(leave, own_postgres)
    answers = await asyncio.gather(*(answer(client, *call) for call in calls(kid)))
    assert set(answers) == {(503, "store-unavailable")}
    assert await answer(client, "GET", "/healthz") == (200, "")
    assert await answer(client, "POST", "/random", {"length": 1}) == (200, "")
    await asyncio.to_thread(come_back, own_postgres)
    async with asyncio.timeout(30):
        while await answer(client, "GET", "/readyz") != (200, ""):
            await asyncio.sleep(0.05)
    # The hanging write may have been applied, or may still be: the database did not answer.
    for method, path, body in calls((await generate("p256"))["kid"])[8:10]:
        assert await answer(client, method, path, body) == (200, "")


def test_whoever_waits_is_told_within_five_seconds():
    for url in ("sqlite:///keys.db", "postgres://host/name"):
        location = StoreLocation.parse(url)
        assert ACQUIRE_TIMEOUT + location.timeout + 0.5 < 5


async def test_more_callers_than_connections(start, make_store, own_postgres):
    url = own_postgres.create_database()
    options = await make_store(url)
    options["store"] = f"{url}?max_connections=2"
    client = await start(create_service(Config(**options)))
    generate = "POST", "/key/generate", {"alg": "ed25519"}
    found = Counter(await asyncio.gather(*(answer(client, *generate) for _ in range(300))))
    assert found.keys() <= {(200, ""), (503, "store-unavailable")}
    assert found[200, ""] > 0
    async with client.get("/keys", params={"limit": 1000}) as response:
        assert len(await response.json()) == found[200, ""]


async def test_a_server_that_takes_no_more_connections(start, make_store, own_postgres):
    own_postgres.execute("CREATE USER poor CREATEDB PASSWORD 'poor'")
    scheme, _, rest = own_postgres.url("poor").partition("://")
    options = await make_store(f"{scheme}://poor:poor@{rest.partition('@')[2]}")
    own_postgres.execute("ALTER USER poor CONNECTION LIMIT 2")
    client = await start(create_service(Config(**options)))
    calls = [("GET", "/keys", None), ("POST", "/key/generate", {"alg": "ed25519"})] * 30
    found = Counter(await asyncio.gather(*(answer(client, *call) for call in calls)))
    assert found.keys() <= {(200, ""), (503, "store-unavailable")}
    assert await answer(client, "GET", "/readyz") == (200, "")
