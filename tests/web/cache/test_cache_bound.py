"""The documented bound of stale reads on PostgreSQL."""

import asyncio
import logging
import sys
import time
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

import asyncpg
import pytest
from http_answers import bearer, ok
from proxy import Proxy
from waiting import until, until_refused

from minikms.access.callers import SCOPES
from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.sequence import SLOTS
from minikms.store.askar.stores import new_raw_key
from minikms.store.connections import notices
from minikms.web.state import SERVICE, TOKENS

TTL = 2  # seconds

KILL = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE application_name = 'minikms notices' AND datname = current_database()"""


def name_of(url):
    """The name of a database."""
    return urlsplit(url).path.removeprefix("/")


@pytest.fixture
def pair(start, make_store, admin):
    """Two services on one database: the first makes changes, the second caches everything."""

    async def make(url, ttl):
        options = await make_store(url, StoreKey(new_raw_key()))
        options |= {"auth": "token", "admin_token_file": admin[1]}
        config = Config(**options, cache_size=100, cache_ttl=ttl)
        return await start(create_service(config)), await start(create_service(config))

    return make


async def changes(one, other, everything):
    """Changes of values that `other` caches, each with a call that must fail afterwards."""
    token, record = await one.app[TOKENS].create("t", SCOPES)
    kids = []
    for _ in range(5):
        call = one.post("/key/generate", json={"alg": "ed25519"}, headers=everything)
        kids.append((await ok(await call))["kid"])
    await ok(await one.post("/profile", json={"name": "old"}, headers=everything))
    old = everything | {"X-Profile": "old"}
    call = one.post("/key/generate", json={"alg": "ed25519"}, headers=old)
    kids.append((await ok(await call))["kid"])

    def sign(kid, headers=everything):
        return partial(other.post, "/sign", json={"kid": kid, "data": ""}, headers=headers)

    def change(method, path, body=None):
        return partial(one.request, method, path, json=body, headers=everything)

    return [
        (change("PATCH", f"/key/{kids[0]}", {"state": "disabled"}), sign(kids[0])),
        (change("PATCH", f"/key/{kids[1]}", {"expires": "2020-01-01T00:00:00Z"}), sign(kids[1])),
        (change("DELETE", f"/key/{kids[2]}"), sign(kids[2])),
        (change("DELETE", f"/key/{kids[3]}?after=7d"), sign(kids[3])),
        (change("DELETE", f"/tokens/{record.id}"), sign(kids[4], bearer(token.reveal()))),
        (change("DELETE", "/profile/old"), sign(kids[5], old)),
    ]


async def ends(change, use, within):
    """Make a change; `use` must fail `within` so many seconds, and keep failing."""
    await ok(await use())
    await ok(await change())
    await until_refused(use, time.monotonic() + within)
    for _ in range(3):
        assert (await use()).status in (401, 404, 409)


@pytest.mark.parametrize("how", ["without the extra", "the connection is lost"])
async def test_the_bound_without_notices(how, pair, admin, own_postgres, monkeypatch, caplog):
    if how == "without the extra":
        monkeypatch.setitem(sys.modules, "asyncpg", None)
        caplog.set_level(logging.INFO)
    url = own_postgres.create_database()
    one, other = await pair(url, TTL)
    assert ("asyncpg is not installed" in caplog.text) == (how == "without the extra")
    work = await changes(one, other, bearer(admin[0]))

    async def lose():
        while how == "the connection is lost":
            await asyncio.to_thread(own_postgres.execute, KILL, name_of(url))

    losing = asyncio.create_task(lose())
    try:
        await asyncio.gather(*(ends(*each, within=TTL) for each in work))
    finally:
        losing.cancel()
        with suppress(asyncio.CancelledError):
            await losing


async def test_with_notices_nobody_waits_for_the_bound(pair, listening, admin, postgres_server):
    one, other = await pair(postgres_server.create_database(), 3600)
    await listening(one, other)
    for change, use in await changes(one, other, bearer(admin[0])):
        await ends(change, use, within=3600)


async def test_the_cache_is_emptied_when_notices_come_again(
    pair, listening, admin, own_postgres, caplog
):
    url = own_postgres.create_database()
    one, other = await pair(url, 3600)
    await listening(one, other)
    work = await changes(one, other, bearer(admin[0]))
    for _, use in work:
        await ok(await use())
    assert own_postgres.execute(KILL, name_of(url)).strip() == "2"
    for change, use in work:  # told or not: all is forgotten with the connection
        await ends(change, use, within=3600)
    assert "is lost" in caplog.text


async def test_a_connection_for_notices_that_dies_without_a_reset(
    start, make_store, listening, postgres_server, monkeypatch, caplog
):
    monkeypatch.setattr(notices, "_HEARTBEAT", 0.1)
    async with Proxy(postgres_server.port) as proxy:
        options = await make_store(postgres_server.create_database())
        options["store"] = proxy.url(options["store"])
        await listening(await start(create_service(Config(**options))))
        proxy.drop()
        await until("its loss to be noticed", lambda: "is lost" in caplog.text)
        await until("notices", lambda: "notices come again" in caplog.text)


async def test_many_changes_in_one_notice(pair, listening, postgres_server):
    one, other = await pair(postgres_server.create_database(), 3600)
    await listening(one, other)
    heard = other.app[SERVICE].operations.store.database.counters
    before = heard.snapshot()
    async with one.app[SERVICE].operations.store.database.counters.changing(range(SLOTS)):
        pass
    async with asyncio.timeout(60):
        while any(map(int.__eq__, before, heard.values)):
            await asyncio.sleep(0.01)


@pytest.fixture
async def heard(start, make_store, listening, own_postgres):
    """The counters of a service that hears notices, and the URL of its database."""
    url = own_postgres.create_database()
    client = await start(create_service(Config(**await make_store(url))))
    await listening(client)
    return client.app[SERVICE].operations.store.database.counters, url


# Any number of notices in one transaction differ.
MANY = "SELECT count(pg_notify('{}', '0 ' || number)) FROM generate_series(1, 20000) AS number"


async def test_a_role_that_may_only_connect_sends_no_notices(heard, own_postgres):
    counters, url = heard
    own_postgres.execute("CREATE ROLE mallory LOGIN PASSWORD 'm'")
    password = urlsplit(url).password
    session = await asyncpg.connect(url.replace(f"postgres:{password}", "mallory:m"))
    try:
        before = counters.snapshot()
        shown = await session.fetch("SELECT query FROM pg_stat_activity")
        assert not [row for row in shown if counters._channel in row["query"]]
        await session.execute(MANY.format("minikms"))
        own_postgres.execute(f"SELECT pg_notify('{counters._channel}', '5')", name_of(url))
        await until("a notice", lambda: counters.values[5] != before[5])
        assert counters.values[0] == before[0]
    finally:
        await session.close()


async def test_a_flood_of_notices_is_read_many_at_a_time(heard, own_postgres):
    counters, url = heard
    before = counters.values[0]
    flood = MANY.format(counters._channel)
    await asyncio.to_thread(own_postgres.execute, flood, name_of(url))
    own_postgres.execute(f"SELECT pg_notify('{counters._channel}', '5')", name_of(url))
    five = counters.values[5]
    await until("the last notice", lambda: counters.values[5] != five)
    assert before < counters.values[0] < before + 2_000


@pytest.mark.parametrize(
    "payload",
    ["", "all", "0 all", "4096", "99999", "9" * 5_000, "-1", "²", "5 " * 3_900],
    ids=lambda payload: payload[:6],
)
def test_a_notice_that_names_no_slots_counts_for_all(payload):
    counters = notices.NotifyChangeCounters(StoreLocation.parse("postgres://host/name"))
    counters._unread = f"{payload} "
    before = counters.snapshot()
    counters._read()
    changed = [slot for slot in range(SLOTS) if counters.values[slot] != before[slot]]
    assert changed == ([5] if payload.startswith("5") else list(range(SLOTS)))


async def test_a_database_that_is_away_is_not_done_without_for_longer(
    pair, listening, admin, own_postgres
):
    one, other = await pair(own_postgres.create_database(), TTL)
    await listening(one, other)
    _, use = (await changes(one, other, bearer(admin[0])))[0]
    await ok(await use())
    # Held still, it does not even end its connections.
    await asyncio.to_thread(own_postgres.pause)
    try:
        await until_refused(use, time.monotonic() + TTL)
        assert (await use()).status == 503
    finally:
        await asyncio.to_thread(own_postgres.resume)


async def test_no_password_in_the_log(pair, listening, own_postgres, caplog):
    caplog.set_level(logging.DEBUG)
    url = own_postgres.create_database()
    one, _ = await pair(url, TTL)
    await listening(one)
    await asyncio.to_thread(own_postgres.stop, "immediate")
    async with asyncio.timeout(60):
        while "by is lost" not in caplog.text:
            await asyncio.sleep(0.01)
    assert urlsplit(url).password not in caplog.text
