"""JWK Sets that stay in memory: what changes them shows at once, and they are computed once."""

import asyncio
from dataclasses import replace

import pytest
from http_answers import ok
from waiting import until

from minikms.config import Config
from minikms.credentials.jose.jwk_sets import JwkSets
from minikms.serve.assembly import create_service
from minikms.store.connections.notices import NotifyChangeCounters
from minikms.store.keys.entries import load_record, replace_record
from minikms.store.keys.listing import KeyListing
from minikms.web.state import CREDENTIALS, STORE

PATH = "/jwks.json?profile=alice"
ALICE = {"X-Profile": "alice"}


@pytest.fixture
def service(start, listening):
    """Start a service with a profile that everybody may have the set of."""

    async def make(options, **others):
        client = await start(create_service(Config(**{"cache_size": 100, **options, **others})))
        if isinstance(client.app[STORE].database.counters, NotifyChangeCounters):
            await listening(client)
        await client.post("/profile", json={"name": "alice"})
        return client

    return make


@pytest.fixture
def pages_read(monkeypatch):
    """The profile of each page read, in order."""
    page, read = KeyListing.page, []

    async def spy(self, profile, **options):
        read.append(profile)
        return await page(self, profile, **options)

    monkeypatch.setattr(KeyListing, "page", spy)
    return read


async def generate(client, **options):
    body = {"alg": "ed25519", **options}
    return (await ok(await client.post("/key/generate", json=body, headers=ALICE)))["kid"]


async def kids(client, path=PATH):
    return [key["kid"] for key in (await ok(await client.get(path)))["keys"]]


@pytest.mark.each_store
async def test_a_set_is_read_once_while_nothing_changes(service, any_store, pages_read):
    client = await service(any_store, cache_ttl=3600)
    kid = await generate(client, alias="a")
    answers = [await client.get(PATH) for _ in range(3)]
    assert len({await answer.read() for answer in answers}) == 1
    assert len({answer.headers["ETag"] for answer in answers}) == 1
    async with client.get("/jwks.json", headers=ALICE) as answer:
        assert await answer.json() == await answers[0].json()
    assert await kids(client) == [kid, "a"]
    assert pages_read == ["alice"]
    # Changes in another profile do not matter.
    await client.post("/key/generate", json={"alg": "ed25519"})
    assert await kids(client) == [kid, "a"]
    assert pages_read == ["alice"]


@pytest.mark.each_store
async def test_whatever_changes_it_shows_at_once(service, any_store):
    client = await service(any_store, cache_ttl=3600)

    async def call(method, path, **options):
        await ok(await client.request(method, path, headers=ALICE, **options))

    assert await kids(client) == []
    first = await generate(client)
    assert await kids(client) == [first]
    second = await generate(client, alias="a")
    assert await kids(client) == [first, second, "a"]
    await call("POST", f"/key/{first}/associate", json={"alias": "a"})
    assert await kids(client) == [first, "a", second]
    await call("DELETE", f"/key/{first}/associate?alias=a")
    assert await kids(client) == [first, second]
    await call("PATCH", f"/key/{first}", json={"state": "disabled"})
    assert await kids(client) == [second]
    await call("PATCH", f"/key/{first}", json={"state": "verify-only"})
    assert await kids(client) == [first, second]
    await call("DELETE", f"/key/{first}?after=7d")
    assert await kids(client) == [second]
    await call("POST", f"/key/{first}/restore")
    assert await kids(client) == [first, second]
    await call("POST", f"/key/{second}/rotate")
    assert len(await kids(client)) == 3
    await call("DELETE", f"/key/{second}")
    assert len(await kids(client)) == 2
    await call("DELETE", "/profile/alice")
    assert (await client.get(PATH)).status == 404
    await call("POST", "/profile", json={"name": "alice"})
    assert await kids(client) == []


@pytest.mark.each_store
async def test_a_key_that_expires_stays_in_it(service, any_store, pages_read):
    client = await service(any_store, cache_ttl=3600)
    kid = await generate(client)
    assert await kids(client) == [kid]
    change = {"expires": "2020-01-01T00:00:00Z"}
    await ok(await client.patch(f"/key/{kid}", json=change, headers=ALICE))
    assert await kids(client) == [kid]
    assert pages_read == ["alice"] * 2


async def test_a_change_by_another_process(service, persistent):
    one, other = await service(persistent), await service(persistent, cache_ttl=3600)
    assert await kids(other) == []
    kid = await generate(one)

    async def show(wanted):
        async with asyncio.timeout(60):  # a notice takes its time on PostgreSQL
            while await kids(other) != wanted:
                await asyncio.sleep(0.01)

    await show([kid])
    await ok(await one.patch(f"/key/{kid}", json={"state": "disabled"}, headers=ALICE))
    await show([])


async def test_two_profiles_that_are_asked_at_once_have_their_own_sets(
    service, persistent, monkeypatch
):
    client = await service(persistent)
    of_alice = await generate(client)
    body = {"alg": "ed25519"}
    of_default = (await ok(await client.post("/key/generate", json=body)))["kid"]
    page, reading, both = KeyListing.page, set(), asyncio.Event()

    async def wait_for_the_other(self, profile, **options):
        reading.add(profile)
        if len(reading) == 2:
            both.set()
        await both.wait()
        return await page(self, profile, **options)

    monkeypatch.setattr(KeyListing, "page", wait_for_the_other)
    async with asyncio.timeout(60):
        found = await asyncio.gather(kids(client), kids(client, "/jwks.json"))
    assert found == [[of_alice], [of_default]]


@pytest.mark.each_store
async def test_many_callers_at_once_share_one_read(service, any_store, pages_read, monkeypatch):
    get, page, asking = JwkSets.get, KeyListing.page, []

    async def ask(self, *args):
        asking.append(self)
        return await get(self, *args)

    async def read(self, *args, **options):
        await until("all callers", lambda: len(asking) == 50)
        return await page(self, *args, **options)

    monkeypatch.setattr(JwkSets, "get", ask)
    monkeypatch.setattr(KeyListing, "page", read)
    for size in (100, 0):
        client = await service(any_store, cache_size=size)
        kid = await generate(client)
        pages_read.clear()
        asking.clear()
        assert await asyncio.gather(*(kids(client) for _ in range(50))) == [[kid]] * 50
        assert len(pages_read) <= 2  # a second time if a notice of PostgreSQL comes late
        await ok(await client.delete("/profile/alice"))
        await client.close()


@pytest.mark.each_store
async def test_a_set_asked_for_after_a_change_has_the_change(service, any_store, monkeypatch):
    client = await service(any_store)
    page, reading, go_on = KeyListing.page, asyncio.Event(), asyncio.Event()

    async def slow(self, *args, **options):
        found = await page(self, *args, **options)
        reading.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(KeyListing, "page", slow)
    before = asyncio.create_task(kids(client))
    await reading.wait()
    kid = await generate(client)
    after = [asyncio.create_task(kids(client)) for _ in range(3)]
    await ok(await client.get("/profiles"))  # they have come by now
    go_on.set()
    assert await before == []
    assert await asyncio.gather(*after) == [[kid]] * 3


@pytest.mark.each_store
async def test_a_caller_that_leaves_does_not_cancel_the_read_of_others(
    service, any_store, monkeypatch
):
    client = await service(any_store)
    kid = await generate(client)
    page, reading, go_on = KeyListing.page, asyncio.Event(), asyncio.Event()

    async def slow(self, *args, **options):
        reading.set()
        await go_on.wait()
        return await page(self, *args, **options)

    monkeypatch.setattr(KeyListing, "page", slow)
    first = asyncio.create_task(client.get(PATH))
    await reading.wait()
    second = asyncio.create_task(kids(client))
    await ok(await client.get("/profiles"))
    first.cancel()
    go_on.set()
    assert await second == [kid]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (["{etag}"], 304),
        (["W/{etag}"], 304),
        (['"a", {etag} , "b"'], 304),
        (['"a",W/"b"', "{etag}"], 304),
        (["*"], 304),
        (['"a"'], 200),
        (['"a", *'], 200),
        (["{etag}x"[1:]], 200),
        ([""], 200),
        (["é"], 200),
    ],
)
async def test_an_unchanged_set_is_not_sent_again(service, any_store, given, status):
    client = await service(any_store)
    await generate(client)
    async with client.get(PATH) as answer:
        etag, body = answer.headers["ETag"], await answer.read()
        assert (etag[0], etag[-1], etag[1:-1].isalnum()) == ('"', '"', True)
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.content_type == "application/json"
    headers = [("If-None-Match", text.replace("{etag}", etag)) for text in given]
    async with client.get(PATH, headers=headers) as answer:
        assert answer.status == status
        assert answer.headers["ETag"] == etag
        assert answer.headers["Cache-Control"] == "no-cache"
        assert "X-Request-Id" in answer.headers
        assert await answer.read() == (b"" if status == 304 else body)
    await generate(client)
    async with client.get(PATH, headers=[("If-None-Match", etag)]) as answer:
        assert answer.status == 200
        assert answer.headers["ETag"] != etag


@pytest.mark.each_store
async def test_a_set_that_is_published_no_more(service, any_store, admin):
    token, file = admin
    client = await service({**any_store, "auth": "token"}, admin_token_file=file, cache_ttl=3600)
    own = {"Authorization": f"Bearer {token}"}

    async def publish(access):
        await ok(await client.patch("/profile/alice", json={"jwks": access}, headers=own))

    await ok(await client.post("/profile", json={"name": "alice"}, headers=own))
    for _ in range(2):
        assert (await client.get(PATH)).status == 401
        assert await kids_of(client, own) == []
        await publish("public")
        assert await kids(client) == []
        await publish("private")
    await publish("public")
    assert await kids(client) == []
    await ok(await client.delete("/profile/alice", headers=own))
    assert (await client.get(PATH)).status == 401


async def kids_of(client, headers):
    return [key["kid"] for key in (await ok(await client.get(PATH, headers=headers)))["keys"]]


@pytest.mark.each_store
async def test_a_part_has_a_tag_of_its_own(service, any_store, pages_read):
    client = await service(any_store, cache_ttl=3600)
    paths = [PATH, f"{PATH}&kty=OKP", f"{PATH}&kty=EC", f"{PATH}&kty=EC&alg=ES256&use=sig"]

    async def tags():
        found = []
        for path in paths:
            async with client.get(path) as answer:
                etag, body = answer.headers["ETag"], await answer.read()
                assert answer.headers["Cache-Control"] == "no-cache"
            async with client.head(path, headers={"If-None-Match": etag}) as answer:
                assert (answer.status, answer.headers["ETag"]) == (304, etag)
            async with client.get(path) as answer:
                assert await answer.read() == body
            found.append(etag)
        return found

    empty = await tags()
    assert len(set(empty)) == 1  # empty parts are the same
    await generate(client)
    whole, okp, ec, es256 = before = await tags()
    assert whole == okp != empty[0]
    assert ec == es256 == empty[0]
    kid = await generate(client, alg="p256", alias="a")
    whole, okp, ec, es256 = await tags()
    assert (okp, ec, len({whole, okp, ec})) == (before[1], es256, 3)
    assert await kids(client, paths[2]) == [kid, "a"]
    # The whole set is read, once after each change.
    assert pages_read == ["alice"] * 3
    await ok(await client.patch(f"/key/{kid}", json={"state": "disabled"}, headers=ALICE))
    assert await tags() == before
    async with client.get(paths[2], headers={"If-None-Match": ec}) as answer:
        assert answer.status == 200


async def test_cached_parts_take_memory_by_their_size(service, any_store):
    """Equivalent queries share the cache."""
    client = await service(any_store)
    for alg in ("ed25519", "p256"):
        await generate(client, alg=alg)
    first = await kids(client, f"{PATH}&kty=EC")
    for number in range(50):
        assert await kids(client, f"{PATH}&kty=EC&kty=x{number}&alg=ES256&alg=x{number}") == first
    sets = client.app[CREDENTIALS].jwk_sets
    assert (len(sets._sets), len(sets._parts)) == (1, 1)


async def test_a_set_that_is_larger_than_the_memory_for_all(
    service, any_store, pages_read, monkeypatch
):
    monkeypatch.setattr("minikms.credentials.jose.jwk_sets._MEMORY", 100)
    client = await service(any_store, cache_ttl=3600)
    for alg in ("ed25519", "p256"):
        await generate(client, alg=alg)
    first = await kids(client)
    for _ in range(5):
        assert await kids(client) == first
        assert await kids(client, f"{PATH}&kty=OKP") == first[:1]
        assert await kids(client, f"{PATH}&kty=EC") == first[1:]
    assert pages_read == ["alice"]
    # Another set takes its place.
    await client.post("/profile", json={"name": "bob"})
    assert await kids(client, "/jwks.json?profile=bob") == []
    assert len(client.app[CREDENTIALS].jwk_sets._sets) == 1
    assert await kids(client) == first


async def test_a_part_is_as_new_as_the_whole(service, any_store, monkeypatch):
    """A change while the whole set is read is not missed by a part of it."""
    client = await service(any_store, cache_ttl=3600)
    await generate(client)
    page, reading, go_on = KeyListing.page, asyncio.Event(), asyncio.Event()

    async def slow(self, *args, **options):
        found = await page(self, *args, **options)
        reading.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(KeyListing, "page", slow)
    before = asyncio.create_task(kids(client, f"{PATH}&kty=EC"))
    await reading.wait()
    kid = await generate(client, alg="p256")
    go_on.set()
    assert await before == []
    assert await kids(client, f"{PATH}&kty=EC") == [kid]


@pytest.mark.parametrize("chain", [("A",), ("A", "A"), ("MAA=", "MAA=")])
async def test_a_damaged_chain_does_not_break_a_set(service, chain):
    client = await service({})
    damaged, other = [await generate(client) for _ in range(2)]

    async def damage(session):
        record = await load_record(session, damaged)
        await replace_record(session, replace(record, certificates=chain))

    await client.app[STORE].database.write("alice", damage)
    assert await kids(client) == [damaged, other]
