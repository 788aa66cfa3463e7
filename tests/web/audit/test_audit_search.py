"""`GET /audit`: who may see which events, its filters and pages, and names of refused calls."""

import asyncio
import contextlib
import json
import secrets
import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import orjson
import pytest
from aiohttp.test_utils import TestClient
from app_servers import KmsTestServer
from problems import refused
from waiting import waiting_for

from minikms.access.callers import SCOPES
from minikms.access.token_record import Token
from minikms.audit import line_reader
from minikms.audit import search as search_module
from minikms.audit.searched_files import LogFiles
from minikms.config import Config
from minikms.http import gate
from minikms.http.limits import read_body
from minikms.http.state import IN_FLIGHT
from minikms.serve.assembly import create_service
from minikms.store.profiles import making
from minikms.web.state import TOKENS

TOKEN = Token("0123456789abcdef", bytes(32)).reveal()
JWS = "eyJhbGciOiJub25lIn0.e30."
KID = "Z" * 43


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def client(start, path):
    """A service whose callers need tokens, and whose calls are recorded."""
    return await start(create_service(Config(auth="token", audit_log=str(path))))


@pytest.fixture
async def ops(client):
    """The headers of a caller who may do everything everywhere."""
    return await bearer(client, "ops")


async def bearer(client, name, profiles=None, scopes=SCOPES):
    token, _ = await client.app[TOKENS].create(name, scopes, profiles)
    return {"Authorization": f"Bearer {token.reveal()}"}


async def events(client, headers, **query):
    async with client.get("/audit", params=query, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def names(client, headers, **query):
    """The caller, operation and outcome of each event, oldest first."""
    found = await events(client, headers, **query)
    return [(each["who"], each["operation"], each["outcome"]) for each in reversed(found)]


async def key_in(client, headers, profile, **options):
    async with client.post(
        "/key/generate",
        json={"alg": "ed25519", **options},
        headers={**headers, "X-Profile": profile},
    ) as answer:
        assert answer.status == 200, await answer.text()
        return (await answer.json())["kid"]


async def test_an_event_has_the_members_of_its_line(client, ops, path):
    kid = await key_in(client, ops, "default")
    async with client.post("/sign", json={"kid": kid, "data": ""}, headers=ops) as answer:
        request_id = answer.headers["X-Request-Id"]
    [event, _] = await events(client, ops, kid=kid)
    line = json.loads(path.read_bytes().splitlines()[-2])
    assert event == {
        name: value for name, value in line.items() if name not in ("chain", "n", "prev", "mac")
    }
    assert (event["request_id"], event["operation"]) == (request_id, "sign")
    [own] = await events(client, ops, operation="listAuditEvents")
    assert (own["who"], own["profile"], own["kid"]) == ("ops", None, None)


async def test_filters_apply_together(client, ops):
    kid = await key_in(client, ops, "default", alias="a")
    other = await bearer(client, "other", ("default",), ("sign",))
    for headers in (ops, other):
        for body in ({"kid": kid, "data": ""}, {"alias": "nope", "data": ""}):
            await client.post("/sign", json=body, headers=headers)
    await client.get("/keys", headers=other)
    assert await names(client, ops, who="other") == [
        ("other", "sign", "success"),
        ("other", "sign", "alias-not-found"),
        ("other", "listKeys", "forbidden"),
    ]
    assert await names(client, ops, who="other", outcome="failed", operation="sign") == [
        ("other", "sign", "alias-not-found")
    ]
    assert await names(client, ops, kid=kid, outcome="ok", who="ops") == [
        ("ops", "generateKey", "success"),
        ("ops", "sign", "success"),
    ]
    assert await names(client, ops, outcome="forbidden") == [("other", "listKeys", "forbidden")]
    assert await names(client, ops, kid=KID) == []


async def test_an_alias_finds_the_events_of_all_keys_that_it_named(client, ops):
    """Before and after a rotation, and after a move, of these keys alone, and in one profile."""
    await client.post("/profile", json={"name": "bob"}, headers=ops)
    others = [
        await key_in(client, ops, "default"),
        await key_in(client, ops, "bob", alias="a"),
    ]
    sign = {"alias": "a", "data": ""}
    first = await key_in(client, ops, "default", alias="a")
    await client.post("/sign", json=sign, headers=ops)
    async with client.post(f"/key/{first}/rotate", headers=ops) as answer:
        second = (await answer.json())["kid"]
    await client.post("/sign", json=sign, headers=ops)
    third = await key_in(client, ops, "default", alias="a")
    await client.post("/sign", json=sign, headers=ops)
    for kid in others:
        await client.post("/sign", json={"kid": kid, "data": ""}, headers=ops)
    found = await events(client, ops, alias="a")
    assert [(each["operation"], each["kid"]) for each in reversed(found)] == [
        ("generateKey", first),
        ("sign", first),
        ("rotateKey", first),
        ("sign", second),
        ("generateKey", third),
        ("sign", third),
    ]
    assert await events(client, ops, alias="a", profile="default") == found
    assert (
        await events(client, ops, alias="a", limit=2, operation="sign")
        == [each for each in found if each["operation"] == "sign"][:2]
    )
    one = await events(client, ops, alias="a", kid=second)
    assert one == await events(client, ops, kid=second, profile="default")
    assert await events(client, ops, alias="a", kid=others[0]) == []
    in_bob = {**ops, "X-Profile": "bob"}
    assert {each["kid"] for each in await events(client, in_bob, alias="a")} == {others[1]}
    found = await events(client, ops, alias="a", profile="bob")
    assert {each["kid"] for each in found} == {others[1]}


async def test_an_alias_that_no_key_has_is_not_found(client, ops):
    async with client.get("/audit?alias=nope", headers=ops) as answer:
        await refused(answer, 404, "alias-not-found")


async def test_a_caller_who_may_not_read_keys_does_not_learn_which_key_an_alias_names(client, ops):
    await key_in(client, ops, "default", alias="a")
    auditor = await bearer(client, "auditor", None, ("audit",))
    for alias in ("a", "nope"):
        async with client.get("/audit", params={"alias": alias}, headers=auditor) as answer:
            await refused(answer, 403, "forbidden")


async def test_times_bound_the_events(client, ops):
    await key_in(client, ops, "default")
    [event] = await events(client, ops, operation="generateKey")
    moment = datetime.fromisoformat(event["time"])
    later = moment + timedelta(microseconds=1)
    texts = [each.isoformat() for each in (moment, later)]
    made = {"operation": "generateKey"}
    assert await events(client, ops, since=texts[0], until=texts[1], **made) == [event]
    assert await events(client, ops, until=texts[0], **made) == []
    assert await events(client, ops, since=texts[1], **made) == []
    assert datetime.now(UTC) - moment < timedelta(minutes=5)


async def test_pages_lead_to_every_event(client, ops):
    kids = [await key_in(client, ops, "default") for _ in range(7)]
    target, found = "/audit?operation=generateKey&who=ops&limit=2", []
    while target:
        async with client.get(target, headers=ops) as answer:
            assert answer.status == 200
            found += [event["kid"] for event in await answer.json()]
            link = answer.headers.get("Link")
        target = link and link.partition("<")[2].partition(">")[0]
        if target:
            assert link.endswith('>; rel="next"')
            assert "who=ops" in target
            assert "limit=2" in target
    assert found == kids[::-1]


async def test_a_search_without_time_answers_with_a_link(client, ops, monkeypatch):
    monkeypatch.setattr(search_module, "LONGEST_SEARCH", 0)
    monkeypatch.setattr(line_reader, "BLOCK", 1000)
    kid = await key_in(client, ops, "default")
    for _ in range(10):
        await client.get("/keys", headers=ops)
    target, found, number = f"/audit?kid={kid}", [], 0
    while target:
        async with client.get(target, headers=ops) as answer:
            found += await answer.json()
            link = answer.headers.get("Link")
        target, number = link and link.partition("<")[2].partition(">")[0], number + 1
    assert [event["operation"] for event in found] == ["generateKey"]
    assert number > 2


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "1001"},
        {"kid": "no!pe"},
        {"who": ""},
        {"operation": "a b"},
        {"outcome": "<"},
        {"profile": "ä"},
        {"since": "yesterday"},
        {"until": "2026-01-31T12:00:00"},
        {"after": ""},
        {"after": "A" * 100},
        {"after": "A" * 20_000},
        {"after": "0-0.1-1"},
        {"alias": ""},
        {"name": "a"},
    ],
)
async def test_a_malformed_filter_is_refused(client, ops, query):
    async with client.get("/audit", params=query, headers=ops) as answer:
        await refused(answer, 422, "validation-failed")


# Tokens for some profiles


@pytest.fixture
async def tenants(client, ops):
    """The headers of alice and bob, each in a profile of its own."""
    for name in ("alice", "bob"):
        await client.post("/profile", json={"name": name}, headers=ops)
    return [await bearer(client, name, (name,)) for name in ("alice", "bob")]


async def test_a_tenant_sees_its_profile_alone(client, ops, tenants):
    alice, bob = tenants
    await key_in(client, alice, "alice")
    await key_in(client, bob, "bob")
    await key_in(client, ops, "alice")
    assert await names(client, alice) == [
        ("ops", "createProfile", "success"),
        ("alice", "generateKey", "success"),
        ("ops", "generateKey", "success"),
    ]
    assert {event["profile"] for event in await events(client, alice)} == {"alice"}
    both = await bearer(client, "both", ("alice", "bob"))
    assert {event["profile"] for event in await events(client, both)} == {"alice", "bob"}
    assert {event["profile"] for event in await events(client, both, profile="bob")} == {"bob"}
    everything = {event["profile"] for event in await events(client, ops)}
    assert everything == {"alice", "bob", None}


async def test_another_tenants_log_is_like_an_unknown_one(client, tenants):
    alice, _ = tenants
    for name in ("bob", "nowhere", "default"):
        for query in {"profile": name}, {"profile": name, "alias": "a"}:
            async with client.get("/audit", params=query, headers=alice) as answer:
                await refused(answer, 404, "profile-not-found")
        headers = {**alice, "X-Profile": name}
        async with client.get("/audit?alias=a", headers=headers) as answer:
            await refused(answer, 404, "profile-not-found")


async def test_a_tenant_does_not_see_strangers_who_name_its_profile(client, ops, tenants):
    alice, bob = tenants
    kid = await key_in(client, alice, "alice")
    unscoped = await bearer(client, "unscoped", ("bob",), ("random",))
    wrong = {"Authorization": f"Bearer {Token.new().reveal()}"}
    before = len(await events(client, alice))
    for stranger in (bob, unscoped, wrong, {}):
        headers = {**stranger, "X-Profile": "alice"}
        await client.post("/sign", json={"kid": kid, "data": ""}, headers=headers)
        await client.post("/sign", json={"kid": kid, "data": "?"}, headers=headers)
        await client.get(f"/key/{kid}", headers=headers)
        await client.get(f"/key/{kid}?x=y", headers=headers)
        await client.delete("/profile/alice", headers=stranger)
        await client.get("/audit?profile=alice", headers=stranger)
    assert len(await events(client, alice)) == before
    seen = await events(client, ops, profile="alice", outcome="failed")
    assert {event["who"] for event in seen} == {"bob", "unscoped", ""}


async def test_a_tenant_sees_its_own_failed_calls(client, ops, tenants):
    alice, _ = tenants
    signer = await bearer(client, "signer", ("alice",), ("sign",))
    for headers in (signer, ops):
        headers = {**headers, "X-Profile": "alice"}
        await client.post("/sign", json={"alias": "nope", "data": ""}, headers=headers)
        await client.post("/sign", json={"kid": "nope", "data": "?"}, headers=headers)
        await client.get("/key?alias=other", headers=headers)
    failed = await events(client, alice, outcome="failed")
    assert [(each["who"], each["outcome"], each.get("alias"), each["kid"]) for each in failed] == [
        ("ops", "alias-not-found", "other", None),
        ("ops", "validation-failed", None, "nope"),
        ("ops", "alias-not-found", "nope", None),
        ("signer", "forbidden", "other", None),
        ("signer", "validation-failed", None, "nope"),
        ("signer", "alias-not-found", "nope", None),
    ]
    assert all(event["admitted"] is True for event in failed)


async def test_a_tenant_sees_no_failed_calls_of_earlier_versions(client, ops, tenants, path):
    """Their lines do not tell whether the caller was a stranger."""
    alice, bob = tenants
    await client.get("/keys", headers={**bob, "X-Profile": "alice"})
    await client.get("/keys", headers={**alice, "X-Profile": "alice"})
    line = path.read_bytes().splitlines(keepends=True)[-2]
    assert b"profile-not-found" in line
    assert b"admitted" not in line
    assert ("bob", "listKeys", "profile-not-found") not in await names(client, alice)


async def test_a_token_without_profiles_sees_nothing(client, ops):
    nowhere = await bearer(client, "nowhere", ())
    await client.get("/keys", headers=nowhere)
    assert await events(client, nowhere) == []


async def test_an_event_is_in_the_log_whoever_asks(client, ops, path):
    await client.get("/audit", headers={})
    await client.get("/audit", headers=ops)
    found = [json.loads(line) for line in path.read_bytes().splitlines()][1:]
    assert [(line["operation"], line["outcome"]) for line in found] == [
        ("listAuditEvents", "unauthenticated"),
        ("listAuditEvents", "success"),
    ]


# Names in refused calls


@pytest.fixture
def last_line(path):
    return lambda: json.loads(path.read_bytes().splitlines()[-1])


@pytest.mark.parametrize(
    ("method", "target", "body", "kid", "alias"),
    [
        ("POST", "/sign", {"kid": KID, "data": ""}, KID, None),
        ("POST", "/sign", {"alias": "did:example:1#k", "data": ""}, None, "did:example:1#k"),
        ("POST", "/sign/batch", {"alias": "a", "items": [{"data": ""}]}, None, "a"),
        ("POST", "/sign", {"kid": KID}, KID, None),
        ("POST", "/sign", {"kid": "a", "alias": "b", "data": ""}, "a", "b"),
        ("POST", "/sign", {"kid": ["a"], "alias": "", "data": ""}, None, None),
        ("POST", "/sign", {"kid": "not of its form", "data": ""}, None, None),
        ("POST", "/sign", [], None, None),
        ("GET", f"/key/{KID}", None, KID, None),
        ("GET", "/key?alias=a", None, None, "a"),
        ("DELETE", "/key?alias=a", None, None, "a"),
        ("PATCH", f"/key/{KID}", {"state": "disabled"}, KID, None),
        ("POST", f"/key/{KID}/rotate", None, KID, None),
        ("POST", f"/key/{KID}/associate", {"alias": "a"}, KID, None),
        ("GET", f"/key/{KID}/export", None, KID, None),
        (
            "POST",
            "/key/generate",
            {"alg": "ed25519", "alias": "taken", "alias_taken": "refuse"},
            ANY,
            "taken",
        ),
    ],
)
async def test_the_line_of_a_refused_call_names_the_key(
    client, ops, last_line, method, target, body, kid, alias
):
    await key_in(client, ops, "default", alias="taken")
    async with client.request(method, target, json=body, headers=ops) as answer:
        assert answer.status in (404, 409, 422), await answer.text()
    line = last_line()
    assert line["outcome"] != "success"
    assert (line["kid"], line.get("alias")) == (kid, alias)


@pytest.mark.parametrize(
    "secret",
    [
        TOKEN,
        TOKEN[:30],
        JWS,
        '{"kty":"OKP","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}',
        "-----BEGIN PRIVATE KEY----- MC4CAQAwBQ",
    ],
    ids=["token", "half a token", "JWS", "JWK", "PEM"],
)
async def test_a_secret_in_place_of_a_name_is_left_out(client, ops, path, secret):
    named = {"X-Profile": secret}
    for headers in (ops, {}, {**ops, **named}, named):
        for body in (
            {"kid": secret, "data": ""},
            {"alias": secret, "data": ""},
            {"kid": secret, "alias": secret},
        ):
            await client.post("/sign", json=body, headers=headers)
        for target in ("/key", "/audit"):
            for name in ("alias", "kid", "profile"):
                await client.get(target, params={name: secret}, headers=headers)
        await client.get(f"/key/{secret}", headers=headers)
    assert secret not in path.read_text()
    assert secret.replace('"', '\\"') not in path.read_text()
    assert len(path.read_bytes().splitlines()) > 20


async def test_a_call_that_finds_its_key_at_last_has_no_other_alias(client, ops, last_line):
    """The key of a JWE is one of several recipients, and the first one does not exist."""
    kid = await key_in(client, ops, "default", alias="there")
    async with client.post("/sign", json={"alias": "there", "data": ""}, headers=ops) as answer:
        assert answer.status == 200
    line = last_line()
    assert (line["kid"], "alias" in line, "admitted" in line) == (kid, False, False)


# The service meanwhile


async def test_without_a_log_there_are_no_events(start):
    client = await start(create_service(Config()))
    async with client.get("/audit?kid=k") as answer:
        assert (answer.status, await answer.json()) == (200, [])


async def test_other_calls_are_answered_during_a_search(client, ops, monkeypatch):
    go_on, begun = threading.Event(), threading.Event()
    run = search_module.search

    def held(*args):
        begun.set()
        go_on.wait(20)
        return run(*args)

    monkeypatch.setattr(search_module, "search", held)
    searches = [asyncio.create_task(events(client, ops)) for _ in range(3)]
    await asyncio.to_thread(begun.wait, 20)
    kid = await key_in(client, ops, "default")
    async with client.post("/sign", json={"kid": kid, "data": ""}, headers=ops) as answer:
        assert answer.status == 200
    go_on.set()
    assert len(await asyncio.gather(*searches)) == 3
    assert client.app[IN_FLIGHT].number == 0


async def test_a_caller_who_leaves_does_not_begin_another_search(client, ops, monkeypatch):
    go_on, running, most = threading.Event(), [], []

    def held(*args):
        running.append(args)
        most.append(len(running))
        go_on.wait(20)
        running.pop()
        return search_module.Page([], None)

    monkeypatch.setattr(search_module, "search", held)
    for _ in range(3):
        leaving = asyncio.create_task(events(client, ops))
        while not running:
            await asyncio.sleep(0.01)
        leaving.cancel()
    staying = asyncio.create_task(events(client, ops))
    go_on.set()
    assert await staying == []
    assert max(most) == 1


async def test_a_log_that_cannot_be_read(client, ops, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LogFiles, "read", refuse)
    async with client.get("/audit", headers=ops) as answer:
        await refused(answer, 503, "audit-unavailable")


@pytest.mark.each_store
async def test_a_tenant_does_not_see_an_earlier_profile_of_its_name(start, any_store, path):
    config = Config(**{**any_store, "auth": "token"}, audit_log=str(path))
    client = await start(create_service(config))
    ops = await bearer(client, "ops")
    for name in ("first", "second"):
        await client.post("/profile", json={"name": "alice"}, headers=ops)
        await key_in(client, ops, "alice", alias=name)
        tenant = await bearer(client, name, ("alice",))
        await client.get("/keys", headers={**tenant, "X-Profile": "alice"})
        if name == "first":
            await client.delete("/profile/alice", headers=ops)
    expected = [
        ("ops", "createProfile", "success"),
        ("ops", "generateKey", "success"),
        ("second", "listKeys", "success"),
    ]
    assert await names(client, tenant) == expected
    # Another caller's cursor leads no further.
    async with client.get("/audit?limit=1", headers=ops) as answer:
        after = answer.links["next"]["url"].query["after"]
    assert await names(client, tenant, after=after) == expected
    assert await names(client, tenant, profile="alice") == expected
    assert ("first", "listKeys", "success") in await names(client, ops, profile="alice")


async def call_in(client, headers, name):
    """A call in alice's profile, by a new token of hers."""
    tenant = await bearer(client, name, ("alice",))
    await client.get("/keys", headers={**tenant, "X-Profile": "alice"})
    return tenant


async def remake(client, ops):
    assert (await client.delete("/profile/alice", headers=ops)).status == 200
    assert (await client.post("/profile", json={"name": "alice"}, headers=ops)).status == 200


async def test_a_clock_that_was_ahead_shows_no_events_of_an_earlier_profile(
    client, ops, tenants, clock
):
    clock(3600)
    await call_in(client, ops, "first")
    clock(0)
    await remake(client, ops)
    second = await call_in(client, ops, "second")
    assert await names(client, second, profile="alice") == [
        ("ops", "createProfile", "success"),
        ("second", "listKeys", "success"),
    ]


@pytest.mark.parametrize("ends", ["whole", "cut short"])
async def test_a_call_that_ends_after_its_profile_is_not_the_next_ones(
    client, ops, tenants, connect_to, monkeypatch, ends
):
    first, waited = await bearer(client, "first", ("alice",)), asyncio.Event()

    def read(*args):
        waited.set()
        return read_body(*args)

    monkeypatch.setattr(gate, "read_body", read)
    connection = await connect_to(client)
    token = first["Authorization"]
    head = ("X-Profile: alice", f"Authorization: {token}", "Content-Type: application/json")
    lines = ["POST /sign HTTP/1.1", "Host: localhost", "Content-Length: 2", *head, "", "{"]
    connection.writer.write("\r\n".join(lines).encode())
    await waited.wait()
    await remake(client, ops)
    await client.get("/keys", headers={**ops, "X-Profile": "alice"})  # so that it is known
    if ends == "whole":
        connection.writer.write(b"}")
        assert (await connection.receive()).status == 401
    else:
        connection.writer.close()
    async with waiting_for("the line of the call"):
        while ("first", "sign") not in [
            each[:2] for each in await names(client, ops, profile="alice", operation="sign")
        ]:
            await asyncio.sleep(0.01)
    second = await bearer(client, "second", ("alice",))
    assert await names(client, second, operation="sign") == []


@pytest.mark.parametrize("is_timed", [True, False])
async def test_lines_of_earlier_versions_are_shown_by_a_time_that_is_known(
    start, tmp_path, path, make_store, monkeypatch, is_timed
):
    """The rows of the time may be gone; then no such line counts."""
    monkeypatch.setattr(making, "new_name", lambda _: secrets.token_hex(16))
    store = await make_store(f"sqlite://{tmp_path}/keys.db")
    config = Config(**{**store, "auth": "token"}, audit_log=str(path))
    async with TestClient(KmsTestServer(create_service(config))) as client:
        ops = await bearer(client, "ops")
        await client.post("/profile", json={"name": "alice"}, headers=ops)
        await call_in(client, ops, "first")
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        line.pop("profile_id", None)
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    if not is_timed:
        with contextlib.closing(sqlite3.connect(tmp_path / "keys.db")) as file, file:
            file.execute("DELETE FROM items_tags WHERE plaintext = 0")
    client = await start(create_service(config))
    tenant = await call_in(client, ops, "tenant")
    found = await names(client, tenant)
    shown = [("ops", "createProfile", "success"), ("first", "listKeys", "success")]
    assert found == [*(shown if is_timed else []), ("tenant", "listKeys", "success")]
