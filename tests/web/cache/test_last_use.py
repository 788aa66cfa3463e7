"""The time of the last use of keys and tokens: noted without a write, and stored together."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from http_answers import pages
from problems import refused
from sqlite_copies import whole
from waiting import until, waiting_for

from minikms.config import Config
from minikms.maintenance.inspect import StoreInspector
from minikms.serve.assembly import create_service
from minikms.store.keys import last_use
from minikms.store.keys.use_times import places_of
from minikms.web.state import SERVICE, STORE, TOKENS

DATA = "aGVsbG8="
DAY = 86_400


async def used(client, kid, **options):
    """The last use of a key, as a time."""
    async with client.get(f"/key/{kid}", **options) as response:
        found = (await response.json())["last_used"]
    return found and datetime.fromisoformat(found)


def is_now(moment):
    return moment is not None and abs(datetime.now(UTC) - moment) < timedelta(seconds=60)


def is_time_now(text):
    return text is not None and is_now(datetime.fromisoformat(text))


async def store_uses(client):
    """Store last uses, as the service does every two minutes."""
    await client.app[SERVICE].operations.uses.store()
    await client.app[TOKENS].uses.store()


async def stored(client, category="minikms.use"):
    """Count the entries of last uses."""

    async def work(session):
        return await session.count(category)

    return await client.app[STORE].database.run_own(work)


@pytest.mark.each_store
async def test_a_use_is_shown(client, generate, post):
    key, other = await generate("p256", alias="a"), await generate()
    assert (key["last_used"], await used(client, key["kid"])) == (None, None)
    await post("/sign", {"alias": "a", "data": DATA})
    assert is_now(await used(client, key["kid"]))
    assert await used(client, other["kid"]) is None
    await store_uses(client)
    assert is_now(await used(client, key["kid"]))
    listed = {each["kid"]: each for each in await (await client.get("/keys")).json()}
    assert is_now(datetime.fromisoformat(listed[key["kid"]]["last_used"]))
    assert listed[other["kid"]]["last_used"] is None
    async with client.patch(f"/key/{key['kid']}", json={"labels": {"n": "1"}}) as response:
        assert (await response.json())["last_used"] == listed[key["kid"]]["last_used"]
    assert await used(client, other["kid"]) is None


@pytest.mark.each_store
async def test_another_service_shows_it_and_a_later_one(
    client, generate, post, start, any_store, clock
):
    if not any_store:
        pytest.skip("a store in memory has one service")
    other = await start(create_service(Config(**any_store)))
    kid = (await generate())["kid"]
    clock(-2 * DAY)
    # No use of the key has a time before its creation.
    await post("/sign", {"kid": kid, "data": DATA})
    clock(0 * DAY)
    await store_uses(client)
    assert await used(other, kid) is None
    await post("/sign", {"kid": kid, "data": DATA})
    await store_uses(client)
    other.app[SERVICE].operations.last_uses._remembered.clear()
    assert is_now(first := await used(other, kid))
    clock(1 * DAY)
    async with other.post("/sign", json={"kid": kid, "data": DATA}) as response:
        assert response.status == 200
    await store_uses(other)
    later = await used(other, kid)
    assert timedelta(hours=23) < later - first < timedelta(hours=25)
    # An earlier use does not replace a later one.
    clock(0 * DAY)
    await post("/sign", {"kid": kid, "data": DATA})
    await store_uses(client)
    other.app[SERVICE].operations.last_uses._remembered.clear()
    assert abs(await used(other, kid) - later) < timedelta(seconds=1)


@pytest.mark.each_store
async def test_an_earlier_use_stays_behind_a_later_one_of_the_same_entry(
    client, generate, post, clock
):
    kid, neighbour = [(await generate())["kid"] for _ in range(2)]
    clock(2 * DAY)
    await post("/sign", {"kid": kid, "data": DATA})
    await store_uses(client)
    async with waiting_for("a use that the service itself stores since its start"):
        while (later := await used(client, kid)) is None:
            client.app[SERVICE].operations.last_uses._remembered.clear()
            await asyncio.sleep(0.01)
    clock(1 * DAY)  # as in a process whose clock is behind
    for each in (kid, neighbour):
        await post("/sign", {"kid": each, "data": DATA})
    await store_uses(client)
    client.app[SERVICE].operations.last_uses._remembered.clear()
    assert await used(client, kid) == later
    assert await used(client, neighbour) < later


@pytest.mark.each_store
async def test_many_processes_store_uses_at_once(client, post, start, any_store):
    others = [client]
    if any_store:
        others += [await start(create_service(Config(**any_store))) for _ in range(2)]
    body = {"alg": "ed25519", "count": 300}
    kids = [key["kid"] for key in (await post("/key/generate/batch", body))["keys"]]
    for number, each in enumerate(others):
        for kid in kids[number::3]:
            async with each.post("/sign", json={"kid": kid, "data": DATA}) as response:
                assert response.status == 200
    await asyncio.gather(*map(store_uses, others))
    if any_store:
        assert await stored(client) == 3  # of 256 keys each, and the time of the beginning
        fresh = await start(create_service(Config(**any_store)))
        found = await (await fresh.get("/keys?limit=1000")).json()
        assert all(is_now(datetime.fromisoformat(each["last_used"])) for each in found)


async def test_a_stopped_service_has_stored_them(start, tmp_path, make_store):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    client = await start(create_service(Config(**options)))
    async with client.post("/key/generate", json={"alg": "ed25519"}) as response:
        kid = (await response.json())["kid"]
    await client.post("/sign", json={"kid": kid, "data": DATA})
    await client.close()
    assert is_now(await used(await start(create_service(Config(**options))), kid))


USES = {
    "sign": ("ed25519", {"data": DATA}),
    "mac": ("hs256", {"data": DATA}),
    "jws/sign": ("p256", {"payload": DATA}),
    "encrypt": ("a256gcm", {"plaintext": DATA}),
    "verify": ("ed25519", {"data": DATA, "sig": DATA}),
    "sign/batch": ("ed25519", {"items": [{"data": DATA}]}),
}


@pytest.mark.parametrize("cache_size", [0, 100])
@pytest.mark.parametrize("path", USES)
async def test_operations_are_uses(start, path, cache_size):
    client = await start(create_service(Config(cache_size=cache_size)))
    alg, body = USES[path]
    async with client.post("/key/generate", json={"alg": alg}) as response:
        kid = (await response.json())["kid"]
    for _ in range(2):
        async with client.post(f"/{path}", json={"kid": kid, **body}) as response:
            assert response.status == 200, await response.text()
        assert is_now(await used(client, kid))
        await store_uses(client)


async def test_these_calls_are_no_uses(client, generate, refuses):
    key = await generate(alias="a")
    kid = key["kid"]
    await client.get("/key?alias=a")
    await client.get("/jwks.json")
    await client.post(f"/key/{kid}/associate", json={"alias": "b"})
    body = {"kid": kid, "data": DATA}
    await refuses("/mac", body, 422, "unsupported-operation")
    await client.patch(f"/key/{kid}", json={"state": "disabled"})
    await refuses("/sign", body, 409, "key-not-usable")
    await store_uses(client)
    assert await used(client, kid) is None


@pytest.mark.each_store
async def test_storing_them_leaves_caches_alone(client, generate, post, start, any_store):
    clients = [client]
    if any_store:
        clients.append(await start(create_service(Config(**any_store))))
    kid = (await generate())["kid"]
    for each in clients:  # of PostgreSQL, a notice tells the second one of the key
        counters = each.app[STORE].database.counters
        await until("the change that made the key", lambda: any(counters.values))  # noqa: B023
    for each in clients:
        for _ in range(3):
            await each.post("/sign", json={"kid": kid, "data": DATA})
        await each.get("/jwks.json")
    before = [each.app[SERVICE].operations.cache.misses for each in clients]
    changes = bytes(client.app[STORE].database.counters.values)
    for each in clients:
        await store_uses(each)
    assert bytes(client.app[STORE].database.counters.values) == changes
    for each in clients:
        await each.post("/sign", json={"kid": kid, "data": DATA})
    assert [each.app[SERVICE].operations.cache.misses for each in clients] == before


async def test_each_rotation_has_its_own(client, generate, post):
    old = (await generate(alias="a"))["kid"]
    await post("/sign", {"alias": "a", "data": DATA})
    new = await post(f"/key/{old}/rotate", {})
    assert new["last_used"] is None
    assert is_now(await used(client, old))
    await post("/sign", {"alias": "a", "data": DATA})
    assert is_now(await used(client, new["kid"]))


@pytest.mark.each_store
async def test_a_removed_profile_takes_them_along(client):
    before = await stored(client)
    there = {"X-Profile": "other"}
    for _ in range(2):
        await client.post("/profile", json={"name": "other"})
        body = {"alg": "ed25519"}
        async with client.post("/key/generate", json=body, headers=there) as response:
            kid = (await response.json())["kid"]
        await store_uses(client)
        assert await used(client, kid, headers=there) is None
        await client.post("/sign", json={"kid": kid, "data": DATA}, headers=there)
        await store_uses(client)
        assert is_now(await used(client, kid, headers=there))
        assert await stored(client) > before
        assert (await client.delete("/profile/other")).status == 200
    assert await stored(client) == max(before, 1)


async def until_stored(client, number):
    """Wait until the store has `number` entries: the service may still be storing some."""
    async with waiting_for(f"{number} entries"):
        while await stored(client) != number:
            await asyncio.sleep(0.01)


@pytest.mark.each_store
async def test_a_removed_profile_leaves_those_of_others(client, generate, post):
    kid = (await generate())["kid"]
    await post("/sign", {"kid": kid, "data": DATA})
    await store_uses(client)
    await until_stored(client, 2)  # its own, and the time of the beginning
    await client.post("/profile", json={"name": "other"})
    assert (await client.delete("/profile/other")).status == 200
    client.app[SERVICE].operations.last_uses._remembered.clear()
    assert is_now(await used(client, kid))


async def make_and_use(client, number):
    """Make keys and use each of them once."""
    body = {"alg": "ed25519", "count": number}
    async with client.post("/key/generate/batch", json=body) as response:
        kids = [key["kid"] for key in (await response.json())["keys"]]
    await asyncio.gather(*(sign(client, kid) for kid in kids))
    return kids


async def sign(client, kid):
    async with client.post("/sign", json={"kid": kid, "data": DATA}) as response:
        assert response.status == 200


async def delete(client, kids):
    for kid in kids:
        async with client.delete(f"/key/{kid}") as response:
            assert response.status == 200


@pytest.mark.each_store
async def test_deleted_keys_take_them_along(client):
    before = await stored(client)
    kids = await make_and_use(client, 520)  # the places of two entries, and some of a third one
    await store_uses(client)
    await until_stored(client, max(before, 1) + 3)
    await delete(client, kids[1:])
    await store_uses(client)
    assert is_now(await used(client, kids[0]))
    await until_stored(client, max(before, 1) + 2)  # the third one may get other keys
    await delete(client, kids[:1])
    await store_uses(client)
    await until_stored(client, max(before, 1) + 1)


@pytest.mark.each_store
async def test_a_use_that_is_stored_after_the_deletion_leaves_nothing(client, start, any_store):
    if not any_store:
        pytest.skip("a store in memory has one service")
    other = await start(create_service(Config(**any_store)))
    kids = await make_and_use(client, 256)
    await store_uses(client)
    await asyncio.gather(*(sign(other, kid) for kid in kids))
    await until_stored(client, 3)
    await delete(client, kids)
    for each in (client, other):
        await store_uses(each)
        await until_stored(client, 2)


async def test_the_places_that_were_used_last_come_first(client, post, clock):
    last_uses = client.app[SERVICE].operations.last_uses
    body = {"alg": "ed25519", "count": 300}
    kids = [key["kid"] for key in (await post("/key/generate/batch", body))["keys"]]
    for day, (used_now, order) in enumerate([(10, [0]), (290, [1, 0]), (20, [0, 1])]):
        clock(day * DAY)
        await sign(client, kids[used_now])
        await store_uses(client)
        async with waiting_for("the last use, which the service may itself be storing"):
            while await last_uses.groups("default") != [places_of(number) for number in order]:
                await asyncio.sleep(0.01)


async def test_so_many_entries_are_remembered(client, monkeypatch):
    monkeypatch.setattr(last_use, "_REMEMBERED", 3)
    last_uses = client.app[SERVICE].operations.last_uses
    places = [256 * number for number in range(8)]
    assert len(await last_uses.read("default", places)) == 8
    assert [group.number for group in last_uses._remembered] == [5, 6, 7]


@pytest.mark.each_store
async def test_unused_keys_are_listed(client, generate, post, clock):
    await store_uses(client)  # from now on, uses are noted
    clock(-100 * DAY)
    before = (await generate())["kid"]  # made before uses were noted
    clock(0 * DAY)
    kids = [(await generate(labels={"n": "1"}))["kid"] for _ in range(6)]
    clock(10 * DAY)
    for kid in kids[1:3]:
        await post("/sign", {"kid": kid, "data": DATA})
    await store_uses(client)
    clock(50 * DAY)
    late = (await generate())["kid"]
    path = "/keys?unused=45d"
    unused = [before, kids[0], *kids[3:]]
    assert [each["kid"] for each in await (await client.get(path)).json()] == unused
    assert [kid for page in await pages(client, f"{path}&limit=2") for kid in page] == unused
    lines = await (await client.get(path, headers={"Accept": "application/x-ndjson"})).text()
    assert [line.split('"')[3] for line in lines.splitlines()] == unused
    found = await (await client.get(f"{path}&label=n:1")).json()
    assert [each["kid"] for each in found] == unused[1:]
    assert await (await client.get("/keys?unused=60d")).json() == []
    everything = await (await client.get("/keys?unused=1s")).json()
    assert {each["kid"] for each in everything} == {before, *kids} - {late}


@pytest.mark.shared_service
@pytest.mark.parametrize("unused", ["", "0d", "90", "x", "366d"])
async def test_times_of_unused_keys_that_are_refused(client, unused):
    response = await client.get("/keys", params={"unused": unused})
    await refused(response, 422, "validation-failed")


# Tokens


@pytest.fixture
async def guarded(start, admin, tmp_path, make_store):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    options |= {"auth": "token", "admin_token_file": admin[1]}
    return await start(create_service(Config(**options))), options


async def tokens(client, admin):
    """The last uses of tokens, by the names of their holders."""
    headers = {"Authorization": f"Bearer {admin[0]}"}
    async with client.get("/tokens", headers=headers) as response:
        return {each["name"]: each["last_used"] for each in await response.json()}


async def test_the_last_use_of_a_token(guarded, admin, start):
    client, options = guarded
    headers = {"Authorization": f"Bearer {admin[0]}"}
    secrets = {}
    for name in ("used", "unused", "refused"):
        body = {"name": name, "scopes": ["keys:read"], "profiles": ["default", "gone"]}
        async with client.post("/tokens", json=body, headers=headers) as response:
            made = await response.json()
        assert made["record"]["last_used"] is None
        secrets[name] = made["token"]
    for _ in range(2):
        own = {"Authorization": f"Bearer {secrets['used']}"}
        assert (await client.get("/keys", headers=own)).status == 200
        own = {"Authorization": f"Bearer {secrets['refused']}"}
        body = {"alg": "ed25519"}
        response = await client.post("/key/generate", json=body, headers=own)
        await refused(response, 403, "forbidden")
    found = await tokens(client, admin)
    assert found["unused"] is None
    assert (is_time_now(found["used"]), is_time_now(found["refused"])) == (True, True)
    await store_uses(client)
    other = await start(create_service(Config(**options)))
    stored = await tokens(other, admin)
    assert (is_time_now(stored["used"]), is_time_now(stored["refused"])) == (True, True)
    assert stored["unused"] is None
    # A token that loses a profile keeps it.
    await client.post("/profile", json={"name": "gone"}, headers=headers)
    assert (await client.delete("/profile/gone", headers=headers)).status == 200
    assert await tokens(other, admin) == stored


async def test_an_earlier_use_of_a_token_stays_behind_a_later_one(guarded, admin, clock):
    client, _ = guarded
    headers = {"Authorization": f"Bearer {admin[0]}"}
    body = {"name": "holder", "scopes": ["keys:read"]}
    async with client.post("/tokens", json=body, headers=headers) as response:
        own = {"Authorization": f"Bearer {(await response.json())['token']}"}
    for days in (2, 1):
        clock(days * DAY)
        await client.get("/keys", headers=own)
        await store_uses(client)
        async with waiting_for("a use that the service itself stores since its start"):
            while (found := (await tokens(client, admin))["holder"]) is None:
                await asyncio.sleep(0.01)
        assert is_now(datetime.fromisoformat(found) - timedelta(days=2))


async def test_a_use_of_a_token_leaves_caches_alone(guarded, admin):
    client, _ = guarded
    headers = {"Authorization": f"Bearer {admin[0]}"}
    body = {"name": "holder", "scopes": ["keys:read"]}
    async with client.post("/tokens", json=body, headers=headers) as response:
        own = {"Authorization": f"Bearer {(await response.json())['token']}"}
    await client.get("/keys", headers=own)
    changes = bytes(client.app[STORE].database.counters.values)
    await store_uses(client)
    assert bytes(client.app[STORE].database.counters.values) == changes
    assert (await client.get("/keys", headers=own)).status == 200


async def test_a_damaged_entry_hides_no_key(client, generate, post):
    kid = (await generate())["kid"]
    await post("/sign", {"kid": kid, "data": DATA})
    await store_uses(client)
    assert await stored(client) == 2
    inspector = StoreInspector(client.app[STORE].database)
    askar_profile = await inspector.askar_profile("default")
    assert list(await inspector.last_uses(askar_profile)) == ["0"]


# Times that cannot be read


async def call(client, method, path, **options):
    """The JSON of an answer."""
    async with client.request(method, path, **options) as response:
        assert response.status == 200, await response.text()
        return await response.json()


@pytest.fixture
async def file_options(tmp_path, make_store):
    """The options of a service on an SQLite file."""
    return await make_store(f"sqlite://{tmp_path}/keys.db")


@pytest.mark.parametrize("damaged", ["since", "times"])
async def test_a_damaged_entry_makes_no_key_unused(
    start, start_swept, tmp_path, file_options, query, flip, clock, damaged
):
    path = tmp_path / "keys.db"
    client = await start_swept(create_service(Config(**file_options)))
    await store_uses(client)
    kid = (await call(client, "POST", "/key/generate", json={"alg": "ed25519"}))["kid"]
    await call(client, "POST", "/sign", json={"kid": kid, "data": DATA})
    await client.close()
    newest = "SELECT category FROM items ORDER BY id DESC LIMIT 1"
    uses = query(await whole(path), f"SELECT id FROM items WHERE category = ({newest}) ORDER BY id")
    places = dict(zip(["since", "times"], (row[0] for row in uses), strict=True))
    flip(path, places[damaged])
    client = await start(create_service(Config(**file_options)))
    shown = (await call(client, "GET", f"/key/{kid}"))["last_used"]
    assert (shown is None) == (damaged == "times")
    clock(90 * DAY)
    assert await call(client, "GET", "/keys?unused=30d") == []
    # Uses are noted all the same, and a damaged entry is left as it is.
    await call(client, "POST", "/sign", json={"kid": kid, "data": DATA})
    await store_uses(client)


async def test_an_outage_makes_no_key_unused(start, tmp_path, file_options, clock):
    path = tmp_path / "keys.db"
    client = await start(create_service(Config(**file_options)))
    kid = (await call(client, "POST", "/key/generate", json={"alg": "ed25519"}))["kid"]
    clock(80 * DAY)
    await call(client, "POST", "/sign", json={"kid": kid, "data": DATA})
    await store_uses(client)
    clock(90 * DAY)
    path.rename(tmp_path / "away.db")
    assert await used(client, kid) is None
    (tmp_path / "away.db").rename(path)
    assert await call(client, "GET", "/keys?unused=30d") == []


async def test_a_last_use_is_read_beside_a_writer(start, file_options):
    client = await start(create_service(Config(**file_options)))
    kid = (await call(client, "POST", "/key/generate", json={"alg": "ed25519"}))["kid"]
    await call(client, "POST", "/sign", json={"kid": kid, "data": DATA})
    await store_uses(client)
    database = client.app[STORE].database
    database.directory._known.clear()
    release = await database._pool.acquire(write=True)
    try:
        assert is_now(await used(client, kid))
    finally:
        release()
