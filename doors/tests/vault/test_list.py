"""Lists at the Vault door: the method LIST, and a GET that asks for one."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest

EMPTY = (404, {"errors": []})


@pytest.fixture
async def listed(vault):
    """A door with two keys."""
    for name in ("b", "a"):
        await vault.data("POST", f"transit/keys/{name}", {"type": "ed25519"})
    return vault


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("LIST", "transit/keys"),
        ("LIST", "transit/keys/"),
        ("GET", "transit/keys?list=true"),
        ("GET", "transit/keys/?list=true"),
        ("GET", "transit/keys?list=1"),
    ],
)
async def test_names_are_listed(listed, method, path):
    assert await listed.data(method, path) == {"keys": ["a", "b"]}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "transit/keys"),
        ("GET", "transit/keys?list=false"),
        ("POST", "transit/keys"),
        ("LIST", "transit/keys/a"),
        ("LIST", "transit/sign/a"),
        ("LIST", "sys/health"),
        ("LINK", "transit/keys"),
    ],
)
async def test_there_is_nothing_to_list(listed, method, path):
    status, answer = await listed.call(method, path)
    assert (status, len(answer["errors"])) == (405, 1)


async def test_an_empty_list_is_404(vault):
    assert await vault.call("LIST", "transit/keys") == EMPTY


async def test_a_list_needs_a_token_and_its_scope(guarded, issue, audit_lines):
    assert (await guarded.call("LIST", "transit/keys"))[0] == 403
    assert (await guarded.call("LIST", "transit/keys", token=await issue("sign")))[0] == 403
    assert await guarded.call("LIST", "transit/keys", token=await issue("keys:read")) == EMPTY
    assert [line["operation"] for line in audit_lines()] == ["vault:listKeys"] * 3


async def test_a_list_between_signatures_on_one_connection(listed):
    body = b'{"input":"TElTVCA="}'
    sign = (
        b"POST /v1/transit/sign/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n" + body
    )
    names = b"LIST /v1/transit/keys HTTP/1.1\r\nHost: localhost\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(listed.url).port)
    calls = [sign, names, sign, names, names]
    for pipelined in (False, True):
        if pipelined:
            writer.write(b"".join(calls))
        for call in calls:
            if not pipelined:
                writer.write(call)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            data = json.loads(await reader.readexactly(length))["data"]
            assert "signature" in data if call == sign else data == {"keys": ["a", "b"]}
    writer.close()
