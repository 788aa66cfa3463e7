"""Keys in memory: every change is seen at once, or within the bound that the documents tell."""

import asyncio
import contextlib
import time

import pytest
from aiohttp.test_utils import TestClient
from app_servers import KmsTestServer
from http_answers import ok
from problems import slug_of

from minikms.access.callers import SCOPES
from minikms.access.token_record import Token
from minikms.config import Config
from minikms.http.gate import GATE
from minikms.serve.assembly import create_service
from minikms.store.connections.notices import NotifyChangeCounters
from minikms.web.state import SERVICE, TOKENS

LONG = "é" * 4096  # its entry in the store has another name


def caching(options, **others):
    """A service that caches keys in memory."""
    return create_service(Config(**{"cache_size": 100, "cache_ttl": 3600, **options, **others}))


def hears_notices(client):
    return isinstance(client.app[SERVICE].operations.store.database.counters, NotifyChangeCounters)


@pytest.fixture
def service(start, listening):
    """Start such a service."""

    async def make(options, **others):
        client = await start(caching(options, **others))
        if hears_notices(client):
            await listening(client)
        return client

    return make


@pytest.fixture(scope="module")
async def servers(request, tmp_path_factory, make_store, listening):
    """One or two services on a store of each kind, which tests of a change share."""
    begun = {}
    async with contextlib.AsyncExitStack() as stack:

        async def begin(kind, who):
            if (kind, who) not in begun:
                options = {}
                if kind == "sqlite":
                    options = await make_store(f"sqlite://{tmp_path_factory.mktemp(who)}/keys.db")
                elif kind == "postgres":
                    server = request.getfixturevalue("postgres_server")
                    options = await make_store(server.create_database())
                begun[kind, who] = [
                    await stack.enter_async_context(KmsTestServer(caching(options)))
                    for _ in range(1 if who == "itself" else 2)
                ]
                await listening(*filter(hears_notices, begun[kind, who]))
            return begun[kind, who]

        yield begin


@pytest.fixture
async def pair(servers, kind, who, change):
    """Two clients in a profile of this test: one changes a key, the other uses it."""
    headers = {"X-Profile": change.__name__}
    clients = [TestClient(server, headers=headers) for server in await servers(kind, who)]
    yield clients[0], clients[-1]
    for client in clients:
        await client.session.close()  # its own `close` would close the server


def cache(client):
    return client.app[SERVICE].operations.cache


async def generate(client, **options):
    call = client.post("/key/generate", json={"alg": "ed25519", **options})
    return (await ok(await call))["kid"]


async def disable(client, kid):
    await ok(await client.patch(f"/key/{kid}", json={"state": "disabled"}))


async def enable(client, kid):
    await ok(await client.patch(f"/key/{kid}", json={"state": "enabled"}))


async def verify_only(client, kid):
    change = {"state": "verify-only"}
    await ok(await client.patch(f"/key/{kid}", json=change))


async def let_expire(client, kid):
    change = {"expires": "2020-01-01T00:00:00Z"}
    await ok(await client.patch(f"/key/{kid}", json=change))


async def label(client, kid):
    await ok(await client.patch(f"/key/{kid}", json={"labels": {"a": "b"}}))


async def delete(client, kid):
    await ok(await client.delete(f"/key/{kid}"))


async def delete_later(client, kid):
    await ok(await client.delete(f"/key/{kid}?after=7d"))


async def delete_and_restore(client, kid):
    await label(client, kid)
    await delete_later(client, kid)
    await ok(await client.post(f"/key/{kid}/restore"))


async def rotate(client, kid):
    await ok(await client.post(f"/key/{kid}/rotate"))


async def move_alias(client, kid):
    other = await generate(client)
    call = client.post(f"/key/{other}/associate", json={"alias": "a"})
    await ok(await call)


async def move_long_alias(client, kid):
    other = await generate(client)
    call = client.post(f"/key/{other}/associate", json={"alias": LONG})
    await ok(await call)


async def take_over_alias(client, kid):
    await generate(client, alias="a")


async def take_over_long_alias(client, kid):
    await generate(client, alias=LONG)


async def add_alias(client, kid):
    await ok(await client.post(f"/key/{kid}/associate", json={"alias": "b"}))


async def unbind_alias(client, kid):
    await ok(await client.delete(f"/key/{kid}/associate?alias=a"))


async def remove_profile(client, kid):
    await ok(await client.delete(f"/profile/{client.session.headers['X-Profile']}"))


async def make_profile_anew(client, kid):
    await remove_profile(client, kid)
    await make_profile(client)


async def make_profile(client):
    name = client.session.headers["X-Profile"]
    await ok(await client.post("/profile", json={"name": name}))


CHANGES = [
    disable,
    verify_only,
    let_expire,
    label,
    delete,
    delete_later,
    delete_and_restore,
    rotate,
    move_alias,
    move_long_alias,
    take_over_alias,
    take_over_long_alias,
    add_alias,
    unbind_alias,
    remove_profile,
    make_profile_anew,
]


async def all_answers(client, kid):
    """The answers about a key, of all calls that look it up."""
    sig = "A" * 86
    calls = [
        call
        for ref in ({"kid": kid}, {"alias": "a"}, {"alias": LONG})
        for call in (
            client.post("/sign", json={**ref, "data": ""}),
            client.post("/verify", json={**ref, "data": "", "sig": sig}),
            client.post("/jws/sign", json={**ref, "payload": ""}),
        )
    ]
    calls.append(client.get(f"/key/{kid}"))
    calls.append(client.get("/key?alias=a"))
    found = []
    for call in calls:
        async with call as response:
            body = await response.json()
            body.pop("last_used", None)  # each call of one client is a use
            found.append((response.status, body))
    return found


STORES = [
    ("memory", "itself"),
    ("sqlite", "itself"),
    ("sqlite", "another"),
    ("postgres", "itself"),
    ("postgres", "another"),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize(("kind", "who"), STORES)
async def test_a_change_is_seen(pair, who, change):
    changing, user = pair
    await make_profile(changing)
    kid = await generate(changing, alias="a")
    await ok(await changing.post(f"/key/{kid}/associate", json={"alias": LONG}))
    before = await all_answers(user, kid)
    for _ in range(10):  # on PostgreSQL a notice that comes late has the key read once more
        hits = cache(user).hits
        assert await all_answers(user, kid) == before
        if cache(user).hits >= hits + len(before):
            break
    else:
        pytest.fail("no answer comes from memory alone")
    await change(changing, kid)
    after = await all_answers(user, kid)
    cache(changing)._entries.clear()
    expected = await all_answers(changing, kid)
    assert expected != before
    if (who, changing.app[SERVICE].operations.store.database.counters.needs_ttl) == (
        "another",
        True,
    ):
        async with asyncio.timeout(60):  # the notice has its way to go
            while after != expected:
                after = await all_answers(user, kid)
    assert after == expected


@pytest.mark.each_store
@pytest.mark.parametrize("sign", ["kid", "alias"])
async def test_no_signature_begins_after_a_key_is_disabled(service, any_store, sign):
    client = await service(any_store)
    kid = await generate(client, alias="a")
    body = {"data": "", sign: kid if sign == "kid" else "a"}
    for _ in range(20):
        await ok(await client.post("/sign", json=body))
        answered = asyncio.Event()

        async def hammer(answered=answered):
            while True:
                begun_late = answered.is_set()
                async with client.post("/sign", json=body) as response:
                    if begun_late:
                        return response.status, await slug_of(response)

        tasks = [asyncio.create_task(hammer()) for _ in range(4)]
        await disable(client, kid)
        answered.set()
        assert set(await asyncio.gather(*tasks)) == {(409, "key-not-usable")}
        await enable(client, kid)
    assert cache(client).hits >= 20


async def until_refused(use, end):
    """Use something, and from shortly before it ends on; a use that begins later is refused."""
    async with asyncio.timeout(60):
        while True:
            begun = time.time_ns()
            async with use() as response:
                if response.status != 200:
                    assert time.time_ns() >= end
                    return await slug_of(response)
            assert begun < end
            await asyncio.sleep((end - time.time_ns()) / 1e9 - 0.02)


@pytest.mark.each_store
async def test_a_key_expires_in_memory(service, any_store):
    client = await service(any_store)
    kid = await generate(client)
    end = time.time_ns() + 500_000_000
    await client.app[SERVICE].changes.update("default", kid, {"expires": end})

    def use():
        return client.post("/sign", json={"kid": kid, "data": ""})

    assert await until_refused(use, end) == "key-not-usable"


@pytest.mark.each_store
async def test_a_token_in_memory(service, any_store):
    client = await service({**any_store, "auth": "token"})
    tokens = client.app[TOKENS]
    end = time.time_ns() + 500_000_000
    (token, _), (short, _) = [await tokens.create("t", SCOPES, None, e) for e in (None, end)]
    other_secret = Token(token.id, Token.new().secret)

    def use(token):
        return client.get("/profiles", headers={"Authorization": f"Bearer {token.reveal()}"})

    holders = client.app[GATE].access._cache
    for number in range(3):
        await ok(await use(token))
        assert await slug_of(await use(other_secret)) == "unauthenticated"
        assert holders.hits == number
    secrets = [(secret, secret.hex()) for secret in (token.secret, other_secret.secret)]
    shown = repr((holders, holders._entries))
    assert not any(form in shown for secret in secrets for form in map(str, secret))
    assert await until_refused(lambda: use(short), end) == "unauthenticated"
    await tokens.revoke(token.id)
    assert await slug_of(await use(token)) == "unauthenticated"


async def test_without_a_cache_nothing_is_kept(service):
    client = await service({}, cache_size=0)
    kid = await generate(client)
    for _ in range(3):
        await ok(await client.post("/sign", json={"kid": kid, "data": ""}))
    assert (len(cache(client)), cache(client).hits) == (0, 0)
