"""`--warm`: keys that nobody has used since the start are in the cache."""

import asyncio
import gc
import logging
import re
import sqlite3
import time

import pytest
from http_answers import ok
from problems import slug_of
from waiting import until, until_refused

from minikms.config import Config
from minikms.errors import KeyUnreadable
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys import warming
from minikms.keys.making import maker
from minikms.serve.assembly import create_service
from minikms.store.askar.errors import UndecryptableError
from minikms.web.state import SERVICE, STORE


async def generate(client, alg="ed25519", **body):
    headers = {"X-Profile": body.pop("profile", "default")}
    call = client.post("/key/generate", json={"alg": alg, **body}, headers=headers)
    return (await ok(await call))["kid"]


def sign(client, ref, profile="default"):
    return client.post("/sign", json={**ref, "data": ""}, headers={"X-Profile": profile})


def cache(client):
    return client.app[SERVICE].operations.cache


async def warmed(client, caplog):
    """Wait until a service has read keys ahead; return the last line of the log about it."""
    lines = []

    def is_done():
        lines[:] = [text for text in caplog.messages if "read ahead" in text]
        return lines

    await until("keys to be read ahead", is_done)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    return lines[-1]


@pytest.fixture
def warm(start, caplog):
    """Start a service that reads keys ahead, after another one on the same store has ended."""
    caplog.set_level(logging.INFO)

    async def make(before, options, **others):
        await before.close()
        return await start(create_service(Config(**{**options, **others}, warm=True)))

    return make


async def test_the_first_use_of_a_key_does_not_read_the_store(start, warm, persistent, caplog):
    client = await start(create_service(Config(**persistent)))
    await ok(await client.post("/profile", json={"name": "other"}))
    used = [({"kid": await generate(client, alg)}, "default") for alg in ("ed25519", "p256")]
    used += [({"kid": await generate(client)}, "default") for _ in range(140)]
    await generate(client, alias="a")
    used += [({"alias": "a"}, "default")]
    used += [({"kid": await generate(client, profile="other")}, "other")]
    client = await warm(client, persistent)
    assert (await warmed(client, caplog)).startswith("144 keys were read ahead in ")
    assert len(cache(client)) == 144
    keys = {id(key) for key in cache(client)._entries.values()}
    assert not keys & set(map(id, gc.get_objects()))  # it does not search them
    opened, misses = client.app[STORE].keys_opened, cache(client).misses
    for ref, profile in used:
        await ok(await sign(client, ref, profile))
    assert (client.app[STORE].keys_opened, cache(client).misses) == (opened, misses)


async def test_keys_that_nobody_may_use_are_not_opened(start, warm, persistent, caplog):
    client = await start(create_service(Config(**persistent)))
    disabled, due, scheduled, expired, good = [await generate(client) for _ in range(5)]
    await ok(await client.patch(f"/key/{disabled}", json={"state": "disabled"}))
    await ok(await client.patch(f"/key/{expired}", json={"expires": "2020-01-01T00:00:00Z"}))
    await client.app[SERVICE].changes.schedule_deletion("default", KeyRef(kid=due), 1)
    await ok(await client.delete(f"/key/{scheduled}?after=7d"))
    client = await warm(client, persistent)
    await warmed(client, caplog)
    assert {kid for _, kid, _ in cache(client)._entries} == {expired, good}
    for kid, slug in [
        (disabled, "key-not-usable"),
        (due, "key-not-found"),
        (scheduled, "key-not-usable"),
        (expired, "key-not-usable"),
        (good, ""),
    ]:
        assert await slug_of(await sign(client, {"kid": kid})) == slug


async def test_the_newest_keys_fill_the_cache_and_evict_nothing(start, warm, persistent, caplog):
    client = await start(create_service(Config(**persistent)))
    kids = [await generate(client) for _ in range(100)]
    client = await warm(client, persistent, cache_memory=100_000)
    assert "the cache is full" in await warmed(client, caplog)
    there = [kid for kid in kids if ("default", kid, None) in cache(client)]
    assert 30 < len(there) < 60
    assert there == kids[-len(there) :]
    assert cache(client).evictions == 0
    assert cache(client).weight <= 100_000


async def test_the_last_used_keys_are_read_first(start, warm, persistent, caplog):
    client = await start(create_service(Config(**persistent)))
    body = {"alg": "ed25519", "count": 700}
    made = await ok(await client.post("/key/generate/batch", json=body))
    kids = [key["kid"] for key in made["keys"]]
    await ok(await sign(client, {"kid": kids[300]}))  # of the 256 keys from place 256 on
    client = await warm(client, persistent, cache_size=300)
    assert "the cache is full" in await warmed(client, caplog)
    there = {kid for kid in kids if ("default", kid, None) in cache(client)}
    assert there >= set(kids[255:511])
    assert there <= set(kids[255:])


async def test_a_change_is_seen_by_a_service_that_has_read_ahead(start, warm, persistent, caplog):
    client = await start(create_service(Config(**persistent)))
    kids = [await generate(client) for _ in range(5)]
    client = await warm(client, persistent)
    await warmed(client, caplog)
    other = await start(create_service(Config(**persistent)))
    await ok(await other.patch(f"/key/{kids[0]}", json={"state": "disabled"}))
    if persistent["store"].startswith("postgres"):
        end = time.monotonic() + 5  # --cache-ttl; at once on SQLite
        await until_refused(lambda: sign(client, {"kid": kids[0]}), end)
    assert await slug_of(await sign(client, {"kid": kids[0]})) == "key-not-usable"
    await ok(await sign(client, {"kid": kids[1]}))


async def test_calls_that_wait_for_the_store_come_first(
    start, warm, persistent, monkeypatch, caplog
):
    client = await start(create_service(Config(**persistent)))
    await generate(client)
    waiting = True
    monkeypatch.setattr(warming, "_waits", lambda store: waiting)
    client = await warm(client, persistent)
    await asyncio.sleep(0.2)
    assert len(cache(client)) == 0
    waiting = False
    await warmed(client, caplog)
    assert len(cache(client)) == 1


async def test_nothing_is_read_ahead_while_a_call_reads_a_key(start, persistent):
    client = await start(create_service(Config(**persistent)))
    await generate(client)
    await client.close()
    client = await start(create_service(Config(**persistent)))
    await ok(await client.get("/keys"))  # from here on, reads of the profile share sessions
    began, end = asyncio.Event(), asyncio.Event()

    async def read(session):
        began.set()
        await end.wait()

    store = client.app[STORE]
    call = asyncio.create_task(store.database.read("default", read))
    await began.wait()
    async with warming.warming(client.app[SERVICE].operations, lambda: None):
        await asyncio.sleep(0.2)
        meanwhile = len(cache(client))
        end.set()
        await call
        assert meanwhile == 0
        await until("the key to be read ahead", lambda: len(cache(client)) == 1)


async def test_the_log_says_how_far_it_is(start, warm, persistent, monkeypatch, caplog):
    client = await start(create_service(Config(**persistent)))
    body = {"alg": "ed25519", "count": 100}
    await ok(await client.post("/key/generate/batch", json=body))
    monkeypatch.setattr(warming, "_PROGRESS", 0)
    await warm(client, persistent)
    await until("keys to be read ahead", lambda: "100 keys were read ahead in" in caplog.text)
    steps = re.findall(r"(\d+) keys are read ahead; at most (\d+) are left", caplog.text)
    read, left = (list(map(int, column)) for column in zip(*steps, strict=True))
    assert read == sorted(read)
    assert left == sorted(left, reverse=True)
    assert steps[:2] == [("0", "100"), ("32", "68")]
    assert "in profile 1 of 1" in caplog.text


async def test_it_ends_with_the_service(start, warm, persistent, monkeypatch, caplog):
    client = await start(create_service(Config(**persistent)))
    await generate(client)
    monkeypatch.setattr(warming, "_waits", lambda store: True)
    client = await warm(client, persistent)
    async with asyncio.timeout(20):
        await client.close()
    assert "read ahead" not in caplog.text


async def test_the_log_has_no_text_of_an_algorithm_that_fails(
    start, warm, persistent, monkeypatch, caplog
):
    """The text may contain the key."""
    client = await start(create_service(Config(**persistent)))
    algorithm = client.app[SERVICE].operations.registry.get("ed25519")

    def fail(self, stored):
        raise ValueError(f"planted: {stored.hex()}")

    monkeypatch.setattr(type(algorithm), "unpack", fail)
    kid = await generate(client)
    await warm(client, persistent)
    await until("keys to be read ahead", lambda: "0 keys were read ahead" in caplog.text)
    assert f"the key {kid} cannot be opened: ValueError" in caplog.text
    assert "planted" not in caplog.text


async def test_a_key_that_cannot_be_opened_does_not_stop_it(start, warm, persistent, caplog):
    client = await start(create_service(Config(**persistent)))
    service = client.app[SERVICE]
    kids = [await generate(client)]
    algorithm = service.operations.registry.get("p521")
    record, _ = maker(algorithm, KeyPolicy(), algorithm.generate)()
    await client.app[STORE].insert("default", record, b"planted: no PKCS #8")
    kids.append(await generate(client))
    client = await warm(client, persistent)
    await until("keys to be read ahead", lambda: "2 keys were read ahead" in caplog.text)
    for kid in kids:
        await ok(await sign(client, {"kid": kid}))
    assert cache(client).hits == 2
    assert record.kid in caplog.text
    assert "planted" not in caplog.text


async def test_a_key_that_cannot_be_read_does_not_stop_it(
    start, warm, make_store, tmp_path, flip, caplog
):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    client = await start(create_service(Config(**options)))
    kids = [await generate(client) for _ in range(3)]
    await client.close()
    with sqlite3.connect(tmp_path / "keys.db") as connection:
        rows = connection.execute("SELECT id FROM items ORDER BY length(value) DESC LIMIT 1")
        flip(tmp_path / "keys.db", rows.fetchone()[0])
    connection.close()
    client = await warm(client, options)
    await until("keys to be read ahead", lambda: "2 keys were read ahead" in caplog.text)
    slugs = [await slug_of(await sign(client, {"kid": kid})) for kid in kids]
    assert sorted(slugs) == ["", "", "key-unreadable"]
    assert cache(client).hits == 2


async def test_profiles_that_cannot_be_read_do_not_stop_it(
    start, warm, make_store, tmp_path, query, flip, caplog
):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    client = await start(create_service(Config(**options)))
    for profile in "acb":
        await ok(await client.post("/profile", json={"name": profile}))
        await generate(client, profile=profile)

    async def rename(session):
        await session.replace("minikms.profile", "self", "other")

    await client.app[STORE].database.run("a", rename, write=True)
    await client.close()
    last = "SELECT id FROM items WHERE profile_id = (SELECT max(id) FROM profiles)"
    [(place,)] = query(tmp_path / "keys.db", f"{last} ORDER BY length(value) LIMIT 1")
    flip(tmp_path / "keys.db", place)
    client = await warm(client, options)
    await until("keys to be read ahead", lambda: "1 keys were read ahead" in caplog.text)
    assert [profile for profile, _, _ in cache(client)._entries] == ["c"]
    logged = [each for each in caplog.records if each.name == "minikms.keys.warming"]
    errors = [each.exc_info[0] for each in logged if each.exc_info]
    assert errors == [KeyUnreadable, UndecryptableError]


async def test_a_profile_that_is_not_checked_takes_no_time_of_others(
    start, warm, make_store, tmp_path, monkeypatch, caplog
):
    options = await make_store(f"sqlite://{tmp_path}/keys.db")
    client = await start(create_service(Config(**options)))
    await generate(client)
    for profile in "ab":
        await ok(await client.post("/profile", json={"name": profile}))
        await generate(client, profile=profile)
    asked = []

    def keeps(keys, profile):
        asked.append(profile)
        return profile != "default" and asked.count(profile) > 2

    monkeypatch.setattr(warming, "_keeps", keeps)
    monkeypatch.setattr(warming, "_PATIENCE", 0.1)
    client = await warm(client, options)
    await until("keys to be read ahead", lambda: "2 keys were read ahead" in caplog.text)
    assert {profile for profile, _, _ in cache(client)._entries} == {"a", "b"}
    assert caplog.text.count("it could not be checked") == 1
