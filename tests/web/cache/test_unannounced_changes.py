"""Cached keys on PostgreSQL: valid while they are in use, until a change that nobody announces."""

import asyncio
import signal
import sys
import time
from dataclasses import replace

import pytest
from http_answers import bearer, ok
from waiting import until_refused

from minikms.access.callers import SCOPES
from minikms.config import Config
from minikms.errors import StoreUnavailable
from minikms.http.gate import GATE
from minikms.http.state import CONFIG
from minikms.serve.assembly import create_service
from minikms.store.askar import sequence
from minikms.store.askar.sessions import Session
from minikms.store.connections import leases, profile_rows
from minikms.store.connections.notices import NotifyChangeCounters
from minikms.store.database import Database
from minikms.web.state import CREDENTIALS, SERVICE, TOKENS

TTL = 2  # seconds

# The tests wait for the end of several leases.
pytestmark = pytest.mark.timeout(90)

# A process that commits a change, and is killed before it announces the change.
KILLED = """
import asyncio, os, signal, sys
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store.keys.key_store import KeyStore
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.connections.notices import NotifyChangeCounters

async def killed(counters, slots):
    os.kill(os.getpid(), signal.SIGKILL)

async def main(url, key, kid):
    NotifyChangeCounters._notify = killed
    location = StoreLocation.parse(url)
    async with KeyStore.open(location, StoreKey(key)) as store:
        service = KeyService(AlgorithmRegistry.from_installed(), store)
        await service.changes.update("default", kid, {"state": "disabled"})

asyncio.run(main(*sys.argv[1:]))
"""

SAVE = """CREATE TABLE saved AS SELECT * FROM items;
CREATE TABLE saved_tags AS SELECT * FROM items_tags"""
RESTORE = """BEGIN; DELETE FROM items; INSERT INTO items SELECT * FROM saved;
INSERT INTO items_tags SELECT * FROM saved_tags; COMMIT"""


@pytest.fixture
def without_notices(monkeypatch):
    monkeypatch.setitem(sys.modules, "asyncpg", None)


@pytest.fixture
def suspend(monkeypatch):
    """Pretend that the machine was suspended for some seconds, which only one clock counts."""
    system, times = time.clock_gettime, []
    monkeypatch.setattr(
        time, "clock_gettime", lambda of: system(of) + sum(times) * (of == time.CLOCK_BOOTTIME)
    )
    return times.append


@pytest.fixture
async def pair(start, make_store, database):
    """Two services on one database: one changes keys, the other has them in memory."""
    options = await make_store(database[1])
    config = Config(**options, cache_size=10_000, cache_ttl=TTL)
    return await start(create_service(config)), await start(create_service(config))


async def generate(client, count=1, **headers):
    kids = []
    for _ in range(count):
        call = client.post("/key/generate", json={"alg": "ed25519"}, headers=headers)
        kids.append((await ok(await call))["kid"])
    return kids


def sign(client, kid, **headers):
    return client.post("/sign", json={"kid": kid, "data": ""}, headers=headers)


async def set_state(client, kid, state):
    await ok(await client.patch(f"/key/{kid}", json={"state": state}))


def cache(client):
    return client.app[SERVICE].operations.cache


async def never(*args):
    """A check that fails."""
    return False


async def use_for(seconds, *calls):
    """Use keys again and again for `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for call in calls:
            await ok(await call())
        await asyncio.sleep(0.02)


async def renewed(client, *calls, seconds=1.5 * TTL, begin=lambda: None, of=None):
    """Use keys until their lease is renewed in time for `seconds`, without reading a key again.

    `begin` is called as this time begins; `of` is another cache than the one of keys.
    """
    of = cache(client) if of is None else of
    for _ in range(10):  # a machine that stands still for a while may miss the time
        begin()
        misses = of.misses
        await use_for(seconds, *calls)
        if of.misses == misses:
            return
    pytest.fail("keys in use are read again")


async def refused_within(seconds, call):
    """Use a key until it is refused; uses that begin after `seconds` must be refused."""
    await refused_by(time.monotonic() + seconds, call)


async def refused_by(end, call):
    """Use a key until it is refused; uses that begin after `end` must be refused."""
    await until_refused(call, end)
    for _ in range(3):
        assert (await call()).status in (404, 409)


async def until_changed(call, changed, end):
    """Call until the answer has changed; a call half a second after `end` must see the change."""
    while True:
        begun = time.monotonic()
        if changed(await ok(await call())):
            return
        assert begun < end + 0.5
        await asyncio.sleep(0.02)


async def test_keys_in_use_are_not_read_again(without_notices, pair, monkeypatch):
    one, other = pair
    kids = await generate(one, 10)
    checks, reads = [], []
    check_one, read_from = leases.Leases._check, Database.read

    def check(self, profile, *args):
        checks.append(profile)
        return check_one(self, profile, *args)

    def read(self, profile, work):
        reads.append(profile)
        return read_from(self, profile, work)

    def begin():
        checks.clear()
        reads.clear()

    monkeypatch.setattr(leases.Leases, "_check", check)
    monkeypatch.setattr(Database, "read", read)
    calls = [lambda kid=kid: sign(other, kid) for kid in kids]
    await renewed(other, *calls, seconds=3 * TTL, begin=begin)
    assert 3 <= checks.count("default") <= 6
    assert len(reads) == checks.count("default")


async def test_a_profile_that_is_not_used_is_not_checked(without_notices, pair, monkeypatch):
    one, other = pair
    [kid] = await generate(one)
    await use_for(TTL, lambda: sign(other, kid))
    checks = []

    async def check(self, *args):
        checks.append(args)
        return False

    await asyncio.sleep(TTL)  # the last use may be checked
    monkeypatch.setattr(leases.Leases, "_check", check)
    await asyncio.sleep(TTL)
    assert not checks


async def test_profiles_that_are_hardly_used_are_not_checked(without_notices, pair, monkeypatch):
    one, other = pair
    kids = []
    for number in range(50):
        headers = {"X-Profile": f"p{number}"}
        await ok(await one.post("/profile", json={"name": f"p{number}"}))
        kids.append((*await generate(one, **headers), headers))
    checks = []

    async def check(self, *args):
        checks.append(args)
        return False

    monkeypatch.setattr(leases.Leases, "_check", check)
    for _ in range(2):
        for kid, headers in kids:
            await ok(await sign(other, kid, **headers))
        await asyncio.sleep(1.5 * TTL)
    assert not checks


async def disable(client, kid):
    await set_state(client, kid, "disabled")


async def delete(client, kid):
    await ok(await client.delete(f"/key/{kid}"))


async def delete_later(client, kid):
    await ok(await client.delete(f"/key/{kid}?after=7d"))


@pytest.mark.parametrize(
    "change", [disable, delete, delete_later], ids=lambda change: change.__name__
)
async def test_a_change_without_a_notice_ends_a_key_in_use(without_notices, pair, change):
    one, other = pair
    [kid] = await generate(one)
    await renewed(other, lambda: sign(other, kid))
    await change(one, kid)
    await refused_within(TTL, lambda: sign(other, kid))


async def test_more_changes_than_the_log_holds(without_notices, pair, monkeypatch):
    monkeypatch.setattr(sequence, "_MAX_LOG", 30)  # two changes
    one, other = pair
    kid, another = await generate(one, 2)
    await renewed(other, lambda: sign(other, kid))
    await disable(one, kid)
    end = time.monotonic() + TTL
    for number in range(5):
        await ok(await one.patch(f"/key/{another}", json={"labels": {"n": str(number)}}))
    await refused_by(end, lambda: sign(other, kid))


async def test_more_changes_of_tokens_than_the_log_of_the_store_holds(
    without_notices, pair, monkeypatch, start
):
    monkeypatch.setattr(sequence, "_MAX_LOG", 30)  # two changes
    one, other = [
        await start(create_service(replace(each.app[CONFIG], auth="token"))) for each in pair
    ]
    tokens = one.app[TOKENS]
    made = [await tokens.create("t", SCOPES) for _ in range(4)]

    def use():
        return other.get("/tokens/self", headers=bearer(made[0][0].reveal()))

    await renewed(other, use, of=other.app[GATE].access._cache)
    for _, record in made:
        await tokens.revoke(record.id)
    end = time.monotonic() + TTL
    await until_refused(use, end)
    assert (await use()).status == 401


async def test_a_change_during_the_first_check_of_a_profile(without_notices, pair, monkeypatch):
    one, other = pair
    used, kid = await generate(one, 2)
    check_one, end = leases.Leases._check, []

    async def check(self, profile, lease, read):
        async def between(profile):
            if self is counters.leases and profile == "default" and not end:
                await ok(await sign(other, kid))  # reads it before the change, and after the begin
                await disable(one, kid)
                end.append(time.monotonic() + TTL)
            return await read(profile)

        return await check_one(self, profile, lease, between)

    counters = other.app[SERVICE].operations.store.database.counters
    monkeypatch.setattr(leases.Leases, "_check", check)
    while not end:
        await ok(await sign(other, used))
        await asyncio.sleep(0.02)
    await refused_by(end[0], lambda: sign(other, kid))


async def test_a_remade_profile_without_a_notice(without_notices, pair):
    one, other = pair
    headers = {"X-Profile": "p"}
    await ok(await one.post("/profile", json={"name": "p"}))
    [kid] = await generate(one, **headers)
    await renewed(other, lambda: sign(other, kid, **headers))
    await ok(await one.delete("/profile/p"))
    await ok(await one.post("/profile", json={"name": "p"}))
    await refused_within(TTL, lambda: sign(other, kid, **headers))


async def test_an_alias_that_moves_without_a_notice(without_notices, pair):
    one, other = pair
    first, second = await generate(one, 2)
    await ok(await one.post(f"/key/{first}/associate", json={"alias": "a"}))

    def use():
        return other.post("/jws/sign", json={"alias": "a", "payload": ""})

    await renewed(other, use)
    before = await ok(await use())
    await ok(await one.post(f"/key/{second}/associate", json={"alias": "a"}))
    end = time.monotonic() + TTL
    await until_changed(use, lambda found: found != before, end)


async def test_a_new_key_is_in_the_jwk_set_without_a_notice(without_notices, pair):
    one, other = pair
    await generate(one)
    await use_for(2 * TTL, lambda: other.get("/jwks.json"))
    sets = other.app[CREDENTIALS].jwk_sets._sets
    await renewed(other, lambda: other.get("/jwks.json"), seconds=2 * TTL, of=sets)
    [kid] = await generate(one)
    end = time.monotonic() + TTL
    await until_changed(lambda: other.get("/jwks.json"), lambda found: kid in str(found), end)


async def test_a_late_notice(pair, listening, monkeypatch):
    one, other = pair
    await listening(one, other)
    [kid] = await generate(one)
    receive = NotifyChangeCounters._receive

    def late(self, *args):
        asyncio.get_running_loop().call_later(3 * TTL, receive, self, *args)

    monkeypatch.setattr(NotifyChangeCounters, "_receive", late)
    other.app[SERVICE].operations.store.database.counters._connection.terminate()
    await listening(other)
    await renewed(other, lambda: sign(other, kid))
    await disable(one, kid)
    await refused_within(TTL, lambda: sign(other, kid))


@pytest.mark.process
async def test_a_writer_that_is_killed_between_its_commit_and_its_notice(pair, listening):
    one, other = pair
    await listening(one, other)
    [kid] = await generate(one)
    await renewed(other, lambda: sign(other, kid))
    command = sys.executable, "-c", KILLED, one.app[CONFIG].store, one.app[CONFIG].store_key, kid
    killed = await asyncio.create_subprocess_exec(*command)
    while killed.returncode is None:  # the change may be seen before the process has ended
        await sign(other, kid)
        await asyncio.sleep(0.02)
    assert killed.returncode == -signal.SIGKILL
    await refused_within(TTL, lambda: sign(other, kid))
    async with one.get(f"/key/{kid}") as response:
        assert (await response.json())["state"] == "disabled"


@pytest.fixture
async def many(pair, listening, monkeypatch):
    """Keys of ten profiles that the second service has used, and calls; no notice arrives."""
    one, other = pair
    await listening(one, other)
    monkeypatch.setattr(NotifyChangeCounters, "_receive", lambda *args: None)
    calls = {}
    for number in range(10):
        headers = {"X-Profile": f"p{number}"}
        await ok(await one.post("/profile", json={"name": f"p{number}"}))
        [kid] = await generate(one, **headers)
        calls[f"p{number}"] = lambda kid=kid, headers=headers: sign(other, kid, **headers)
    await use_for(1.5 * TTL, *calls.values())
    await asyncio.sleep(1.5 * TTL)  # their rows are found
    for call in calls.values():
        await ok(await call())
    return calls


def reads_of(monkeypatch):
    """The profiles from which an entry is read from now on."""
    reads, read_from = [], Database.read

    def read(self, profile, work):
        reads.append(profile)
        return read_from(self, profile, work)

    monkeypatch.setattr(Database, "read", read)
    return reads


async def test_unchanged_profiles_are_not_read_while_they_are_hardly_used(pair, many, monkeypatch):
    reads = reads_of(monkeypatch)
    for _ in range(10):  # a machine that stands still for a while may miss the time
        reads.clear()
        for _ in range(2):
            await asyncio.sleep(1.5 * TTL)  # longer than a lease lasts
            for call in many.values():
                await ok(await call())
        if not reads:
            return
    pytest.fail("unchanged profiles are read")


@pytest.mark.parametrize("change", ["disable", "delete", "remake", "restore"])
async def test_a_change_in_one_of_many_profiles_without_a_notice(
    pair, many, monkeypatch, change, postgres_server, database
):
    one, _ = pair
    headers, use = {"X-Profile": "p3"}, many["p3"]
    kid = (await ok(await use()))["kid"]
    if change == "disable":
        await ok(await one.patch(f"/key/{kid}", json={"state": "disabled"}, headers=headers))
    elif change == "delete":
        await ok(await one.delete(f"/key/{kid}", headers=headers))
    elif change == "remake":
        await ok(await one.delete("/profile/p3"))
        await ok(await one.post("/profile", json={"name": "p3"}))
    else:
        await ok(await one.patch(f"/key/{kid}", json={"state": "disabled"}, headers=headers))
        postgres_server.execute(SAVE, database[0])
        await ok(await one.patch(f"/key/{kid}", json={"state": "enabled"}, headers=headers))
        await asyncio.sleep(TTL)
        await renewed(pair[1], use)
        postgres_server.execute(RESTORE, database[0])
    await refused_within(TTL, use)
    reads = reads_of(monkeypatch)
    for name, call in many.items():
        if name != "p3":
            await ok(await call())
    assert set(reads) <= {"p3"} or change in ("remake", "restore")


async def test_profiles_are_read_one_by_one_if_their_rows_are_not_compared_in_time(
    pair, many, monkeypatch, caplog
):
    one, other = pair
    monkeypatch.setattr(profile_rows, "_TIMEOUT", 1e-6)
    await renewed(other, *many.values())
    assert caplog.text.count("the rows of profiles are not compared: TimeoutError") == 1
    kid = (await ok(await many["p3"]()))["kid"]
    await ok(
        await one.patch(f"/key/{kid}", json={"state": "disabled"}, headers={"X-Profile": "p3"})
    )
    await refused_within(TTL, many["p3"])


async def test_a_database_that_is_restored(without_notices, pair, postgres_server, database):
    one, other = pair
    [kid] = await generate(one)
    await disable(one, kid)
    postgres_server.execute(SAVE, database[0])
    await set_state(one, kid, "enabled")
    await renewed(other, lambda: sign(other, kid))
    postgres_server.execute(RESTORE, database[0])
    await refused_within(TTL, lambda: sign(other, kid))


async def test_a_database_that_stands_still(without_notices, pair, own_postgres):
    one, other = pair
    [kid] = await generate(one)
    await renewed(other, lambda: sign(other, kid))
    await asyncio.to_thread(own_postgres.pause)
    try:
        end = time.monotonic() + TTL
        async with asyncio.timeout(60):
            while True:
                begun = time.monotonic()
                if (await sign(other, kid)).status == 503:
                    break
                assert begun < end
                await asyncio.sleep(0.02)
    finally:
        await asyncio.to_thread(own_postgres.resume)
    async with asyncio.timeout(60):
        while (await sign(other, kid)).status != 200:
            await asyncio.sleep(0.02)
    await renewed(other, lambda: sign(other, kid))
    await disable(one, kid)
    await refused_within(TTL, lambda: sign(other, kid))


async def test_a_check_that_fails_is_logged_once(without_notices, pair, monkeypatch, caplog):
    one, other = pair
    [kid] = await generate(one)
    await use_for(TTL, lambda: sign(other, kid))
    sequence_of = Session.sequence

    async def fail(session):
        if session.is_transaction:
            return await sequence_of(session)
        raise StoreUnavailable()

    monkeypatch.setattr(Session, "sequence", fail)
    await use_for(2 * TTL, lambda: sign(other, kid))
    assert caplog.text.count("no check of the store, StoreUnavailable") == 1
    await disable(one, kid)
    await refused_within(TTL, lambda: sign(other, kid))


async def test_a_part_of_a_jwk_set_ends_with_the_set(without_notices, pair, monkeypatch):
    one, other = pair
    [first] = await generate(one)
    await ok(await one.post("/key/generate", json={"alg": "p256"}))

    def get(query=""):
        return other.get(f"/jwks.json{query}")

    monkeypatch.setattr(leases.Leases, "_check", never)
    assert first in str(await ok(await get()))
    [second] = await generate(one)
    end = time.monotonic() + TTL
    await asyncio.sleep(0.7 * TTL)
    await until_changed(lambda: get("?kty=OKP"), lambda found: second in str(found), end)


async def test_settings_of_a_profile_are_seen_without_notices(without_notices, pair):
    changing, making = pair
    [kid] = await generate(making)
    for settings in ({"max_keys": 1}, {"max_keys": None, "calls_per_second": 1}):
        await ok(await changing.patch("/profile/default", json=settings))
        end = time.monotonic() + 5

        async def use(settings=settings):
            if settings["max_keys"] is None:
                answers = await asyncio.gather(*(sign(making, kid) for _ in range(9)))
                return max(answers, key=lambda answer: answer.status)
            return await making.post("/key/generate", json={"alg": "ed25519"})

        await until_refused(use, end)


def name(client, kid, alias="a"):
    return client.post(f"/key/{kid}/associate", json={"alias": alias})


async def test_a_moved_alias_is_current_in_the_service_that_moved_it(
    without_notices, pair, monkeypatch
):
    one, other = pair
    monkeypatch.setattr(leases.Leases, "_check", never)
    kids = await generate(one, 5)
    await ok(await name(one, kids[0]))
    for hidden, seen in (kids[1:3], kids[3:5]):
        await ok(await other.post("/sign", json={"alias": "a", "data": ""}))
        await ok(await name(one, hidden))
        await ok(await name(other, seen))
        signed = await ok(await other.post("/sign", json={"alias": "a", "data": ""}))
        assert signed["kid"] == seen


async def test_a_key_that_is_imported_again_has_its_new_rules_in_the_service_that_imported_it(
    without_notices, pair, monkeypatch
):
    one, other = pair
    monkeypatch.setattr(leases.Leases, "_check", never)
    body = {"alg": "ed25519", "seed": "A" * 43}
    kid = (await ok(await one.post("/key/import", json=body)))["kid"]
    await ok(await sign(other, kid))
    await ok(await one.delete(f"/key/{kid}"))
    await ok(await other.post("/key/import", json={**body, "rules": {"raw": False}}))
    assert (await sign(other, kid)).status == 403


async def test_a_write_does_not_empty_the_cache_of_its_service(without_notices, pair, monkeypatch):
    one, _ = pair
    monkeypatch.setattr(leases.Leases, "_check", never)
    kid, changed = await generate(one, 2)
    await ok(await sign(one, kid))
    await set_state(one, changed, "verify-only")  # the first write since the profile has a lease
    await ok(await sign(one, kid))
    misses = cache(one).misses
    for state in ("enabled", "verify-only"):
        await set_state(one, changed, state)
        await ok(await sign(one, kid))
    assert cache(one).misses == misses


async def test_nothing_from_before_a_suspension_is_used(
    without_notices, pair, monkeypatch, suspend
):
    one, other = pair
    [kid] = await generate(one)
    await renewed(other, lambda: sign(other, kid))
    monkeypatch.setattr(leases.Leases, "_check", never)  # the next one comes after the call
    await disable(one, kid)
    suspend(TTL)
    assert (await sign(other, kid)).status == 409
