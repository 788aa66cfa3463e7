"""The calls of doors/tests/vault_calls with something wrong in each: refused, and not failed."""

import json
from collections import Counter
from random import Random
from urllib.parse import quote

import pytest
from vault_calls import GROUPS
from yarl import URL

_DEEP = b'{"input":' + b"[" * 500 + b"]" * 500 + b"}"
VALUES = (
    None,
    True,
    0,
    -1,
    2**31,
    2**63,
    -(2**63) - 1,
    1e308,
    0.5,
    "",
    "\0",
    "é",
    "\ud83d\ude00",
    "%00",
    "a" * 5000,
    "vault:v1:",
    "vault:v999999999999:AAAA",
    "vault:v99999999999999999999999:AAAA",
    "vault:v-1:AAAA",
    "vault:v01:AAAA",
    "vault:v\u0661:AAAA",
    "vault:v1_0:AAAA",
    "vault:v 1:AAAA",
    "١",
    "1_0",
    " 1",
    "nan",
    "inf",
    [],
    {},
    [None],
    [[]],
    [{}],
    [{"": None}],
    {"a": {"b": []}},
    [{"input": "aGVsbG8="}] * 300,
)
SEGMENTS = ("", ".", "..", "%2e%2e", "%2F", "%00", "%ff", "é", "a" * 300, "1", "-1", "config", "*")
RAW = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe",
    b'{"input":"\xff"}',
    b'{"a":1,"a":2}',
    b"\xef\xbb\xbf{}",
    b"NaN",
    _DEEP,
    b'{"input":"\\ud800"}',
    b" " * 1000 + b"{}",
)
BODIES = [call.body for calls in GROUPS.values() for call in calls if isinstance(call.body, dict)]
MEMBERS = sorted({name for body in BODIES for name in body})


def damaged(call, random):
    """A call with something wrong."""
    method, path, body = call.method, call.path, call.body
    kind = random.choice(("value", "value", "value", "member", "batch", "path", "raw", "method"))
    if kind == "raw" or not isinstance(body, dict):
        body = random.choice(RAW)
    elif kind == "value" and body:
        body = {**body, random.choice(sorted(body)): random.choice(VALUES)}
    elif kind == "member":
        body = {**body, random.choice(MEMBERS): random.choice(VALUES)}
    elif kind == "batch":
        items = random.choices([body, {}, *VALUES], k=3)
        body = {**body, "batch_input": random.choice([items, [{**body, "key_version": 9}]])}
    elif kind == "path":
        segments = path.split("/")
        segments[random.randrange(1, len(segments) + 1) - 1] = random.choice(SEGMENTS)
        path = "/".join(segments)
    else:
        method = random.choice(("GET", "LIST", "POST", "PUT", "DELETE", "HEAD", "PATCH", "SCAN"))
    sent = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
    return method, path, sent


def require(status, text):
    """Fail if an answer is not one of Vault's."""
    assert status in (200, 202, 204, 400, 403, 404, 405, 413)
    if status >= 400 and text:
        answer = json.loads(text)
        if "batch_results" not in (answer.get("data") or {}):
            assert answer.keys() == {"errors"}
            assert all(type(each) is str for each in answer["errors"])
    elif text:
        json.loads(text)


@pytest.mark.parametrize(
    "number", [1, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(300)])]
)
async def test_damaged_calls_are_refused(vault, number):
    """Each call is made as it is, and `number` times with something wrong."""
    kept, outcomes, random = {}, Counter(), Random(31)

    async def send(method, path, sent, headers):
        url = URL(f"{vault.url}/v1/{quote(path, safe='/%?=&')}", encoded=True)
        async with vault.session.request(method, url, data=sent, headers=headers) as answer:
            text = await answer.text()
        require(answer.status, text)
        outcomes[answer.status] += 1
        return text

    for call in (call for calls in GROUPS.values() for call in calls):
        filled = call.filled(kept)
        body = filled.body
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        text = await send(filled.method, filled.path, sent, filled.headers)
        for name, path in call.keep.items():
            value = json.loads(text)
            for part in path.split("."):
                value = value[int(part)] if isinstance(value, list) else value.get(part, {})
            kept[name] = value or ""
        for _ in range(number):
            method, path, sent = damaged(filled, random)
            try:
                await send(method, path, sent, {})
            except Exception as exc:
                pytest.fail(f"{method} {path} {sent[:500]!r}: {exc!r}")
    assert min(outcomes[200], outcomes[400]) > 100
