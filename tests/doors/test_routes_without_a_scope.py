"""Routes of a door that need no scope, and handlers that answer with a status."""

import contextlib

import orjson
import pytest
from access.jwt_issuer import AUDIENCE, ISSUER, SigningKey
from access.role_files import SIGNER, write_roles
from aiohttp import ClientSession

from minikms.http.gate import GATE

SOURCE = """
from minikms_plain import *
from minikms.doors import ANY_TOKEN, LOGIN, OPEN, DoorAnswer

class Mine(PlainDoor):
    name = "mine"

    @property
    def routes(self):
        return [
            DoorRoute("open", OPEN, self._open),
            DoorRoute("login", LOGIN, self._login),
            DoorRoute("any", ANY_TOKEN, self._any),
            DoorRoute("wrong", OPEN, self._login),
            DoorRoute("role", LOGIN, self._role),
            DoorRoute("asked", ANY_TOKEN, self._asked),
        ]

    def route_of(self, request):
        return next(each for each in self.routes if each.operation == request.path[1:])

    async def _open(self, call):
        return DoorAnswer(int(call.body or b"204"), b"text" if call.body else b"")

    async def _login(self, call):
        caller = await call.authenticate(call.body.decode())
        return f"{caller.name} {sorted(caller.scopes)} {call.caller.name}".encode()

    async def _role(self, call):
        role, jwt = call.body.decode().split(" ")
        token = call.in_role(jwt, role)
        caller = await call.authenticate(token, lambda caller: min(caller.profiles))
        facts = [caller.issuer, caller.subject, *caller.roles, *sorted(caller.scopes), call.profile]
        return f"{token} {facts}".encode()

    async def _any(self, call):
        return DoorAnswer(202, call.caller.name.encode(), {"Content-Type": "text/x", "Mine": "1"})

    async def _asked(self, call):
        call.caller.require(call.body.decode())
        return call.request_id.encode()
"""


@pytest.fixture
async def start_mine(install, start_with_doors):
    """Start a service with the door; gives clients of its API and of the door."""
    install(SOURCE)
    async with contextlib.AsyncExitStack() as sessions:

        async def run(**options):
            client, urls = await start_with_doors(
                "mine", door_options={"mine": {"alg": "ed25519"}}, **options
            )
            return client, await sessions.enter_async_context(ClientSession(urls["mine"]))

        yield run


@pytest.fixture
def log(tmp_path):
    return tmp_path / "audit.log"


@pytest.fixture
async def guarded(start_mine, admin, log):
    return await start_mine(auth="token", admin_token_file=admin[1], audit_log=str(log))


@pytest.fixture
async def token(guarded, admin):
    headers = {"Authorization": f"Bearer {admin[0]}"}
    body = {"name": "holder", "scopes": ["sign"], "profiles": ["default"]}
    async with guarded[0].post("/tokens", json=body, headers=headers) as made:
        return (await made.json())["token"]


def lines(log):
    found = map(orjson.loads, log.read_text().splitlines())
    return [
        (line["operation"], line["who"], line["profile"], line["outcome"])
        for line in found
        if line.get("operation", "").startswith("mine:")
    ]


async def call(door, path, body=b"", token="", room=""):
    headers = {name: text for name, text in {"Token": token, "Room": room}.items() if text}
    async with door.post(f"/{path}", data=body, headers=headers) as answer:
        return answer.status, await answer.text(), answer.headers


async def test_an_open_route_needs_no_token_and_leaves_no_line(guarded, log):
    for given in ("", "wrong"):
        assert (await call(guarded[1], "open", token=given))[0] == 204
    assert lines(log) == []


@pytest.mark.parametrize("status", [200, 201, 404, 503])
async def test_a_handler_gives_a_status(guarded, status):
    found, text, headers = await call(guarded[1], "open", str(status).encode())
    assert (found, text, headers["Content-Type"]) == (status, "text", "text/plain")
    assert headers["Cache-Control"] == "no-store"
    assert headers["Call-Id"]


async def test_a_handler_gives_headers(start_mine):
    _, door = await start_mine()
    status, text, headers = await call(door, "any")
    assert (status, text, headers["Content-Type"], headers["Mine"]) == (202, "", "text/x", "1")


async def test_any_token_is_enough_for_a_route(guarded, token, log):
    assert (await call(guarded[1], "any"))[0] == 401
    assert (await call(guarded[1], "any", token=token))[:2] == (202, "holder")
    assert (await call(guarded[1], "any", token=token, room="other"))[0] == 404
    assert lines(log) == [
        ("mine:any", "", "default", "unauthenticated"),
        ("mine:any", "holder", "default", "success"),
        ("mine:any", "holder", "other", "profile-not-found"),
    ]


async def test_a_login_finds_its_caller(guarded, token, log):
    assert (await call(guarded[1], "login", token.encode()))[:2] == (200, "holder ['sign'] holder")
    assert (await call(guarded[1], "login", b"wrong"))[0] == 401
    assert (await call(guarded[1], "login", token.encode(), room="other"))[0] == 404
    assert lines(log) == [
        ("mine:login", "holder", "default", "success"),
        ("mine:login", "", "default", "unauthenticated"),
        ("mine:login", "holder", "other", "profile-not-found"),
    ]
    assert token not in log.read_text()


async def test_only_a_route_for_logins_finds_a_caller(guarded, token, log):
    assert (await call(guarded[1], "wrong", token.encode()))[0] == 500
    assert lines(log) == []


async def test_a_scope_that_the_body_asks_for(guarded, token, log):
    status, text, headers = await call(guarded[1], "asked", b"sign", token=token)
    assert (status, text) == (200, headers["Call-Id"])
    assert (await call(guarded[1], "asked", b"decrypt", token=token))[0] == 403
    assert [outcome for *_, outcome in lines(log)] == ["success", "forbidden"]


async def test_a_jwt_logs_in(start_mine, tmp_path):
    key = SigningKey()
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(orjson.dumps({"keys": [key.jwk]}))
    _, door = await start_mine(
        auth="token", jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_jwks=str(jwks)
    )
    given = key.token({"scope": "sign", "minikms_profiles": ["default"]})
    assert (await call(door, "login", given.encode()))[:2] == (200, "alice ['sign'] alice")


ROLES = (
    """
[roles.pid-issuer]
issuer = "cluster"
claims = { sub = ["alice"] }
scopes = ["sign"]
profiles = ["pid"]
"""
    + SIGNER
)


@pytest.fixture
def key():
    return SigningKey()


@pytest.fixture
async def with_roles(start_mine, admin, log, key, tmp_path):
    file = write_roles(tmp_path, key, ROLES)
    client, door = await start_mine(
        auth="token", admin_token_file=admin[1], audit_log=str(log), roles=file
    )
    headers = {"Authorization": f"Bearer {admin[0]}"}
    async with client.post("/profile", json={"name": "pid"}, headers=headers) as made:
        assert made.status == 200
    return client, door


async def test_a_jwt_logs_in_for_one_role(with_roles, key, log):
    """The token has this role's permissions and profile, though the JWT has both roles."""
    jwt = key.token()
    status, text, _ = await call(with_roles[1], "role", f"pid-issuer {jwt}".encode())
    token, _, facts = text.partition(" ")
    assert (status, facts) == (200, "['cluster', 'alice', 'pid-issuer', 'sign', 'pid']")
    for _ in range(2):  # the second time, the token is in the cache
        assert (await call(with_roles[1], "any", token=token, room="pid"))[0] == 202
        assert (await call(with_roles[1], "asked", b"keys:read", token, "pid"))[0] == 403
        assert (await call(with_roles[1], "any", token=token, room="default"))[0] == 404
    async with with_roles[0].get(
        "/tokens/self", headers={"Authorization": f"Bearer {token}"}
    ) as it:
        assert (await it.json())["scopes"] == ["sign"]
    assert (await call(with_roles[1], "any", token=jwt, room="default"))[0] == 202
    assert lines(log)[0] == ("mine:role", "cluster:alice", "pid", "success")
    assert orjson.loads(log.read_text().splitlines()[-1])["roles"] == ["pid-issuer", "signer"]
    assert jwt.split(".")[2] not in log.read_text()


async def test_a_role_that_the_jwt_does_not_have(with_roles, key, log):
    stranger = key.token({"sub": "bob"})
    for role, jwt in (("signer", stranger), ("\u00e9", key.token()), ("", key.token())):
        status, text, _ = await call(with_roles[1], "role", f"{role} {jwt}".encode())
        assert (status, text) == (403, "forbidden: No role fits the caller.\n")
    assert lines(log)[-1] == ("mine:role", "cluster:alice", "default", "forbidden")


@pytest.mark.parametrize("role", ["signer", "a.b", "signer.", "."])
async def test_a_login_for_a_role_without_a_jwt(with_roles, key, role):
    """Above all, no token for a role logs in for another role."""
    jwts = [f"pid-issuer.{key.token()}", key.token({"exp": 1}), "x" * 17_000, "mine", "..", "...."]
    if role != "signer":
        jwts.append(key.token())
    for jwt in jwts:
        status, _, _ = await call(with_roles[1], "role", f"{role} {jwt}".encode())
        assert status == 401


async def test_a_token_for_a_role_follows_the_file(with_roles, key, tmp_path):
    _, text, _ = await call(with_roles[1], "role", f"signer {key.token()}".encode())
    token = text.split(" ")[0]
    identities = with_roles[0].app[GATE].access.identities
    for roles, status in (("", 403), (SIGNER, 202), (SIGNER.replace("default", "pid"), 404)):
        await identities.renew(write_roles(tmp_path, key, roles))
        assert (await call(with_roles[1], "any", token=token))[0] == status


async def test_a_token_for_a_role_ends_with_its_jwt(with_roles, key, clock):
    _, text, _ = await call(with_roles[1], "role", f"signer {key.token()}".encode())
    token = text.split(" ")[0]
    access = with_roles[0].app[GATE].access
    assert access.authenticate_cached(f"Bearer {token}").roles == ("signer",)
    clock(61)
    assert access.authenticate_cached(f"Bearer {token}") is None


async def test_roles_do_not_apply_to_other_tokens(start_mine, admin, key, tmp_path):
    (tmp_path / "own").mkdir()
    own = SigningKey()
    jwks = tmp_path / "own" / "jwks.json"
    jwks.write_bytes(orjson.dumps({"keys": [own.jwk]}))
    url = "https://own.example"
    options = {"jwt_issuer": url, "jwt_audience": AUDIENCE, "jwt_jwks": str(jwks)}
    _, door = await start_mine(
        auth="token", admin_token_file=admin[1], roles=write_roles(tmp_path, key), **options
    )
    may = {"iss": url, "scope": "sign", "minikms_profiles": ["default"]}
    jwt = own.token(may)
    status, text, _ = await call(door, "role", f"signer {jwt}".encode())
    assert (status, text) == (200, f"{jwt} ['', '', 'sign', 'default']")
    assert (await call(door, "any", token=jwt))[0] == 202
    assert (await call(door, "any", token=f"signer.{jwt}"))[0] == 401


async def test_without_tokens_everybody_logs_in(start_mine):
    _, door = await start_mine()
    assert (await call(door, "login", b"anything"))[0] == 200
    assert (await call(door, "asked", b"decrypt"))[0] == 200
