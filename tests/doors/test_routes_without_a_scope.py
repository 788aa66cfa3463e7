"""Routes of a door that need no scope, and handlers that answer with a status."""

import contextlib

import orjson
import pytest
from access.jwt_issuer import AUDIENCE, ISSUER, SigningKey
from aiohttp import ClientSession

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
            DoorRoute("asked", ANY_TOKEN, self._asked),
        ]

    def route_of(self, request):
        return next(each for each in self.routes if each.operation == request.path[1:])

    async def _open(self, call):
        return DoorAnswer(int(call.body or b"204"), b"text" if call.body else b"")

    async def _login(self, call):
        caller = await call.authenticate(call.body.decode())
        return f"{caller.name} {sorted(caller.scopes)} {call.caller.name}".encode()

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


async def test_without_tokens_everybody_logs_in(start_mine):
    _, door = await start_mine()
    assert (await call(door, "login", b"anything"))[0] == 200
    assert (await call(door, "asked", b"decrypt"))[0] == 200
