"""HTTP that does not parse: a problem, the connection ends, and the service goes on."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from waiting import waiting_for

from minikms.config import Config
from minikms.serve.assembly import create_service

REQUEST = b"POST /key/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
CHUNKED = REQUEST + b"Transfer-Encoding: chunked\r\n\r\n"
LIST = b"GET /keys HTTP/1.1\r\nHost: localhost\r\n"
MARK = b"planted-7f3a"

UNREADABLE = {
    "bytes": b"\x00\x01\x02" + MARK + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + MARK + b"\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown version": b"GET /" + MARK + b" HTTP/9.9\r\n\r\n",
    "a method in small letters": MARK + b" /keys HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a NUL in the method": b"G\x00T /keys HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a NUL in the path": b"GET /" + MARK + b"\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a space in the path": b"GET /a " + MARK + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "Latin-1 in the path": b"GET /key/\xe9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "UTF-8 in the query": b"GET /key?alias=\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a surrogate in the query": b"GET /key?alias=\xed\xa0\x80 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a host that is none": b"GET http://[::1/keys HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no host": b"GET /keys HTTP/1.1\r\n\r\n",
    "500 headers": LIST + b"".join(b"X-%d: 1\r\n" % n for n in range(500)) + b"\r\n",
    "a header without a colon": LIST + MARK + b"\r\n\r\n",
    "a NUL in a header": LIST + b"X-Profile: default\x00" + MARK + b"\r\n\r\n",
    "a control character in a header": LIST + b"X-Request-Id: a\x01\r\n\r\n",
    "a folded header": LIST + b"X-Profile: default\r\n " + MARK + b"\r\n\r\n",
    "a space before the colon": LIST + b"X-Profile : default\r\n\r\n",
    "two content types": REQUEST + b"Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
    "two lengths": REQUEST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "a negative length": REQUEST + b"Content-Length: -1\r\n\r\n",
    "a length that is none": REQUEST + b"Content-Length: abc\r\n\r\n",
    "a length too large": REQUEST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "a length and chunks": REQUEST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another transfer encoding": REQUEST + b"Transfer-Encoding: foo\r\n\r\n",
    "a chunk of no size": CHUNKED + b"zz\r\n" + MARK,
    "a second chunk of no size": CHUNKED + b"1\r\n{\r\nzz\r\n" + MARK,
    "a chunk of a size too large": CHUNKED + b"f" * 30 + b"\r\n{",
}


# To the parser in Python, numbers of any size are numbers.
NUMBERS = {
    "a length too large": (413, "body-too-large"),
    "a chunk of a size too large": (408, "request-timeout"),
}


@pytest.fixture(params=[False, True], ids=["C", "Python"])
async def client(start, request):
    """A client of a service with aiohttp's parser in C, or the one of doors that take LIST."""
    client = await start(create_service(Config(body_timeout=1)), list_method=request.param)
    client.different = NUMBERS if request.param else {}
    return client


async def test_a_request_that_does_not_parse_is_refused(client, connect):
    for name, data in UNREADABLE.items():
        connection = await connect()
        connection.writer.write(data)
        response = await connection.receive()
        expected = client.different.get(name, (400, "bad-request"))
        assert (name, *response.problem()) == (name, *expected)
        assert MARK not in response.body
        assert await connection.at_end(), name
        assert (await (await connect()).call("GET", "/readyz")).status == 200


async def test_chunked_bodies_are_read_and_bounded(connection):
    connection.writer.write(CHUNKED + b'5\r\n{"alg\r\nc\r\n":"ed25519"}\r\n0\r\n\r\n')
    assert (await connection.receive()).status == 200
    size = 2 * 1024 * 1024
    connection.writer.write(CHUNKED + b"%x\r\n" % size + b" " * size + b"\r\n0\r\n\r\n")
    assert (await connection.receive()).problem() == (413, "body-too-large")
    assert (await connection.call("GET", "/keys")).status == 200


async def test_a_body_that_breaks_off_while_it_is_read(connection):
    # Only once the handler waits for the body is the interim answer sent.
    connection.writer.write(CHUNKED[:-2] + b"Expect: 100-continue\r\n\r\n")
    assert (await connection.receive()).status == 100
    connection.writer.write(b'5\r\n{"alg\r\nzz\r\n')
    assert (await connection.receive()).problem() == (400, "bad-request")
    assert await connection.at_end()


@pytest.mark.parametrize("sent", [b"", b'{"alg'])
async def test_a_caller_that_leaves_within_a_body_is_no_failure(connect, caplog, sent):
    connection = await connect()
    connection.writer.write(REQUEST + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
    assert (await connection.receive()).status == 100
    connection.writer.write(sent)
    connection.writer.close()
    await connection.writer.wait_closed()
    assert (await (await connect()).call("GET", "/keys")).body == b"[]\n"
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_broken_request_behind_a_good_one(connection):
    connection.writer.write(LIST + b"\r\n")
    assert (await connection.receive()).status == 200
    connection.writer.write(b"\x00\r\n\r\n")
    assert (await connection.receive()).problem() == (400, "bad-request")
    assert await connection.at_end()


async def test_requests_may_follow_each_other_at_once(connection):
    connection.writer.write((LIST + b"\r\n") * 20)
    assert [(await connection.receive()).status for _ in range(20)] == [200] * 20


async def test_other_forms_of_a_request(connect):
    connection = await connect()
    connection.writer.write(b"GET http://kms/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await connection.receive()).status == 200
    connection.writer.write(b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (await connection.receive()).problem() == (404, "route-not-found")
    connection.writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (await connection.receive()).status == 200
    assert await connection.at_end()


UPGRADES = {
    "HTTP/2": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n",
    "WebSocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    "both": b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c, websocket\r\n",
}


BODY = b'{"alg":"ed25519"}'


# aiohttp 3.14.1 does not read the body of a request for a WebSocket.
@pytest.mark.parametrize("client", [False], ids=["C"], indirect=True)
@pytest.mark.parametrize(
    ("name", "body"), [*((name, b"") for name in UPGRADES), ("HTTP/2", BODY), ("both", BODY)]
)
@pytest.mark.parametrize("pieces", [1, 2, 3])
async def test_an_upgrade_that_is_declined(client, name, body, pieces):
    """Nothing that is behind it is answered, so that no answer stands in another's place."""
    first = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    upgrade = (REQUEST if body else LIST) + UPGRADES[name]
    if body:
        upgrade += b"Content-Length: %d\r\n" % len(body)
    behind = b"GET /algorithms HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2
    parts = {
        1: [first + upgrade + b"\r\n" + body + behind],
        2: [first + upgrade + b"\r\n" + body, behind],
        3: [first, upgrade + b"\r\n" + body[:5], body[5:] + behind],
    }[pieces]
    _, first, last = (await _received(client, parts)).split(b"HTTP/1.1 ")
    assert (first[:3], last[:3], b"Connection:" in first) == (b"200", b"200", False)
    head, _, content = last.partition(b"\r\n\r\n")
    assert b"Connection: close" in head.splitlines()
    assert (b"kid" in content) if body else (content == b"[]\n")


@pytest.mark.parametrize("client", [True], ids=["Python"], indirect=True)
@pytest.mark.parametrize("name", UPGRADES)
async def test_each_answer_behind_a_declined_upgrade_belongs_to_its_request(client, name):
    """The parser also reads the requests after an upgrade to HTTP/2."""
    upgrade = LIST + UPGRADES[name] + b"\r\n"
    behind = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
    sent = [upgrade + behind + b"\r\n" + behind + b"Connection: close\r\n\r\n"]
    _, *answers = (await _received(client, sent)).split(b"HTTP/1.1 ")
    bodies = [answer.partition(b"\r\n\r\n")[2] for answer in answers]
    assert bodies[0] == b"[]\n"
    assert len(bodies) == (1 if name == "WebSocket" else 3)
    assert all(b"alive" in body for body in bodies[1:])


async def _received(client: Any, parts: list[bytes]) -> bytes:
    """Send these parts over a connection, and read to its end."""
    received, loop = b"", asyncio.get_running_loop()
    with socket.socket() as caller:
        caller.setblocking(False)
        await loop.sock_connect(caller, (client.host, client.port))
        for part in parts:
            await loop.sock_sendall(caller, part)
            await asyncio.sleep(0.02)
        # If the service closes before it has read everything, its system resets the connection.
        # Earlier data stays in the socket, but an asyncio stream would not return it.
        async with waiting_for("the end of a connection"):
            with contextlib.suppress(ConnectionResetError):
                while data := await loop.sock_recv(caller, 65536):
                    received += data
    return received


async def test_a_tunnel_that_is_declined(connection):
    connection.writer.write(b"CONNECT kms:443 HTTP/1.1\r\nHost: localhost\r\n\r\n" + LIST + b"\r\n")
    answer = await connection.receive()
    assert answer.problem() == (404, "route-not-found")
    assert answer.headers["Connection"] == "close"
    assert await connection.at_end()
