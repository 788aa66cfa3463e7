"""Rules of HTTP on every route, tried with the examples of the document."""

import re
from pathlib import Path
from urllib.parse import urlencode

import orjson
import pytest
from web.approvals.approvers import example_of
from web.openapi.openapi_document import sent_in_turn

from minikms.web.routes import ROUTES

BY_NAME = {route.name: route for route in ROUTES}
# The scopes of calls that change nothing.
REPEATABLE = {"sign", "verify", "encrypt", "decrypt", "wrap", "derive", "mac"}
API = Path(__file__).parents[3] / "docs/http-api.md"


@pytest.fixture
def examples(client):
    """Every call with each of its examples, in an order in which each succeeds."""

    async def calls():
        document = await (await client.get("/openapi.json")).json()
        token = ""
        for name, method, path, query, body in sent_in_turn(document):
            if name == "revokeToken":
                made = await client.post("/tokens", json={"name": "t", "scopes": ["sign"]})
                token = (await made.json())["record"]["id"]
                path = f"/tokens/{token}"
            path, body = await example_of(client, name, path, body)
            target = f"{path}?{urlencode(query)}" if query else path
            yield name, method, target, b"" if body is None else orjson.dumps(body)

    return calls


def send(connection, method, target, body, host="localhost"):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json", "", ""] if body else ["", ""]
    connection.writer.write("\r\n".join(lines).encode() + body)


async def test_head_equals_get_without_its_body(connect, examples):
    connection, seen = await connect(), set()
    async for name, method, target, body in examples():
        send(connection, method, target, body)
        answer = await connection.receive()
        assert (answer.status, name) == (200, name), answer.body
        if method == "GET":
            send(connection, "HEAD", target, b"")
            head = await connection.receive(body=False)
            assert head.status == 200
            for header in ("Content-Length", "Content-Type", "ETag", "Cache-Control", "Link"):
                assert head.headers.get(header) == answer.headers.get(header), (name, header)
            seen.add(name)
    assert seen == {route.name for route in ROUTES if route.method == "GET"}


async def test_no_cache_keeps_a_secret(connect, examples):
    """Operations are sent twice, so that their batch answers the second."""
    connection, seen = await connect(), set()
    async for name, method, target, body in examples():
        for _ in range(2 if BY_NAME[name].scope in REPEATABLE else 1):
            send(connection, method, target, body)
            answer = await connection.receive()
            assert (answer.status, name) == (200, name), answer.body
            kept = answer.headers.get("Cache-Control")
            assert (kept == "no-store") == BY_NAME[name].secret, (name, kept)
        seen.add(name)
    assert seen == BY_NAME.keys()


def test_the_document_lists_the_answers_that_no_cache_keeps():
    paths = {route.path: f"{route.method} {route.path}" for route in ROUTES if route.secret}
    listed = re.search(r"\*\*Caching\.\*\*[^(]*\(([^)]*)\)", API.read_text())[1]
    names = set(re.findall(r"`([^`]+)`", listed))
    expected = {
        "POST /tokens" if path == "/tokens" else path.removeprefix("/").rpartition("}/")[2]
        for path in paths
    }
    assert names == expected


async def test_another_host_is_refused(connect, examples):
    connection, seen = await connect(), set()
    async for name, method, target, body in examples():
        send(connection, method, target, body, host="rebound.example")
        assert (await connection.receive()).problem(method, target) == (
            421,
            "misdirected-request",
        ), name
        if method == "GET":
            send(connection, "HEAD", target, b"", host="rebound.example")
            assert (await connection.receive(body=False)).status == 421
        seen.add(name)
    assert seen == BY_NAME.keys()
