"""A door of another package can use all that the interface offers."""

import asyncio
import base64
import contextlib
import http.client
import logging
import re
from urllib.parse import urlsplit

import orjson
import pytest
from aiohttp import ClientSession
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ed25519
from ports import free_port

from minikms.cli import door_options
from minikms.cli.main import main
from minikms.encodings import b64url_decode
from minikms.http.state import IN_FLIGHT


async def test_a_key_of_the_door_is_a_key_of_the_service(opened):
    client, door = await opened()
    made = await door.post("/keys", headers={"Key": "mine"})
    assert made.status == 200, await made.text()
    key = await (await client.get("/key", params={"alias": "mine"})).json()
    assert (await made.text()).strip() == key["kid"]
    public = ed25519.Ed25519PublicKey.from_public_bytes(b64url_decode(key["jwk"]["x"]))
    for _ in range(3):  # from the store, then from the cache
        signed = await door.post("/sign", headers={"Key": "mine"}, data=b"hello")
        public.verify(base64.b64decode(await signed.text()), b"hello")
    assert signed.headers["Content-Type"] == "text/plain"
    assert signed.headers["Cache-Control"] == "no-store"
    assert signed.headers["Call-Id"]
    assert "X-Request-Id" not in signed.headers
    disabled = await client.patch(f"/key/{key['kid']}", json={"state": "disabled"})
    assert disabled.status == 200
    refused = await door.post("/sign", headers={"Key": "mine"}, data=b"hello")
    assert (refused.status, await refused.text()) == (409, "key-not-usable: The key is disabled.\n")


@pytest.mark.parametrize(
    ("method", "path", "headers", "answer"),
    [
        ("POST", "/nowhere", {}, (404, "route-not-found")),
        ("GET", "/sign", {}, (404, "route-not-found")),
        ("POST", "/sign", {"Key": "Ä"}, (422, "validation-failed")),
        ("POST", "/sign", {"Key": "none"}, (404, "alias-not-found")),
        ("POST", "/sign", {"Key": "none", "Room": "no"}, (404, "profile-not-found")),
        ("POST", "/sign", {"Key": "none", "Room": "a b"}, (404, "profile-not-found")),
        ("POST", "/sign", {"Key": "none", "Room": "a" * 129}, (404, "profile-not-found")),
        ("POST", "/sign", {"Host": "evil.example"}, (421, "misdirected-request")),
        ("POST", "/nowhere", {"Host": "evil.example"}, (421, "misdirected-request")),
    ],
)
async def test_errors_have_the_form_of_the_door(opened, method, path, headers, answer):
    _, door = await opened()
    response = await door.request(method, path, headers=headers, data=b"hello")
    assert (response.status, (await response.text()).split(":")[0]) == answer
    assert response.headers["Content-Type"] == "text/plain"
    assert response.headers["Call-Id"]


@pytest.mark.parametrize(
    ("sent", "status", "slug"),
    [
        (b"POST /sign HTTP/1.1\r\nHost\r\n\r\n", 400, b"bad-request"),
        (b"GARBAGE\r\n\r\n", 400, b"bad-request"),
        (b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\n\r\n", 431, b"headers-too-large"),
        (
            b"POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n",
            413,
            b"body-too-large",
        ),
        (
            b"POST /sign HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
            b"Content-Length: 2000000\r\n\r\n",
            413,
            b"body-too-large",
        ),
    ],
    ids=["header", "garbage", "path", "length", "expected"],
)
async def test_unparsable_requests_are_answered_in_the_form_of_the_door(opened, sent, status, slug):
    _, door = await opened()
    reader, writer = await asyncio.open_connection(door._base_url.host, door._base_url.port)
    writer.write(sent)
    head = await reader.readuntil(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert b"\r\nContent-Type: text/plain\r\n" in head
    assert b"\r\nCall-Id: " in head
    assert (await reader.read(len(slug))) == slug
    writer.close()


async def test_tokens_scopes_and_profiles(opened, tmp_path, admin):
    token, file = admin
    log = tmp_path / "audit.log"
    client, door = await opened(auth="token", admin_token_file=file, audit_log=str(log))
    headers = {"Authorization": f"Bearer {token}"}
    for body in ({"name": "alice"}, {"name": "bob"}):
        assert (await client.post("/profile", json=body, headers=headers)).status == 200
    body = {"name": "signer", "scopes": ["sign"], "profiles": ["alice"]}
    made = await client.post("/tokens", json=body, headers=headers)
    signer = (await made.json())["token"]

    async def call(path, **headers):
        response = await door.post(path, headers=headers, data=b"hello")
        return response.status, (await response.text()).split(":")[0].strip()

    assert await call("/sign", Key="k") == (401, "unauthenticated")
    assert await call("/sign", Key="k", Token="wrong") == (401, "unauthenticated")
    # Only the door knows the place of the token in a request.
    response = await door.post("/sign", headers={"Key": "k", **headers})
    assert response.status == 401
    assert await call("/keys", Key="k", Token=signer, Room="alice") == (403, "forbidden")
    assert (await call("/keys", Key="k", Token=token, Room="alice"))[0] == 200
    for _ in range(2):
        assert (await call("/sign", Key="k", Token=signer, Room="alice"))[0] == 200
    for room in ("bob", "nobody"):
        refused = await call("/sign", Key="k", Token=signer, Room=room)
        assert refused == (404, "profile-not-found")

    lines = [orjson.loads(line) for line in log.read_text().splitlines()]
    seen = [
        (line["operation"], line["who"], line["profile"], line["outcome"])
        for line in lines
        if line.get("operation", "").startswith("plain:")
    ]
    assert seen == [
        ("plain:sign", "", "default", "unauthenticated"),
        ("plain:sign", "", "default", "unauthenticated"),
        ("plain:sign", "", "default", "unauthenticated"),
        ("plain:makeKey", "signer", "alice", "forbidden"),
        ("plain:makeKey", "admin", "alice", "success"),
        ("plain:sign", "signer", "alice", "success"),
        ("plain:sign", "signer", "alice", "success"),
        ("plain:sign", "signer", "bob", "profile-not-found"),
        ("plain:sign", "signer", "nobody", "profile-not-found"),
    ]
    assert token not in log.read_text()


async def test_calls_of_a_door_count_as_in_flight(opened):
    client, door = await opened(max_in_flight=1)
    client.app[IN_FLIGHT].enter()
    refused = await door.post("/sign", headers={"Key": "mine"})
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    assert (await refused.text()).startswith("too-busy: ")


async def test_the_log_names_the_operation(opened, caplog):
    caplog.set_level(logging.INFO, "minikms.access")
    _, door = await opened()
    await door.post("/keys", headers={"Key": "mine"})
    (line,) = [each for each in caplog.records if each.name == "minikms.access"]
    assert line.route == "plain:makeKey"
    assert line.getMessage().startswith("POST /keys plain:makeKey 200 ")


@pytest.mark.process
@pytest.mark.parametrize("workers", [1, 2])
def test_a_running_service_opens_the_sample_door(plain, serve, workers):
    service = serve("--port", "0", "--plain-port", "0", "--workers", str(workers), wait=False)
    service.wait_until_it_listens()
    line = service.read_until("plain text on ")
    port = int(re.search(r"plain text on http://127\.0\.0\.1:(\d+)$", line.strip())[1])

    def call(path):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", path, b"hello", {"Key": "mine"})
            response = connection.getresponse()
            response.read()
            return response.status

    assert call("/keys") == 200
    assert [call("/sign") for _ in range(8)] == [200] * 8
    assert service.status("GET", "/key?alias=mine") == 200
    code, written = service.stop()
    assert code == 0
    assert "rror" not in written


@pytest.mark.process
def test_metrics_name_the_door(plain, serve):
    ports = "--port", "0", "--plain-port", "0", "--metrics-port", str(free_port())
    service = serve(*ports, wait=False)
    service.read_until("metrics on ")
    service.wait_until_it_listens()
    port = int(service.read_until("plain text on ").strip().rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/keys", headers={"Key": "mine"})
        assert connection.getresponse().status == 200
    labels = {"operation": "plain:makeKey", "alg": "ed25519", "outcome": "success"}
    assert service.metrics()["operations_total", frozenset(labels.items())] == 1


@pytest.mark.process
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_of_a_door_that_is_taken(plain, run, free_port, workers):
    taken = "--port", "0", "--plain-port", free_port, "--metrics-port", free_port
    done = run("serve", *taken, "--workers", workers)
    assert done.returncode == 1
    assert f"minikms: Cannot listen on 127.0.0.1:{free_port}: " in done.stderr


def test_the_help_has_its_options(plain):
    door_options._door_options.cache_clear()
    shown = " ".join(CliRunner().invoke(main, ["serve", "--help"]).output.split())
    door_options._door_options.cache_clear()
    assert "--plain-port NUMBER Port of plain text; 0 takes a free one." in shown
    assert "[env var: MINIKMS_PLAIN_ALG; default: ed25519]" in shown


async def test_a_call_for_another_host_is_recorded(opened, tmp_path):
    log = tmp_path / "audit.log"
    _, door = await opened(audit_log=str(log))
    await door.post("/sign", headers={"Key": "mine", "Host": "evil.example"})
    line = orjson.loads(log.read_text().splitlines()[-1])
    assert (line["operation"], line["outcome"]) == ("plain:sign", "misdirected-request")


BY_REQUEST = """
from minikms_plain import *

class Mine(PlainDoor):
    name = "mine"

    def answer_to(self, request, error):
        text = f"{request.method} {request.path}: {error.slug}"
        return ErrorAnswer(error.status, text.encode(), {})
"""


async def test_an_error_may_have_the_form_of_its_request(install, start_with_doors):
    install(BY_REQUEST)
    _, urls = await start_with_doors("mine", door_options={"mine": {"alg": "ed25519"}})
    async with ClientSession(urls["mine"]) as door:
        for path, slug in (("/nowhere", "route-not-found"), ("/sign", "validation-failed")):
            async with door.post(path) as answer:
                assert await answer.text() == f"POST {path}: {slug}"
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(urls["mine"]).port)
    writer.write(b"GARBAGE\r\n\r\n")
    assert (await reader.read()).endswith(b"UNKNOWN /: bad-request")
    writer.close()
