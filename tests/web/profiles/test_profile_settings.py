"""The settings of a profile: its number of keys, its rate of calls, and deletions."""

import asyncio
import json
import time

import pytest
from aiohttp.test_utils import TestClient
from http_answers import bearer, ok
from problems import refused, slug_of
from waiting import waiting_for

from minikms.access.callers import OPEN, SCOPES
from minikms.basics import rates
from minikms.config import Config
from minikms.key_requests import KeyRef
from minikms.serve.assembly import create_service
from minikms.store.profiles.directory import ProfileDirectory
from minikms.web.routes import ROUTES
from minikms.web.state import SERVICE, STORE, TOKENS

ALICE = {"X-Profile": "alice"}
ED25519 = {"alg": "ed25519"}
NONE = {
    "max_keys": None,
    "min_deletion_delay": None,
    "calls_per_second": None,
    "delete_scope": False,
    "frozen": False,
    "jwks_max_age": None,
}
WEEK = 7 * 24 * 3600


@pytest.fixture
async def alice(client):
    """Change settings of the profile `alice`, which is made."""
    await ok(await client.post("/profile", json={"name": "alice"}))

    async def change(headers=None, **settings):
        return await ok(await client.patch("/profile/alice", json=settings, headers=headers))

    return change


@pytest.fixture
def make(client):
    """Make a key in `alice`; gives the slug of the refusal, or ""."""

    async def call(**body):
        answer = await client.post("/key/generate", json={**ED25519, **body}, headers=ALICE)
        return await slug_of(answer)

    return call


@pytest.mark.each_store
async def test_settings_are_changed_and_shown(client, alice):
    assert await alice(max_keys=3, delete_scope=True) == {
        "name": "alice",
        "jwks": "private",
        **NONE,
        "max_keys": 3,
        "delete_scope": True,
    }
    changed = await alice(jwks="public", calls_per_second=100)
    assert (changed["jwks"], changed["max_keys"], changed["calls_per_second"]) == ("public", 3, 100)
    assert (await alice(max_keys=3))["jwks"] == "public"
    await ok(await client.post("/profile", json={"name": "bob"}))
    listed = await ok(await client.get("/profiles?include=jwks"))
    settings = {"max_keys": 3, "delete_scope": True, "calls_per_second": 100, "jwks": "public"}
    settings = {**NONE, **settings}
    assert listed == {"profiles": ["alice", "bob", "default"], "settings": {"alice": settings}}
    await alice(max_keys=None, calls_per_second=None, delete_scope=False, jwks="private")
    assert (await ok(await client.get("/profiles?include=jwks")))["settings"] == {}


@pytest.mark.each_store
async def test_the_listing_says_whose_jwk_set_is_public(client, alice):
    async def listed():
        return (await ok(await client.get("/profiles?include=jwks")))["settings"]

    for _ in range(2):
        await alice(jwks="public")
        assert await listed() == {"alice": {**NONE, "jwks": "public"}}
        await alice(jwks="private")
        assert await listed() == {}
    await alice(max_keys=1)
    assert await listed() == {"alice": {**NONE, "max_keys": 1, "jwks": "private"}}
    without = (await ok(await client.get("/profiles")))["settings"]
    assert without == {"alice": {**NONE, "max_keys": 1}}


async def test_settings_that_are_refused(client, alice):
    for body in (
        *({}, {"max_keys": -1}, {"max_keys": 1.5}, {"max_keys": True}, {"max_keys": "3"}),
        *({"calls_per_second": 0}, {"min_deletion_delay": 0}, {"delete_scope": None}),
        *({"delete_scope": 1}, {"min_deletion_delay": 366 * 24 * 3600}, {"unknown": 1}),
    ):
        await refused(await client.patch("/profile/alice", json=body), 422, "validation-failed")
    missing = await client.patch("/profile/nobody", json={"max_keys": 1})
    await refused(missing, 404, "profile-not-found")


async def test_settings_of_a_later_version_stay(client, alice):
    directory = client.app[STORE].database.directory
    await directory.change("alice", {"unknown": {"later": [1]}})
    await alice(max_keys=3)
    settings = await directory.settings_of("alice")
    assert (settings.max_keys, settings.unknown) == (3, {"later": [1]})


async def test_a_profile_that_is_made_again_has_none(client, alice, make):
    await alice(max_keys=0)
    assert await make() == "too-many-keys"
    await ok(await client.delete("/profile/alice"))
    await ok(await client.post("/profile", json={"name": "alice"}))
    assert await make() == ""


# max_keys


@pytest.mark.each_store
async def test_a_profile_has_at_most_so_many_keys(client, alice, make):
    assert [await make() for _ in range(2)] == ["", ""]
    await alice(max_keys=3)
    assert [await make() for _ in range(3)] == ["", "too-many-keys", "too-many-keys"]
    await alice(max_keys=5)
    assert [await make() for _ in range(3)] == ["", "", "too-many-keys"]
    await alice(max_keys=1)
    assert await make() == "too-many-keys"
    await alice(max_keys=None)
    assert await make() == ""
    await alice(max_keys=6)
    assert await make() == "too-many-keys"
    # Other profiles are not concerned.
    await ok(await client.post("/key/generate", json=ED25519))


@pytest.mark.each_store
async def test_every_call_that_makes_keys_is_bounded(client, alice, make):
    key = await ok(
        await client.post("/key/generate", json={**ED25519, "alias": "k"}, headers=ALICE)
    )
    public = {"jwk": key["jwk"], "if_exists": "keep", "alias": "other"}
    other = (await ok(await client.post("/key/generate", json=ED25519)))["jwk"]
    await alice(max_keys=2)
    batch = {"alg": "ed25519", "count": 2}
    for path, body in (
        ("/key/generate/batch", batch),
        ("/key/import", {"jwk": other}),
        ("/key/import", {"alg": "hs256", "secret": "A" * 43}),
        (f"/key/{key['kid']}/rotate", None),
    ):
        if path != "/key/generate/batch":
            await alice(max_keys=1)
        answer = await client.post(path, json=body, headers=ALICE)
        await refused(answer, 422, "too-many-keys")
    # Importing a stored key again adds no key.
    kept = await ok(await client.post("/key/import", json=public, headers=ALICE))
    assert kept["kid"] == key["kid"]
    await alice(max_keys=3)
    await ok(await client.post("/key/generate/batch", json=batch, headers=ALICE))
    await alice(max_keys=4)
    await ok(await client.post(f"/key/{key['kid']}/rotate", headers=ALICE))
    assert await make() == "too-many-keys"
    assert len(await ok(await client.get("/keys", headers=ALICE))) == 4


@pytest.mark.each_store
async def test_a_deleted_key_makes_room(client, alice, make):
    await alice(max_keys=2)
    keys = [
        await ok(await client.post("/key/generate", json=ED25519, headers=ALICE)) for _ in range(2)
    ]
    path = f"/key/{keys[0]['kid']}"
    await ok(await client.delete(f"{path}?after=1h", headers=ALICE))
    assert await make() == "too-many-keys"
    await ok(await client.post(f"{path}/restore", headers=ALICE))
    await ok(await client.delete(path, headers=ALICE))
    assert [await make(), await make()] == ["", "too-many-keys"]


@pytest.mark.each_store
async def test_a_key_whose_deletion_is_due_makes_room(client, alice, make):
    await alice(max_keys=1)
    key = await ok(await client.post("/key/generate", json=ED25519, headers=ALICE))
    await ok(await client.delete(f"/key/{key['kid']}?after=1h", headers=ALICE))
    assert await make() == "too-many-keys"
    await client.app[STORE].deletions.schedule("alice", KeyRef(key["kid"]), time.time_ns())
    assert [await make(), await make()] == ["", "too-many-keys"]
    await client.app[SERVICE].sweep()
    assert await make() == "too-many-keys"


@pytest.mark.each_store
async def test_concurrent_makers_do_not_exceed_it(client, alice, make):
    await alice(max_keys=20)
    slugs = await asyncio.gather(*(make(alias=f"a{number}") for number in range(64)))
    assert sorted(slugs) == [""] * 20 + ["too-many-keys"] * 44
    kids = [key["kid"] for key in await ok(await client.get("/keys", headers=ALICE))]
    deleted = [client.delete(f"/key/{kid}", headers=ALICE) for kid in kids[:7]]
    slugs = await asyncio.gather(*deleted, *(make() for _ in range(64)))
    while await make() == "":
        pass
    assert len(await ok(await client.get("/keys", headers=ALICE))) == 20


# Deletions


@pytest.mark.each_store
async def test_a_deletion_waits(client, alice):
    await alice(min_deletion_delay=WEEK)
    for number, (by, query, least) in enumerate(
        [
            ("kid", "", WEEK),
            ("kid", "after=1h", WEEK),
            ("kid", "after=8d", 8 * 24 * 3600),
            ("alias", "", WEEK),
            ("alias", "after=1s", WEEK),
        ]
    ):
        body = {**ED25519, "alias": f"k{number}"}
        key = await ok(await client.post("/key/generate", json=body, headers=ALICE))
        path = f"/key/{key['kid']}?{query}" if by == "kid" else f"/key?alias=k{number}&{query}"
        before = time.time()
        gone = await ok(await client.delete(path.rstrip("&"), headers=ALICE))
        assert (gone["message"], gone["kid"]) == ("Key deletion scheduled", key["kid"])
        shown = await ok(await client.get(f"/key/{key['kid']}", headers=ALICE))
        assert shown["deletes"] == gone["deletes"]
        record = await client.app[STORE].record("alice", KeyRef(key["kid"]))
        assert before + least - 1 <= record.deletes / 10**9 <= time.time() + least + 1
        restored = await ok(await client.post(f"/key/{key['kid']}/restore", headers=ALICE))
        assert (restored["deletes"], restored["state"]) == (None, "enabled")
    await alice(min_deletion_delay=None)
    gone = await ok(await client.delete(f"/key/{key['kid']}", headers=ALICE))
    assert gone == {"message": "Key deleted", "kid": key["kid"]}


@pytest.fixture
async def guarded(start, admin, any_store):
    """A service that needs tokens, its admin's header, and a maker of tokens."""
    options = {**any_store, "auth": "token", "admin_token_file": admin[1]}
    client = await start(create_service(Config(**options)))

    async def issue(*scopes):
        token, _ = await client.app[TOKENS].create("t", scopes)
        return bearer(token.reveal())

    everything = bearer(admin[0])
    await ok(await client.post("/profile", json={"name": "alice"}, headers=everything))
    return client, everything, issue


@pytest.mark.each_store
async def test_a_profile_may_require_the_scope_to_delete(guarded):
    client, everything, issue = guarded
    writer, deleter = await issue("keys:write"), await issue("keys:delete")
    reader = await issue(*(set(SCOPES) - {"keys:write", "keys:delete"}))

    async def delete(headers, query=""):
        key = await ok(
            await client.post("/key/generate", json=ED25519, headers={**everything, **ALICE})
        )
        path = f"/key/{key['kid']}{query}"
        return await slug_of(await client.delete(path, headers={**headers, **ALICE}))

    assert [await delete(each) for each in (writer, deleter, everything)] == ["", "", ""]
    assert await delete(reader) == "forbidden"
    body = {"delete_scope": True}
    await ok(await client.patch("/profile/alice", json=body, headers=everything))
    for query in ("", "?after=1d"):
        assert await delete(writer, query) == "forbidden"
        assert [await delete(each, query) for each in (deleter, everything)] == ["", ""]
    made = await client.post("/key/generate", json=ED25519, headers={**deleter, **ALICE})
    await refused(made, 403, "forbidden")
    body = {"delete_scope": False}
    await ok(await client.patch("/profile/alice", json=body, headers=everything))
    assert await delete(writer) == ""


# calls_per_second


@pytest.fixture
def frozen(monkeypatch):
    """Let the clock of rates stand still."""
    now = time.monotonic_ns()
    monkeypatch.setattr(rates, "now_ns", lambda: now)


async def test_calls_over_the_rate_are_refused(client, alice, make, frozen):
    await alice(calls_per_second=3)
    answers = [await client.get("/keys", headers=ALICE) for _ in range(4)]
    *passed, last = answers
    assert [answer.status for answer in passed] == [200] * 3
    await refused(last, 429, "over-rate")
    assert last.headers["Retry-After"] == "1"
    # Operators and other tenants are not concerned, nor readers of the JWK Set.
    await ok(await client.get("/keys"))
    await ok(await client.get("/jwks.json", headers=ALICE))
    changed = await alice(calls_per_second=1000)
    assert changed["calls_per_second"] == 1000
    for _ in range(20):
        await ok(await client.get("/keys", headers=ALICE))


async def test_a_call_with_a_malformed_body_counts(client, alice, frozen):
    await alice(calls_per_second=1)
    slugs = [await slug_of(await client.post("/sign", json={}, headers=ALICE)) for _ in range(2)]
    assert slugs == ["validation-failed", "over-rate"]


async def test_each_profile_has_a_rate_of_its_own(client, alice, frozen):
    await ok(await client.post("/profile", json={"name": "bob"}))
    for name in ("alice", "bob"):
        await ok(await client.patch(f"/profile/{name}", json={"calls_per_second": 1}))
    slugs = [
        await slug_of(await client.get("/keys", headers={"X-Profile": name}))
        for name in ("alice", "bob", "alice", "bob")
    ]
    assert slugs == ["", "", "over-rate", "over-rate"]


@pytest.mark.parametrize(
    "route", [each for each in ROUTES if not each.is_in_profile], ids=lambda each: each.name
)
async def test_a_call_without_a_profile_counts_for_those_of_its_token(guarded, frozen, route):
    """Exempt are the calls by which operators raise the rate of a profile."""
    client, everything, _ = guarded
    await ok(await client.post("/profile", json={"name": "bob"}, headers=everything))
    token, _ = await client.app[TOKENS].create("t", SCOPES, ("alice", "bob"))
    tenant = {**bearer(token.reveal()), "X-Profile": "alice"}
    await ok(await client.get("/keys", headers=tenant))  # the process knows both profiles
    await ok(await client.patch("/profile/bob", json={"calls_per_second": 1}, headers=everything))
    path = route.path.partition("{")[0]
    path = path if path == route.path else f"{path}0123456789abcdef"

    async def call(headers, query=""):
        # An empty body is refused behind the rate.
        return await slug_of(await client.request(route.method, path + query, headers=headers))

    is_counted = route.scope not in (OPEN, "profiles")
    for query in ("?profile=alice",) if route.name == "listAuditEvents" else ("",):
        first, second = await call(tenant, query), await call(tenant, query)
        assert (first == "over-rate", second == "over-rate") == (False, is_counted)
    others = [await call(everything), await call(everything)]
    assert "over-rate" not in others


async def test_a_call_over_the_rate_reads_nothing_and_signs_nothing(client, alice, frozen):
    key = await ok(await client.post("/key/generate", json=ED25519, headers=ALICE))
    await alice(calls_per_second=1)
    body = {"kid": key["kid"], "data": "aGk"}
    await ok(await client.post("/sign", json=body, headers=ALICE))
    opened, hits = client.app[STORE].keys_opened, client.app[SERVICE].operations.cache.hits
    await refused(await client.post("/sign", json=body, headers=ALICE), 429, "over-rate")
    assert (client.app[STORE].keys_opened, client.app[SERVICE].operations.cache.hits) == (
        opened,
        hits,
    )


async def test_a_rate_counts_until_the_settings_are_read_again(client, alice, frozen):
    """As after the store was opened again, or a while after a look at it on PostgreSQL."""
    key = await ok(await client.post("/key/generate", json=ED25519, headers=ALICE))
    body = {"kid": key["kid"], "data": "aGk"}
    database = client.app[STORE].database

    async def sign():
        database.directory._known.clear()
        return await slug_of(await client.post("/sign", json=body, headers=ALICE))

    await alice(calls_per_second=2)
    assert [await sign() for _ in range(4)] == ["", "", "over-rate", "over-rate"]
    # Another service raises the rate: a call that is refused makes this one look.
    other = ProfileDirectory(database._calls, database.counters)
    await other.change("alice", {"calls_per_second": None})
    async with waiting_for("the end of the rate"):
        while await sign():
            await asyncio.sleep(0.01)


async def test_strangers_do_not_use_up_the_rate(guarded, frozen):
    client, everything, issue = guarded
    await ok(await client.patch("/profile/alice", json={"calls_per_second": 1}, headers=everything))
    token, _ = await client.app[TOKENS].create("stranger", SCOPES, ("default",))
    stranger = {**bearer(token.reveal()), **ALICE}
    reader = {**await issue("keys:read"), **ALICE}
    for _ in range(5):
        await refused(await client.get("/keys", headers=stranger), 404, "profile-not-found")
        await refused(await client.get("/keys", headers=ALICE), 401, "unauthenticated")
        made = await client.post("/key/generate", json=ED25519, headers=reader)
        await refused(made, 403, "forbidden")
    await ok(await client.get("/keys", headers=reader))


@pytest.mark.each_store
async def test_another_service_learns_of_settings(start, any_store, client, alice, listening):
    if not any_store:
        pytest.skip("a store in memory has one service")
    other: TestClient = await start(create_service(Config(**any_store)))
    if any_store["store"].startswith("postgres"):
        await listening(client, other)
    key = await ok(await other.post("/key/generate", json=ED25519, headers=ALICE))
    body = {"kid": key["kid"], "data": "aGk"}
    await ok(await other.post("/sign", json=body, headers=ALICE))
    await alice(max_keys=1, calls_per_second=1, min_deletion_delay=WEEK)
    async with waiting_for("the rate"):
        while (await other.post("/sign", json=body, headers=ALICE)).status != 429:
            await asyncio.sleep(0.01)
    await alice(calls_per_second=None)

    async def several():
        calls = [other.post("/sign", json=body, headers=ALICE) for _ in range(9)]
        return {answer.status for answer in await asyncio.gather(*calls)}

    async with waiting_for("the end of the rate"):
        while await several() != {200}:  # one alone may be within the rate
            await asyncio.sleep(0.05)
    made = await other.post("/key/generate", json=ED25519, headers=ALICE)
    await refused(made, 422, "too-many-keys")
    gone = await ok(await other.delete(f"/key/{key['kid']}", headers=ALICE))
    assert gone["message"] == "Key deletion scheduled"


async def test_the_audit_log_names_the_rate_of_a_profile(start, tmp_path, frozen):
    log = tmp_path / "audit.log"
    client = await start(create_service(Config(audit_log=str(log))))
    await ok(await client.patch("/profile/default", json={"calls_per_second": 1}))
    await ok(await client.get("/keys"))
    await refused(await client.get("/keys"), 429, "over-rate")
    last = json.loads(log.read_text().splitlines()[-1])
    named = [last[name] for name in ("operation", "profile", "outcome", "rule")]
    assert named == ["listKeys", "default", "over-rate", "calls_per_second"]
