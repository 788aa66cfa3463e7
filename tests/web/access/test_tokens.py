"""The tokens of tenants: their number, their listing by page, and their end."""

import asyncio
import json

import orjson
import pytest
from http_answers import bearer, ok
from problems import refused, slug_of
from waiting import until

from minikms.access.token_record import TokenRecord
from minikms.access.tokens import Tokens
from minikms.config import Config
from minikms.errors import TooManyTokens
from minikms.http.gate import GATE
from minikms.serve import upkeep
from minikms.serve.assembly import create_service
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.categories import TOKENS as CATEGORY
from minikms.store.keys.key_store import KeyStore
from minikms.store.profiles import removals
from minikms.store.profiles.token_entries import TOGETHER, UNPLACED
from minikms.web.state import STORE, TOKENS

BODY = {"name": "t", "scopes": ["sign"]}


@pytest.fixture
async def guarded(start, admin, any_store):
    """A service that needs tokens, and the headers of its operator."""
    options = {**any_store, "auth": "token", "admin_token_file": admin[1], "max_tokens": 3}
    client, operator = await start(create_service(Config(**options))), bearer(admin[0])
    for name in ("alice", "bob"):
        await ok(await client.post("/profile", json={"name": name}, headers=operator))
    return client, operator


async def admin_of(client, *profiles):
    token, _ = await client.app[TOKENS].create("admin", ("admin", "keys:read"), profiles)
    return bearer(token.reveal())


async def pages(client, headers, limit=100):
    """The ids of the tokens, by page."""
    found, query = [], {"limit": str(limit)}
    while query is not None:
        async with client.get("/tokens", params=query, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            found.append([each["id"] for each in await answer.json()])
            following = answer.links.get("next")
            query = following and following["url"].query
    return found


@pytest.mark.each_store
async def test_a_profile_has_a_largest_number_of_tokens(guarded):
    client, operator = guarded
    alice, bob = await admin_of(client, "alice"), await admin_of(client, "bob")

    async def make(headers, **body):
        answer = await client.post("/tokens", json=BODY | body, headers=headers)
        return answer, await slug_of(answer)

    assert [(await make(alice))[1] for _ in range(3)] == ["", "", "too-many-tokens"]
    await refused((await make(alice))[0], 422, "too-many-tokens")
    # For both, since it counts for each; the operator's own tokens are of no profile.
    assert (await make(operator, profiles=["bob", "alice"]))[1] == "too-many-tokens"
    assert [(await make(operator))[1] for _ in range(5)] == [""] * 5
    made, _ = await make(bob)
    record = (await made.json())["record"]
    assert [(await make(bob))[1] for _ in range(2)] == ["", "too-many-tokens"]
    await ok(await client.delete(f"/tokens/{record['id']}", headers=bob))
    assert [(await make(bob))[1] for _ in range(2)] == ["", "too-many-tokens"]


@pytest.mark.each_store
async def test_tokens_that_are_made_at_once_are_within_the_limit_and_in_order(start, any_store):
    """Also the very first ones."""
    client = await start(create_service(Config(**{**any_store, "auth": "token"})))
    tokens = client.app[TOKENS]

    async def make():
        try:
            return (await tokens.create("t", ("sign",), ("default",), most=5))[1].id
        except TooManyTokens:
            return None

    made = [token for token in await asyncio.gather(*(make() for _ in range(20))) if token]
    assert len(made) == 5
    listed, _ = await tokens.page(None, 100)
    assert {token.id for token in listed} == set(made)
    assert sorted({token.seq for token in listed}) == [token.seq for token in listed]


async def test_a_token_for_a_profile_that_was_made_again_meanwhile_is_for_none(
    guarded, monkeypatch
):
    """The maker's token was for the former profile and for another one, so that it stays."""
    client, operator = guarded
    token, _ = await client.app[TOKENS].create("m", ("admin",), ("alice", "bob"))
    create = client.app[TOKENS].create

    async def create_late(**known):
        await ok(await client.delete("/profile/alice", headers=operator))
        await ok(await client.post("/profile", json={"name": "alice"}, headers=operator))
        return await create(**known)

    monkeypatch.setattr(client.app[TOKENS], "create", create_late)
    body = {"name": "t", "scopes": ["keys:read"], "profiles": ["alice"]}
    answer = await client.post("/tokens", json=body, headers=bearer(token.reveal()))
    made = bearer((await ok(answer))["token"])
    answer = await client.get("/keys", headers={**made, "X-Profile": "alice"})
    await refused(answer, 401, "unauthenticated")


async def test_expired_tokens_make_room(guarded, clock):
    client, _ = guarded
    alice = await admin_of(client, "alice")

    async def make(**body):
        return await slug_of(await client.post("/tokens", json=BODY | body, headers=alice))

    soon = {"expires": "2099-01-01T00:00:00Z"}
    assert [await make(**soon), await make(), await make()] == ["", "", "too-many-tokens"]
    clock(100 * 365 * 24 * 3600)
    assert [await make(), await make()] == ["", "too-many-tokens"]
    assert sum(map(len, await pages(client, alice))) == 3


@pytest.mark.each_store
async def test_tokens_are_listed_by_page_in_order_of_creation(guarded):
    client, operator = guarded
    made, whose = [], [("alice",), ("bob",), ("alice", "bob"), None]
    for number in range(40):
        _, record = await client.app[TOKENS].create("t", ("sign",), whose[number % 4])
        made.append((record.id, whose[number % 4]))
    for limit in (1, 7, 64, 1000):
        listed = await pages(client, operator, limit)
        assert [token for page in listed for token in page] == [token for token, _ in made]
        assert {len(page) for page in listed[:-1]} <= {limit}
    alice = await admin_of(client, "alice")
    *listed, last = [token for page in await pages(client, alice, 3) for token in page]
    assert listed == [token for token, profiles in made if profiles == ("alice",)]
    both = await admin_of(client, "alice", "bob")
    assert sum(map(len, await pages(client, both, 3))) == 30 + 2
    assert last not in listed


async def test_a_page_is_asked_for_in_its_form(guarded):
    client, operator = guarded
    for query in ("limit=0", "limit=1001", "after=x", "profile=alice"):
        answer = await client.get(f"/tokens?{query}", headers=operator)
        await refused(answer, 422, "validation-failed")
    # A caller with a token for no profile has no tokens.
    token, _ = await client.app[TOKENS].create("t", ("admin",), ())
    assert await pages(client, bearer(token.reveal())) == [[]]


async def test_a_tenant_reads_no_token_of_another(guarded):
    """Another tenant's unreadable token does not disturb the listing."""
    client, operator = guarded
    alice, bob = await admin_of(client, "alice"), await admin_of(client, "bob")
    _, record = await client.app[TOKENS].create("t", ("sign",), ("bob",))

    async def damage(session):
        entry = await session.fetch(CATEGORY, record.id)
        await session.replace(CATEGORY, record.id, b"damaged", entry.tags)

    await client.app[STORE].database.run_own(damage, write=True)
    assert len((await pages(client, alice))[0]) == 1
    for headers in (bob, operator):
        assert (await client.get("/tokens", headers=headers)).status == 500


@pytest.mark.each_store
async def test_tokens_without_a_place_are_listed(guarded, monkeypatch):
    """Of version 0.3.0, or whose last use a service of that version has stored since."""
    client, operator = guarded
    tokens, database = client.app[TOKENS], client.app[STORE].database
    _, newer = await tokens.create("t", ("sign",), ("alice",))
    record = json.loads(newer.to_bytes()) | {"profiles": ["alice"]}
    older = [f"{number:016x}" for number in range(TOGETHER + 1)]

    async def work(session):
        for token in older:
            await session.insert(CATEGORY, token, orjson.dumps(record | {"id": token}))
        await session.replace(CATEGORY, newer.id, newer.to_bytes(), {"used": "7"})

    await database.run_own(work, write=True)
    assert await pages(client, operator) == [[]]
    await tokens.place_all(again=True)
    alice = await admin_of(client, "alice")
    for headers in (operator, alice):
        listed = [token for page in await pages(client, headers, 10) for token in page]
        assert sorted(listed[:-1]) == sorted([*older, newer.id])
    await refused(await client.post("/tokens", json=BODY, headers=alice), 422, "too-many-tokens")


async def test_a_service_gives_tokens_of_an_earlier_version_their_place(
    start, tmp_path, make_store, monkeypatch, admin
):
    store = await make_store(f"sqlite://{tmp_path}/keys.db")
    location = StoreLocation.parse(store["store"])
    async with KeyStore.open(location, StoreKey(store["store_key"])) as opened:
        with monkeypatch.context() as patch:
            patch.setattr("minikms.store.profiles.token_entries.token_tags", lambda *_: {})
            _, record = await Tokens(opened.database).create("t", ("sign",), ("default",))
        assert await opened.database.run_own(lambda session: session.count(CATEGORY, UNPLACED))
    config = Config(**{**store, "auth": "token", "admin_token_file": admin[1]})
    client = await start(create_service(config))
    assert await pages(client, bearer(admin[0])) == [[record.id]]


@pytest.mark.each_store
async def test_a_removal_that_is_finished_twice_leaves_the_tokens_of_a_new_tenant(guarded):
    """A process that resumes a removal may find the name given to another tenant."""
    client, operator = guarded
    directory = client.app[STORE].directory
    entry, _ = await directory.removals.mark("alice")
    await directory.removals.finish("alice", entry)
    await ok(await client.post("/profile", json={"name": "alice"}, headers=operator))
    _, new = await client.app[TOKENS].create("t", ("sign",), ("alice",))
    await directory.removals.finish("alice", entry)
    assert await pages(client, operator) == [[new.id]]


@pytest.mark.each_store
async def test_the_tokens_of_a_removed_profile_go_a_few_at_a_time(guarded, monkeypatch):
    """Other writers have their turn, and tokens for other profiles stay."""
    client, operator = guarded
    tokens, changes = client.app[TOKENS], []
    for _ in range(TOGETHER + 3):
        await tokens.create("t", ("sign",), ("alice",))
    _, both = await tokens.create("t", ("sign",), ("alice", "bob"))
    _, other = await tokens.create("t", ("sign",), ("bob",))
    revoke = removals.revoke

    async def watched(session, profile, some):
        await revoke(session, profile, some)
        changes.append(session.written)

    monkeypatch.setattr(removals, "revoke", watched)
    await ok(await client.delete("/profile/alice", headers=operator))
    assert changes == [TOGETHER, 4]
    assert await pages(client, operator) == [[both.id, other.id]]
    listed = await ok(await client.get("/tokens", headers=operator))
    assert [each["profiles"] for each in listed] == [["bob"], ["bob"]]


async def test_a_revoked_token_leaves_the_cache(start, monkeypatch):
    monkeypatch.setattr(upkeep, "_TEND_EVERY", 0.01)
    client = await start(create_service(Config(auth="token")))
    headers = await admin_of(client, "default")
    await ok(await client.get("/keys", headers=headers))
    cached = client.app[GATE].access._cache
    assert len(cached) == 1
    [record], _ = await client.app[TOKENS].page(None, 10)
    await client.app[TOKENS].revoke(record.id)
    await until("the end of the token in the cache", lambda: len(cached) == 0)


def test_version_0_3_0_reads_the_profiles_of_a_record():
    """Version 0.3.0 makes a tuple of the stored profiles, and removes a profile by its name."""
    record = TokenRecord("0" * 16, "t", "", ("sign",), ("a", "b"), 1, ids={"a": "1", "b": None})
    stored = json.loads(record.to_bytes())
    assert tuple(stored["profiles"]) == ("a", "b")
    assert set(stored) == {"id", "name", "hash", "scopes", "profiles", "created", "expires"}
    stored["profiles"] = [name for name in stored["profiles"] if name != "a"]
    assert TokenRecord.from_bytes(orjson.dumps(stored)).profiles == ("b",)
    assert TokenRecord.from_bytes(record.to_bytes()) == record
