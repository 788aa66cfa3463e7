"""Floods of unknown tokens, and callers with valid tokens meanwhile."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, TCPConnector
from http_answers import bearer
from problems import slug_of
from waiting import until

from minikms.access.token_record import Token
from minikms.config import Config
from minikms.http.state import IN_FLIGHT
from minikms.serve.assembly import create_service
from minikms.web.state import STORE, TOKENS

SIGN = {"alias": "a", "data": "aGVsbG8"}


@asynccontextmanager
async def store_that_does_not_answer(client):
    """Hold the one connection to a store in memory."""
    held, go_on = asyncio.Event(), asyncio.Event()

    async def work(_):
        held.set()
        await go_on.wait()

    call = asyncio.create_task(client.app[STORE].database.run_own(work))
    await held.wait()
    yield
    go_on.set()
    await call


@pytest.fixture
async def session(client):
    """Calls from one address, as many at once as there are."""
    connector = TCPConnector(limit=0)
    async with ClientSession(client.make_url("/"), connector=connector) as session:
        yield session


@pytest.fixture
async def client(start, admin, request):
    options = {"auth": "token", "admin_token_file": admin[1], "max_wrong_tokens": 10_000}
    client = await start(create_service(Config(**options, **getattr(request, "param", {}))))
    client.session.headers.update(bearer(admin[0]))
    new = {"alg": "ed25519", "alias": "a"}
    assert (await client.post("/key/generate", json=new)).status == 200
    assert (await client.post("/sign", json=SIGN)).status == 200
    return client


@pytest.mark.parametrize("client", [{"max_in_flight": 5}], indirect=True)
async def test_known_tokens_pass_while_wrong_tokens_flood(client, session):
    async def guess():
        async with session.get("/keys", headers=bearer(Token.new().reveal())) as answer:
            return await slug_of(answer)

    async with store_that_does_not_answer(client):
        guesses = [asyncio.create_task(guess()) for _ in range(150)]
        done = set()
        async with asyncio.timeout(60):
            while len(done) < 50:
                done, _ = await asyncio.wait(guesses, return_when=asyncio.FIRST_COMPLETED)
        assert {await task for task in done} == {"too-many-attempts"}
        assert client.app[IN_FLIGHT].number == 0
        # At once, and the ordinary way.
        batch = {"alias": "a", "items": [{"data": "aGVsbG8"}]}
        for path, body in (("/sign", SIGN), ("/sign/batch", batch)):
            assert (await client.post(path, json=body)).status == 200
    found = Counter(await asyncio.gather(*guesses))
    assert found["too-many-attempts"] == 50
    # Calls that waited too long for the store get `store-unavailable`.
    assert found["unauthenticated"] + found["store-unavailable"] == 100
    assert client.app[IN_FLIGHT].number == 0


@pytest.mark.parametrize("client", [{"max_in_flight": 1}], indirect=True)
async def test_a_waiting_token_takes_no_place_over_the_limit(client):
    token, _ = await client.app[TOKENS].create("new", ("keys:read",))

    def waits():
        return client.app[STORE].database.pool.waiting

    async with store_that_does_not_answer(client):
        new = asyncio.create_task(client.get("/keys", headers=bearer(token.reveal())))
        await until("a new token that waits for the store", lambda: waits() >= 1)
        known = asyncio.create_task(client.get("/keys"))
        in_flight = client.app[IN_FLIGHT]
        await until("a known caller in the only place", lambda: in_flight.number == 1)
    assert [await slug_of(await call) for call in (new, known)] == ["too-busy", ""]
    assert client.app[IN_FLIGHT].number == 0


@pytest.mark.parametrize("client", [{}, {"cache_size": 0}], indirect=True)
async def test_a_token_that_is_good_comes_from_many_at_once(client, session):
    token, _ = await client.app[TOKENS].create("many", ("keys:read",))

    async def call():
        async with session.get("/keys", headers=bearer(token.reveal())) as answer:
            return await slug_of(answer)

    for _ in range(2):
        assert set(await asyncio.gather(*(call() for _ in range(200)))) == {""}
