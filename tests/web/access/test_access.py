"""Authentication and authorization: every route with every kind of wrong token."""

import asyncio
import dataclasses
import functools
import json
import time

import pytest
from access.jwt_issuer import AUDIENCE, ISSUER, SigningKey
from access.role_files import ROLES_OF_SCOPES, name_of, role_of, write_roles
from aiohttp import web
from aiohttp.test_utils import TestClient
from app_servers import KmsTestServer
from http_answers import bearer
from multidict import CIMultiDict
from problems import refused
from web.openapi.openapi_document import profile_of

from minikms.access import policy
from minikms.access.callers import ANY_TOKEN, OPEN, SCOPES
from minikms.access.token_record import Token
from minikms.config import Config
from minikms.errors import TooManyAttempts, Unauthenticated
from minikms.http import gate
from minikms.http.limits import read_body
from minikms.serve.assembly import create_service
from minikms.web import app as app_module
from minikms.web.openapi import read_examples
from minikms.web.parameters import APPROVAL, BY_ALIAS, KEY, PROFILE_NAME, TOKEN
from minikms.web.routes import ROUTES
from minikms.web.state import DOCUMENT, TOKENS

GUARDED = [route for route in ROUTES if route.scope != OPEN]
EXAMPLES = read_examples()
ELSEWHERE = ("elsewhere",)
# A scope, and another scope that also suffices.
ALSO = {"keys:delete": "keys:write"}
PLACES = {one.name: one.example for one in (APPROVAL, KEY, PROFILE_NAME, TOKEN)}


@pytest.fixture
async def guarded(start, admin):
    """A service in memory that needs tokens, and the header of its admin."""
    client = await start(create_service(Config(auth="token", admin_token_file=admin[1])))
    return client, bearer(admin[0])


@pytest.fixture(scope="module")
def issuer():
    """The key of the issuer that the roles of the shared service know."""
    return SigningKey()


@pytest.fixture(scope="module")
async def shared_guarded(tmp_path_factory, issuer):
    """A service for tests that may see keys and tokens of other tests."""
    folder = tmp_path_factory.mktemp("shared")
    token, path = Token.new().reveal(), folder / "admin.token"
    path.touch(0o600)
    path.write_text(token)
    roles = write_roles(folder, issuer, ROLES_OF_SCOPES + role_of("elsewhere", SCOPES, ELSEWHERE))
    # All tests together send fewer wrong tokens.
    config = Config(
        auth="token", admin_token_file=str(path), max_wrong_tokens=1_000_000, roles=roles
    )
    async with TestClient(KmsTestServer(create_service(config))) as client:
        yield client, bearer(token)


@pytest.fixture(scope="module")
def made_once(shared_guarded):
    """Make a token of the shared service, each once."""
    made_before = {}

    async def make(*scopes, **others):
        known = frozenset(scopes), *others.items()
        if known not in made_before:
            made_before[known] = await made(shared_guarded[0], *scopes, **others)
        return made_before[known]

    return make


@pytest.fixture(scope="module")
def with_roles(issuer):
    """Make the header of a JWT with roles that have these scopes."""

    async def make(*scopes, profiles=None):
        roles = [*map(name_of, scopes)] if profiles is None else ["elsewhere"]
        return bearer(issuer.token({"roles": roles, "exp": int(time.time()) + 3600}))

    return make


@pytest.fixture(scope="module")
async def no_tokens(shared_guarded):
    """Headers that authenticate nobody."""
    tokens = shared_guarded[0].app[TOKENS]
    revoked, record = await tokens.create("revoked", SCOPES)
    await tokens.revoke(record.id)
    other_secret = Token((await tokens.create("t", SCOPES))[0].id, Token.new().secret).reveal()
    return [
        None,
        bearer("mkms_"),
        bearer(Token.new().reveal()),
        bearer(other_secret),
        bearer(revoked.reveal()),
        await made(shared_guarded[0], expires=time.time_ns() - 1),
        bearer("a.b.c"),
        {"Authorization": "Basic YWxpY2U6c2VjcmV0"},
    ]


@pytest.fixture
async def kept_guarded(start, persistent, admin):
    """The same on a persistent store, where it is the default."""
    options = {**persistent, "auth": "auto", "admin_token_file": admin[1]}
    return await start(create_service(Config(**options))), bearer(admin[0])


async def made(client, *scopes, profiles=None, expires=None):
    token, _ = await client.app[TOKENS].create("t", scopes or SCOPES, profiles, expires)
    return bearer(token.reveal())


def path_of(route):
    canonical = web.UrlDispatcher().add_resource(route.path).canonical
    return canonical.format(**PLACES)


async def call(client, route, headers):
    body = next(iter(EXAMPLES[route.name]["requests"].values())) if route.body else None
    by_alias = {"findKey", "deleteKeyByAlias", "dissociateAlias"}
    query = {"alias": BY_ALIAS.example} if route.name in by_alias else {}
    return await client.request(
        route.method, path_of(route), json=body, params=query, headers=headers
    )


parsed = functools.cache(json.loads)


@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.name)
async def test_every_route_refuses_callers_without_a_token(shared_guarded, no_tokens, route):
    client, _ = shared_guarded
    for headers in no_tokens:
        answer = await call(client, route, headers)
        token_came = headers is not None and headers["Authorization"].startswith("Bearer")
        expected = 'Bearer error="invalid_token"' if token_came else "Bearer"
        await refused(answer, 401, "unauthenticated")
        assert answer.headers["WWW-Authenticate"] == expected


@pytest.mark.parametrize("kind", ["made_once", "with_roles"])
@pytest.mark.parametrize("route", GUARDED, ids=lambda route: route.name)
async def test_every_route_refuses_callers_without_its_scope(shared_guarded, request, route, kind):
    """By tokens of the store, and by JWTs with a role for each scope."""
    client, everything = shared_guarded
    made_by = request.getfixturevalue(kind)
    enough = {route.scope, ALSO.get(route.scope, route.scope)}
    for scopes in (set(SCOPES) - enough, *({scope} for scope in SCOPES)):
        if scopes.isdisjoint(enough) and route.scope != ANY_TOKEN:
            answer = await call(client, route, await made_by(*scopes))
            expected = f'Bearer error="insufficient_scope", scope="{route.scope}"'
            await refused(answer, 403, "forbidden")
            assert answer.headers["WWW-Authenticate"] == expected

    elsewhere = await made_by(profiles=ELSEWHERE)
    if profile_of(
        parsed(await client.app[DOCUMENT].content()), route.name, named=PROFILE_NAME.example
    ):
        await refused(await call(client, route, elsewhere), 404, "profile-not-found")

    own_scopes = ["random"] if route.scope == ANY_TOKEN else sorted(enough)
    for headers in (everything, *[await made_by(scope) for scope in own_scopes]):
        answer = await call(client, route, headers)
        assert answer.status not in (401, 403), await answer.text()
        assert "profile-not-found" not in await answer.text() or route.name == "changeProfile"


async def test_without_a_token_only_documents_and_health_answer(guarded):
    client, _ = guarded
    answering = set()
    for route in client.app.router.routes():
        path = route.resource.canonical.format(**PLACES, filename="index.html")
        answer = await client.request(route.method, path, allow_redirects=False)
        if answer.status != 401:
            answering.add(path)
    of_pages = {path for path in answering if path.startswith(("/docs", "/console"))}
    assert answering - of_pages == {"/", "/healthz", "/readyz", "/openapi.json"}
    assert {"/docs/", "/console/"} <= of_pages
    assert "/console/metrics" not in of_pages


@pytest.mark.parametrize(
    "target",
    [
        *("//keys", "/./keys", "/keys/", "/KEYS", "/%6beys", "/%2fkeys", "/keys%00", "/keys;a=b"),
        *("/docs/../keys", "/docs/%2e%2e/keys", "/docs/..%2fkeys", "/docs//keys", "/docs/keys"),
        *("/healthz/../keys", "/healthz%2f..%2fkeys", "/openapi.json/../keys", "/keys#/docs/"),
        *("http://kms/keys", "http://kms/docs/../keys", "/keys?access_token=TOKEN", "*", "keys"),
        *(
            "/jwks.json?profile=default",
            "/jwks.json?profile=public%00",
            "/jwks.json?Profile=public",
        ),
        *("/jwks.json?profile=default&profile=public", "/jwks.json?profile=public&profile=default"),
    ],
)
@pytest.mark.parametrize(
    "headers",
    [(), ("X-Original-URL: /healthz", "X-HTTP-Method-Override: GET", "X-Profile: public")],
)
async def test_no_spelling_leads_past_the_gate(shared_guarded, target, headers):
    client, everything = shared_guarded
    token = everything["Authorization"].removeprefix("Bearer ")
    await client.post("/profile", json={"name": "public"}, headers=everything)
    await client.patch("/profile/public", json={"jwks": "public"}, headers=everything)
    for method in ("GET", "POST"):
        reader, writer = await asyncio.open_connection(client.host, client.port)
        head = [f"{method} {target.replace('TOKEN', token)} HTTP/1.1", "Host: localhost", *headers]
        writer.write("\r\n".join([*head, "Connection: close", "", ""]).encode())
        status = int((await reader.read()).split()[1])
        writer.close()
        assert status in (400, 401, 404, 405, 422)


async def test_a_caller_learns_the_permissions_of_its_own_token(guarded, client):
    guarded, everything = guarded
    body = {"name": "issuer", "scopes": ["verify", "sign"], "profiles": ["b", "a"]}
    body |= {"expires": "2100-01-01T00:00:00.000Z"}
    async with guarded.post("/tokens", json=body, headers=everything) as answer:
        new = await answer.json()

    async def own(client, headers):
        async with client.get("/tokens/self", headers=headers) as answer:
            assert answer.status == 200
            return await answer.json()

    no_roles = {"issuer": None, "subject": None, "roles": []}
    found = {**body, **no_roles, "scopes": ["sign", "verify"], "profiles": ["a", "b"]}
    assert await own(guarded, bearer(new["token"])) == {"id": new["record"]["id"], **found}
    all_of_it = {"id": None, **no_roles, "scopes": list(SCOPES), "profiles": None, "expires": None}
    assert await own(guarded, everything) == {**all_of_it, "name": "admin"}
    assert await own(client, {}) == {**all_of_it, "name": None}


async def test_no_docs_takes_the_documents_away(start, admin):
    config = Config(auth="token", admin_token_file=admin[1], docs=False)
    client = await start(create_service(config))
    for path in ("/", "/docs", "/docs/", "/docs/swagger.json", "/openapi.json"):
        await refused(await client.get(path), 404, "route-not-found")
    assert (await client.get("/healthz")).status == 200


@pytest.mark.parametrize("scope", ["", OPEN, "everything"])
def test_a_route_without_a_scope_does_not_start(monkeypatch, scope):
    first, *others = ROUTES
    unguarded = dataclasses.replace(first, scope=scope)
    monkeypatch.setattr(app_module, "ROUTES", [unguarded, *others])
    with pytest.raises(app_module.AccessError, match="generateKey has no scope"):
        create_service(Config())


async def test_a_profile_of_others_is_as_one_that_is_not_there(guarded):
    client, everything = guarded
    await client.post("/profile", json={"name": "alice"}, headers=everything)
    bob = await made(client, profiles=("bob",))
    answers = []
    for name in ("alice", "nobody"):
        calls = [
            client.get("/keys", headers={**bob, "X-Profile": name}),
            client.get(f"/jwks.json?profile={name}", headers=bob),
            client.delete(f"/profile/{name}", headers=bob),
            client.patch(f"/profile/{name}", json={"jwks": "public"}, headers=bob),
            client.post("/profile", json={"name": name}, headers=bob),
            # Malformed calls: the profile is checked first.
            client.post("/sign", json={}, headers={**bob, "X-Profile": name}),
            client.get("/keys?limit=0", headers={**bob, "X-Profile": name}),
        ]
        answers.append(
            [(answer.status, await answer.read()) for answer in [await c for c in calls]]
        )
    assert answers[0] == answers[1]
    assert {status for status, _ in answers[0]} == {404}
    listed = await client.get("/profiles", headers=bob)
    assert await listed.json() == {"profiles": [], "settings": {}}
    assert (await client.post("/profile", json={"name": "bob"}, headers=bob)).status == 200
    listed = await client.get("/profiles", headers=bob)
    assert await listed.json() == {"profiles": ["bob"], "settings": {}}


async def test_a_token_is_made_used_listed_and_revoked(kept_guarded):
    client, everything = kept_guarded
    body = {"name": "issuer", "scopes": ["sign", "keys:write"], "expires": "2199-01-01T00:00:00Z"}
    answer = await client.post("/tokens", json=body, headers=everything)
    assert answer.status == 200
    created = await answer.json()
    assert created["record"]["expires"] == "2199-01-01T00:00:00.000Z"
    issuer = bearer(created["token"])
    key = await (await client.post("/key/generate", json={"alg": "ed25519"}, headers=issuer)).json()
    signed = {"kid": key["kid"], "data": "aGVsbG8"}
    assert (await client.post("/sign", json=signed, headers=issuer)).status == 200
    await refused(await client.get("/keys", headers=issuer), 403, "forbidden")

    listed = await (await client.get("/tokens", headers=everything)).text()
    [issuer_record] = [each for each in json.loads(listed) if each["name"] == "issuer"]
    assert issuer_record | {"last_used": None} == created["record"]
    assert created["token"] not in listed
    assert client.app[TOKENS]
    path = f"/tokens/{created['record']['id']}"
    assert (await client.delete(path, headers=everything)).status == 200
    await refused(await client.post("/sign", json=signed, headers=issuer), 401, "unauthenticated")
    await refused(await client.delete(path, headers=everything), 404, "token-not-found")


async def test_a_token_grants_no_profile_that_it_lacks(guarded):
    client, everything = guarded
    alice = await made(client, "admin", profiles=("alice",))
    body = {"name": "t", "scopes": ["sign"]}
    answer = await client.post("/tokens", json={**body, "profiles": ["bob"]}, headers=alice)
    await refused(answer, 404, "profile-not-found")
    created = await (await client.post("/tokens", json=body, headers=alice)).json()
    assert created["record"]["profiles"] == ["alice"]
    listed = await (await client.get("/tokens", headers=alice)).json()
    assert {tuple(record["profiles"]) for record in listed} == {("alice",)}
    of_all = (await (await client.post("/tokens", json=body, headers=everything)).json())["record"]
    assert of_all["profiles"] is None
    answer = await client.delete(f"/tokens/{of_all['id']}", headers=alice)
    await refused(answer, 404, "token-not-found")
    nowhere = await made(client, "admin", profiles=())
    answer = await client.post("/tokens", json=body, headers=nowhere)
    await refused(answer, 404, "profile-not-found")


async def test_a_token_ends_with_its_profile(kept_guarded):
    """Another customer's profile may have the same name."""
    client, everything = kept_guarded
    alice = {"name": "alice"}
    await client.post("/profile", json=alice, headers=everything)
    of_alice, of_both, of_all = [
        {**await made(client, profiles=profiles), "X-Profile": "alice"}
        for profiles in (("alice",), ("alice", "default"), None)
    ]
    for headers in (of_alice, of_both, of_all):  # so that it is in memory
        assert (await client.get("/keys", headers=headers)).status == 200
    assert (await client.delete("/profile/alice", headers=everything)).status == 200
    assert (await client.post("/profile", json=alice, headers=everything)).status == 200
    key = await client.post("/key/generate", json={"alg": "ed25519"}, headers=of_all)
    body = {"kid": (await key.json())["kid"], "data": "aGk"}
    await refused(await client.post("/sign", json=body, headers=of_alice), 401, "unauthenticated")
    await refused(await client.get("/keys", headers=of_alice), 401, "unauthenticated")
    await refused(await client.post("/sign", json=body, headers=of_both), 404, "profile-not-found")
    assert (await client.get("/keys", headers={**of_both, "X-Profile": "default"})).status == 200
    assert (await client.post("/sign", json=body, headers=of_all)).status == 200
    listed = await (await client.get("/tokens", headers=everything)).json()
    assert [one["profiles"] for one in listed] == [["default"], None]


async def test_no_token_is_made_by_one_that_has_ended_meanwhile(guarded):
    """Made in time, it would be of the next profile with this name."""
    client, _ = guarded
    maker = (await client.app[TOKENS].create("t", ("admin",), ("alice",)))[1].id
    await client.app[TOKENS].revoke(maker)
    with pytest.raises(Unauthenticated):
        await client.app[TOKENS].create("t", ("sign",), ("alice",), maker=maker)
    assert await client.app[TOKENS].page(None, 10) == ([], False)


async def test_a_token_that_ends_before_the_body_has_come_lets_nobody_in(
    kept_guarded, connect_to, monkeypatch
):
    client, everything = kept_guarded
    await client.post("/profile", json={"name": "alice"}, headers=everything)
    of_alice, waited = await made(client, profiles=("alice",)), asyncio.Event()

    def read(*args):
        waited.set()
        return read_body(*args)

    monkeypatch.setattr(gate, "read_body", read)
    body = json.dumps({"alg": "ed25519"})
    length = {"Content-Length": len(body), "Host": "localhost"}
    head = {**of_alice, **length, "X-Profile": "alice", "Content-Type": "application/json"}
    lines = ["POST /key/generate HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    connection = await connect_to(client)
    connection.writer.write("\r\n".join([*lines, "", body[:1]]).encode())
    await waited.wait()
    await client.delete("/profile/alice", headers=everything)
    await client.post("/profile", json={"name": "alice"}, headers=everything)
    connection.writer.write(body[1:].encode())
    assert (await connection.receive()).status == 401


async def test_a_token_of_several_profiles_needs_an_admin_of_them_all(guarded):
    client, everything = guarded
    body = {"name": "t", "scopes": ["sign"], "profiles": ["alice", "bob"]}
    created = await (await client.post("/tokens", json=body, headers=everything)).json()
    path = f"/tokens/{created['record']['id']}"
    of_one, of_both = [
        await made(client, "admin", profiles=profiles)
        for profiles in (("alice",), ("alice", "bob", "carol"))
    ]
    assert created["record"] not in await (await client.get("/tokens", headers=of_one)).json()
    await refused(await client.delete(path, headers=of_one), 404, "token-not-found")
    assert created["record"] in await (await client.get("/tokens", headers=of_both)).json()
    assert (await client.delete(path, headers=of_both)).status == 200


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("scopes", []),
        ("scopes", ["open"]),
        ("profiles", []),
        ("profiles", ["a b"]),
        ("name", ""),
        ("name", "a\nb"),
        ("expires", "tomorrow"),
        ("expires", "2026-02-30T00:00:00Z"),
        ("expires", "2036-01-31T12:00:00"),
        ("expires", 7),
        ("expires", "2200-01-01T00:00:00Z"),
    ],
)
async def test_a_malformed_token_request_is_refused(shared_guarded, member, value):
    client, everything = shared_guarded
    body = {"name": "t", "scopes": ["sign"], member: value}
    answer = await client.post("/tokens", json=body, headers=everything)
    await refused(answer, 422, "validation-failed")


async def test_a_wrapped_import_needs_the_scope_to_unwrap(guarded):
    client, everything = guarded
    made_key = await client.post("/key/generate", json={"alg": "a256kw"}, headers=everything)
    kek = (await made_key.json())["kid"]
    wrap = {"kid": kek, "key": "AAECAwQFBgcICQoLDA0ODw"}
    answer = await client.post("/wrap", json=wrap, headers=everything)
    wrapped = (await answer.json())["wrapped"]
    body = {"alg": "a128gcm", "wrapped": wrapped, "unwrap_kid": kek, "exportable": True}
    tenant = await made(client, "keys:write", "keys:export")
    answer = await client.post("/key/import", json=body, headers=tenant)
    expected = 'Bearer error="insufficient_scope", scope="wrap"'
    await refused(answer, 403, "forbidden")
    assert answer.headers["WWW-Authenticate"] == expected
    both = await made(client, "keys:write", "wrap")
    assert (await client.post("/key/import", json=body, headers=both)).status == 200


async def test_a_token_ends_at_its_expiry(guarded):
    client, _ = guarded
    ends = time.time_ns() + 300_000_000
    headers = await made(client, expires=ends)
    statuses = {(await client.get("/keys", headers=headers)).status}
    await asyncio.sleep((ends - time.time_ns()) / 1e9 - 0.02)
    while time.time_ns() < ends:
        statuses.add((await client.get("/keys", headers=headers)).status)
    statuses.add((await client.get("/keys", headers=headers)).status)
    assert statuses == {200, 401}


async def test_public_keys_of_a_profile_that_publishes_them(kept_guarded):
    client, everything = kept_guarded
    await client.post("/profile", json={"name": "alice"}, headers=everything)
    of_alice = {**everything, "X-Profile": "alice"}
    await client.post("/key/generate", json={"alg": "ed25519"}, headers=of_alice)
    path = "/jwks.json?profile=alice"
    await refused(await client.get(path), 401, "unauthenticated")
    for _ in range(2):
        await client.patch("/profile/alice", json={"jwks": "public"}, headers=everything)
        answer = await client.get(path)
        assert len((await answer.json())["keys"]) == 1
    # Neither another profile, nor another way to the keys.
    for other in ("/jwks.json", "/jwks.json?profile=default", "/jwks.json?profile=nobody"):
        await refused(await client.get(other), 401, "unauthenticated")
    for headers in ({"X-Profile": "alice"}, {"X-Profile": "alice", **bearer("mkms_")}):
        await refused(await client.get("/keys", headers=headers), 401, "unauthenticated")
    await client.patch("/profile/alice", json={"jwks": "private"}, headers=everything)
    await refused(await client.get(path), 401, "unauthenticated")
    answer = await client.patch("/profile/nobody", json={"jwks": "public"}, headers=everything)
    await refused(answer, 404, "profile-not-found")


async def test_wrong_tokens_are_counted_by_address(start, admin):
    config = Config(
        auth="token",
        admin_token_file=admin[1],
        max_wrong_tokens=3,
        trusted_proxy="127.0.0.0/8, ::1",
    )
    client = await start(create_service(config))

    async def attempt(told, token=None):
        headers = {**bearer(token or Token.new().reveal()), "X-Forwarded-For": told}
        answer = await client.get("/keys", headers=headers)
        return answer.status, answer.headers.get("Retry-After")

    for _ in range(3):
        assert (await attempt("203.0.113.7"))[0] == 401
    # The caller wrote every address before the last address that is not a proxy's.
    for told in ("203.0.113.7", "198.51.100.1, 203.0.113.7", "203.0.113.7, 127.0.0.9"):
        status, after = await attempt(told)
        assert status == 429
        assert 0 < int(after) <= 60
    assert (await attempt("203.0.113.7", admin[0]))[0] == 200
    assert (await client.get("/keys", headers={"X-Forwarded-For": "203.0.113.7"})).status == 401
    assert (await attempt("203.0.113.8"))[0] == 401
    # Entries before an invalid address do not count either: the call counts as the proxy's.
    told = [f"192.0.2.{number}, unknown, 127.0.0.9" for number in range(4)]
    assert [(await attempt(one))[0] for one in told] == [401, 401, 401, 429]
    # One caller has a whole /64 of IPv6.
    statuses = [(await attempt(f"2001:db8::{number}"))[0] for number in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert (await attempt("2001:db8:0:1::1"))[0] == 401


async def test_a_header_of_the_caller_does_not_hide_that_of_the_proxy(start, admin):
    """A proxy may add a field of its own behind the caller's (RFC 9110 section 5.3)."""
    config = Config(
        auth="token", admin_token_file=admin[1], max_wrong_tokens=1, trusted_proxy="127.0.0.0/8"
    )
    client = await start(create_service(config))
    statuses = []
    for number in range(2):
        headers = CIMultiDict(bearer(Token.new().reveal()))
        for told in (f"198.51.100.{number}", "203.0.113.7"):
            headers.add("X-Forwarded-For", told)
        statuses.append((await client.get("/keys", headers=headers)).status)
    assert statuses == [401, 429]


def test_wrong_tokens_are_counted_of_so_many_addresses(monkeypatch):
    monkeypatch.setattr(policy, "_MOST_ADDRESSES", 3)
    wrong = policy.WrongTokens(1)
    for number in range(4):  # from the fourth on, all others count together
        wrong.count(f"192.0.2.{number}")
    for address in ("192.0.2.0", "192.0.2.3", "192.0.2.4", "203.0.113.9"):
        with pytest.raises(TooManyAttempts):
            wrong.count(address)
    assert len(wrong._counts) == 4


async def test_wrong_tokens_are_forgotten_after_a_minute(start, admin, monkeypatch):
    class Clock:
        now = 1000.0

        @classmethod
        def monotonic(cls):
            return cls.now

    monkeypatch.setattr("minikms.access.policy.time", Clock)
    config = Config(auth="token", admin_token_file=admin[1], max_wrong_tokens=2)
    client = await start(create_service(config))

    async def attempts(number):
        answers = [await client.get("/keys", headers=bearer("mkms_")) for _ in range(number)]
        return [answer.status for answer in answers], answers[-1].headers.get("Retry-After")

    for _ in range(2):
        assert await attempts(2) == ([401, 401], None)
        Clock.now += 20
        (status,), after = await attempts(1)
        assert (status, int(after)) == (429, 41)
        Clock.now += 39
        assert (await attempts(1))[0] == [429]
        Clock.now += int(after) - 39


async def test_forwarded_addresses_of_untrusted_proxies_are_ignored(start, admin):
    config = Config(auth="token", admin_token_file=admin[1], max_wrong_tokens=1)
    client = await start(create_service(config))
    statuses = []
    for number in range(2):
        headers = {**bearer("mkms_"), "X-Forwarded-For": f"203.0.113.{number}"}
        statuses.append((await client.get("/keys", headers=headers)).status)
    assert statuses == [401, 429]


async def test_jwt_of_an_identity_provider(start, tmp_path):
    key = SigningKey("p256")
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [key.jwk]}))
    config = Config(auth="token", jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks=str(file))
    client = await start(create_service(config))
    may = {"scope": "keys:read openid", "minikms_profiles": ["default"]}

    async def status(token, profile="default", path="/keys"):
        headers = {**bearer(token), "X-Profile": profile}
        return (await client.get(path, headers=headers)).status

    assert await status(key.token(may)) == 200
    assert await status(key.token(may), "alice") == 404
    assert await status(key.token(may), path="/profiles") == 403
    assert await status(key.token({"scope": "keys:read"})) == 404
    assert await status(key.token({"minikms_profiles": ["*"]})) == 403
    body = {"name": "t", "scopes": ["sign"]}
    answer = await client.post("/tokens", json=body, headers=bearer(key.token({"scope": "admin"})))
    await refused(answer, 404, "profile-not-found")
    stranger = SigningKey("p256")
    assert await status(stranger.token(may)) == 401


@pytest.mark.parametrize("option", ["jwt_issuer", "admin_token_file"])
def test_options_for_tokens_need_tokens(option):
    with pytest.raises(app_module.AccessError, match="--auth token"):
        create_service(Config(**{option: "x"}))


def test_a_token_is_of_one_form():
    token = Token.new()
    text = token.reveal()
    assert Token.parse(text) == token
    assert text not in repr(token)
    last = "2" if text[-1] != "2" else "3"
    for other in (text[:-1] + last, text + " ", text.upper(), text[:-1], text + "\n", "mkms_", ""):
        assert Token.parse(other) is None
