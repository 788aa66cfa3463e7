"""Callers who ask for too much at once, send too much, or take too long for it."""

import asyncio
import contextlib
import gc
import re
import socket
import time
from pathlib import Path

import pytest
from aiohttp import web
from http_answers import endless
from problems import refused
from waiting import until

from minikms.algorithms.rsa import RsaAlgorithm
from minikms.config import Config
from minikms.http.gate import GATE
from minikms.http.places import Places
from minikms.http.state import IN_FLIGHT
from minikms.serve.assembly import create_service

GENERATE = b"POST /key/generate HTTP/1.1\r\nHost: localhost\r\n"
BODY = b'{"alg":"ed25519"}'
JSON = {"Content-Type": "application/json"}
LIST = b"GET /keys HTTP/1.1\r\nHost: localhost\r\n"
# Long enough to see that nothing happens, and a short wait for things that happen.
SOON = 0.2
NEVER = 600


def limits(**options):
    """Run the test with a client of a service that has these limits."""
    defaults = {"header_timeout": NEVER, "body_timeout": NEVER, "idle_timeout": NEVER}
    return pytest.mark.parametrize("client", [defaults | options], indirect=True)


async def wait(request):
    """A call that is under way until the test says otherwise."""
    await request.app[GO_ON].wait()
    return web.Response()


GO_ON = web.AppKey("go_on", asyncio.Event)


@pytest.fixture(params=[False, True], ids=["C", "Python"])
def list_method(request):
    """Whether the service uses the Python parser, which accepts LIST, or the parser in C."""
    return request.param


@pytest.fixture
async def client(start, request, monkeypatch, list_method):
    # How long a refused connection stays open while the client sends more than is read.
    monkeypatch.setattr("minikms.http.server._LINGERING", SOON)
    app = create_service(Config(**request.param))
    app[GO_ON] = asyncio.Event()
    app.router.add_route("GET", "/wait", app[GATE].counted(wait))
    app.router.add_route("GET", "/endless", app[GATE].counted(endless))
    return await start(app, list_method=list_method)


async def trickle(connection, data=b"a"):
    """Send a byte now and then until the other side has enough."""
    while not connection.writer.transport.is_closing():
        connection.writer.write(data)
        await asyncio.sleep(SOON / 10)


async def ends(connection):
    """Check that the other side closes, even if it has not read everything."""
    with contextlib.suppress(ConnectionResetError):
        return await connection.at_end()
    return True


# Time


@limits(header_timeout=SOON)
async def test_a_silent_connection_is_closed_without_an_answer(connection):
    assert await connection.at_end()


@limits(header_timeout=SOON)
@pytest.mark.parametrize("begin", [b"GET /", LIST, LIST + b"X-A: "])
async def test_headers_that_come_slowly(connection, begin):
    connection.writer.write(begin)
    sending = asyncio.create_task(trickle(connection))
    assert (await connection.receive()).problem() == (408, "request-timeout")
    assert await ends(connection)
    await sending


@limits(header_timeout=SOON)
async def test_headers_that_stop_coming(connection):
    connection.writer.write(LIST)
    assert (await connection.receive()).problem() == (408, "request-timeout")
    assert await connection.at_end()


@limits(header_timeout=SOON)
async def test_headers_of_a_second_request_have_as_long(connection):
    assert (await connection.call("GET", "/healthz")).status == 200
    await asyncio.sleep(2 * SOON)  # nothing is under way, so nothing is late
    assert (await connection.call("GET", "/healthz")).status == 200
    connection.writer.write(LIST)
    sending = asyncio.create_task(trickle(connection))
    assert (await connection.receive()).problem() == (408, "request-timeout")
    assert await ends(connection)
    await sending


@limits(header_timeout=SOON)
async def test_headers_that_come_in_pieces_in_time(connection):
    for _ in range(3):
        for piece in (b"GET /healthz HT", b"TP/1.1\r\nHost: localhost\r\n", b"\r\n"):
            connection.writer.write(piece)
            await asyncio.sleep(0.01)
        assert (await connection.receive()).status == 200
    await asyncio.sleep(2 * SOON)
    assert (await connection.call("GET", "/healthz")).status == 200


@limits(idle_timeout=SOON)
async def test_a_connection_that_is_idle(connection):
    assert (await connection.call("GET", "/healthz")).status == 200
    assert await connection.at_end()


@limits(body_timeout=SOON)
@pytest.mark.parametrize(
    "headers", [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n"]
)
async def test_a_body_that_comes_slowly(client, connection, headers):
    connection.writer.write(GENERATE + headers)
    sending = asyncio.create_task(trickle(connection, b" "))
    assert (await connection.receive()).problem() == (408, "request-timeout")
    assert await ends(connection)
    await sending
    assert (await client.get("/keys")).status == 200


@limits(body_timeout=SOON)
async def test_a_body_that_was_asked_for_and_never_comes(connection):
    connection.writer.write(GENERATE + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n")
    assert (await connection.receive()).status == 100
    assert (await connection.receive()).problem() == (408, "request-timeout")
    assert await connection.at_end()


@limits()
async def test_a_body_is_not_asked_for_in_http_1_0(connection):
    """RFC 9110 section 10.1.1: a server ignores the expectation there."""
    head = GENERATE.replace(b"HTTP/1.1", b"HTTP/1.0") + b"Expect: 100-continue\r\n"
    connection.writer.write(head + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    assert (await connection.receive()).status == 200


@limits()
async def test_a_body_that_comes_in_pieces_in_time(connection):
    connection.writer.write(GENERATE + b"Content-Length: %d\r\n\r\n" % len(BODY))
    for byte in BODY:
        await asyncio.sleep(0.001)
        connection.writer.write(bytes([byte]))
    assert (await connection.receive()).status == 200
    assert (await connection.call("GET", "/keys")).status == 200


# Size


@limits(max_body=100)
@pytest.mark.parametrize("headers", [b"", b"Expect: 100-continue\r\n"])
async def test_a_body_is_too_large_before_it_has_come(client, connection, headers):
    connection.writer.write(GENERATE + headers + b"Content-Length: 101\r\n\r\n")
    assert (await connection.receive()).problem() == (413, "body-too-large")
    connection.writer.write(b"{")
    assert await connection.at_end()
    assert (await client.get("/keys")).status == 200


@limits(max_body=100)
async def test_a_body_is_as_large_as_it_may_be(connection):
    body = BODY.ljust(100)
    connection.writer.write(GENERATE + b"Expect: 100-continue\r\nContent-Length: 100\r\n\r\n")
    assert (await connection.receive()).status == 100
    connection.writer.write(body)
    assert (await connection.receive()).status == 200
    # The rest of a refused body is received, so that the connection can go on.
    response = await connection.call("POST", "/key/generate", body + b" ")
    assert response.problem() == (413, "body-too-large")
    assert (await connection.call("GET", "/keys")).status == 200


def requests():
    return [at for at in gc.get_objects() if isinstance(at, web.Request)]


@limits(max_body=100)
async def test_nothing_of_a_refused_call_stays(client):
    # Garbage in a reference cycle waits for the collector, which counts objects, not bytes.
    refused = {
        413: ("POST", "/key/generate", BODY.ljust(101)),
        400: ("POST", "/key/generate", b"{"),
        422: ("POST", "/key/generate", b"{}"),
        404: ("GET", "/key/none", b""),
        405: ("PUT", "/keys", b""),
    }
    gc.collect()
    gc.disable()
    others = requests()  # of services that tests share: the last of each connection
    try:
        for status, (method, path, body) in refused.items():
            async with client.request(method, path, data=body, headers=JSON) as response:
                assert response.status == status
        assert (await client.head("/healthz")).status == 200  # which no batch answers
        left = [at.path for at in requests() if at not in others]
    finally:
        gc.enable()
    assert set(left) <= {"/healthz"}


@limits(max_header=300)
@pytest.mark.parametrize("pieces", [1, 7])
async def test_headers_have_a_largest_size(connect, pieces):
    async def answer(head):
        connection = await connect()
        size = -(-len(head) // pieces)
        for start in range(0, len(head), size):
            connection.writer.write(head[start : start + size])
            await asyncio.sleep(0.01)
        response = await connection.receive()
        if response.status != 200:
            assert await connection.at_end()
        return response

    for head in (
        b"GET /keys?alias=%b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        LIST + b"X-A: %b\r\n\r\n",
        LIST + b"%b: a\r\n\r\n",
    ):
        assert (await answer(head % (b"a" * 250))).status == 200
        large = await answer(head % (b"a" * 310))
        assert large.problem() == (431, "headers-too-large")
        assert b"aaa" not in large.body


@limits()
async def test_headers_that_are_far_too_large(connect):
    for head in (
        b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        LIST + b"X-A: " + b"a" * 60_000 + b"\r\n\r\n",
    ):
        connection = await connect()
        connection.writer.write(head)
        assert (await connection.receive()).problem() == (431, "headers-too-large")
        assert await connection.at_end()


def head(size, begin=LIST):
    """Make a head of `size` bytes without its end; its headers have almost the maximal length."""
    line = b"X-%05d: " + b"a" * 500 + b"\r\n"
    lines = [begin]
    while size - sum(map(len, lines)) > 1000:
        lines.append(line % len(lines))
    rest = size - sum(map(len, lines)) - len(b"X-Last: \r\n")
    return b"".join([*lines, b"X-Last: " + b"a" * rest + b"\r\n"])


@limits(max_head=8000)
@pytest.mark.parametrize("pieces", [1, 5])
@pytest.mark.parametrize("before", [b"", LIST + b"\r\n"])
async def test_all_headers_together_have_a_largest_size(connect, pieces, before):
    for size, status in ((7990, 200), (8010, 431), (60_000, 431)):
        connection, whole = await connect(), before + head(size) + b"\r\n"
        each = -(-len(whole) // pieces)
        for start in range(0, len(whole), each):
            connection.writer.write(whole[start : start + each])
            await asyncio.sleep(0.01)
        if before:
            assert (await connection.receive()).status == 200
        answer = await connection.receive()
        assert answer.status == status
        if status == 431:
            assert answer.problem() == (431, "headers-too-large")
            assert await connection.at_end()


@limits(max_head=8000)
async def test_headers_are_counted_before_they_are_whole(connect):
    for first in (b"", LIST + b"\r\n"):
        connection = await connect()
        connection.writer.write(first)
        connection.writer.write(head(8100))  # and no more
        if first:
            assert (await connection.receive()).status == 200
            connection.writer.write(b"X-More: " + b"a" * 8000)
        assert (await connection.receive()).problem() == (431, "headers-too-large")
        assert await connection.at_end()


CHUNKED = GENERATE + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


@limits(max_head=8000)
@pytest.mark.parametrize("begin", [b"", b"5\r\n" + BODY[:5] + b"\r\n"])
async def test_chunk_extensions_and_trailers_are_bounded(connect, begin):
    for extra in (b"0\r\n" + head(30_000, b""), b"5;a=" + b"b" * 30_000):
        for pause in (0, 0.02):
            connection = await connect()
            connection.writer.write(CHUNKED + begin)
            await asyncio.sleep(pause)
            connection.writer.write(extra)
            assert (await connection.receive()).problem() == (431, "headers-too-large")
    connection = await connect()
    end = b"%x;a=b\r\n" % len(BODY) + BODY + b"\r\n0\r\n" + head(7000, b"") + b"\r\n"
    connection.writer.write(CHUNKED + end)
    assert (await connection.receive()).status == 200
    assert (await connection.call("GET", "/healthz")).status == 200


@limits(max_head=8000)
async def test_headers_that_wait_have_a_largest_size(client, connect):
    connection = await connect()
    connection.writer.write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for _ in range(12):
        connection.writer.write(head(7000) + b"\r\n")
        await asyncio.sleep(0.01)
    client.app[GO_ON].set()
    statuses = []
    while not statuses or statuses[-1] == 200:
        answer = await connection.receive()
        statuses.append(answer.status)
    assert (len(statuses) < 8, statuses[-1]) == (True, 431)
    assert await connection.at_end()


# A call that takes a second, so that requests behind it wait.
BUSY = b'{"alg":"rsa4096"}'
BUSY = (
    b"POST /key/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BUSY), BUSY)
)


@pytest.fixture
def rsa_keys_take_long(monkeypatch):
    """Take a second for each RSA key."""
    generate = RsaAlgorithm.generate

    def wait(algorithm):
        time.sleep(1)
        return generate(algorithm)

    monkeypatch.setattr(RsaAlgorithm, "generate", wait)


@pytest.mark.usefixtures("rsa_keys_take_long")
@limits()
async def test_bodies_that_wait_have_a_largest_size_together(client, connect):
    connection = await connect()
    body = b'{"alias":"none","data":"' + b"A" * 400_000 + b'"}'
    one = (
        b"POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    connection.writer.write(BUSY)
    for _ in range(4):
        connection.writer.write(one)
    statuses = [(await connection.receive()).status for _ in range(4)]
    assert statuses == [200, 404, 404, 413]
    assert await connection.at_end()


@pytest.mark.usefixtures("rsa_keys_take_long")
@limits()
async def test_heads_that_wait_behind_bodies_have_a_largest_size(client, connect):
    connection = await connect()
    fields = b"".join(b"X-%d: %b\r\n" % (n, b"a" * 8_000) for n in range(7))
    one = b"POST /sign HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n" + fields + b"\r\n"
    connection.writer.write(BUSY + one)
    for _ in range(10):
        connection.writer.write(b"x" + one)
    statuses = [(await connection.receive()).status]
    while statuses[-1] != 431:
        statuses.append((await connection.receive()).status)
    assert statuses[0] == 200
    assert len(statuses) < 8
    assert await connection.at_end()


def memory(process):
    """The memory of a process, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) // 1024


@pytest.mark.process
def test_unfinished_heads_take_little_memory(serve):
    service = serve("--port", "0", "--header-timeout", "60")
    before = memory(service.process)
    lines = [b"X-%d: " % number + b"a" * 8000 + b"\r\n" for number in range(120)]
    with contextlib.ExitStack() as opened:
        for _ in range(150):
            connection = socket.create_connection((service.host, service.port), timeout=60)
            opened.enter_context(connection)
            with contextlib.suppress(ConnectionError):  # the service ends it
                connection.sendall(LIST + b"".join(lines))
        assert service.status("GET", "/healthz") == 200
        assert memory(service.process) - before < 100
    for _ in range(600):  # it comes back
        if memory(service.process) - before < 20:
            return
        time.sleep(0.1)
    raise AssertionError(f"{memory(service.process)} MiB and not {before}")


# Number


@limits(max_in_flight=2)
async def test_too_many_at_once(client):
    under_way = [asyncio.create_task(client.get("/wait")) for _ in range(2)]
    await until("two calls under way", lambda: client.app[IN_FLIGHT].number == 2)
    for path in ("/keys", "/readyz", "/wait"):
        response = await client.get(path)
        await refused(response, 503, "too-busy")
        assert response.headers["Retry-After"] == "1"
    assert (await client.get("/healthz")).status == 200
    client.app[GO_ON].set()
    assert [(await task).status for task in under_way] == [200, 200]
    for _ in range(5):  # refused and failed calls left no trace
        assert (await client.get("/keys")).status == 200
        await refused(await client.get("/nowhere"), 404, "route-not-found")
    assert client.app[IN_FLIGHT].number == 0


async def test_the_place_of_a_connection_is_given_back_once():
    """A handshake may fail, and its connection also be lost."""
    places = Places(2, most_of_one=1)
    give_back, _ = places.take("192.0.2.1"), places.take("192.0.2.2")
    for _ in range(2):
        give_back()
    assert places.number == 1
    assert places.take("192.0.2.2") is None
    assert places.take("192.0.2.1") is not None
    assert places.take("192.0.2.3") is None
    places.close()


@limits(max_in_flight=1)
async def test_a_slow_sender_takes_no_place_in_flight(client, connect):
    slow = [await connect() for _ in range(20)]
    for connection in slow:
        connection.writer.write(GENERATE + b"Content-Length: %d\r\n\r\n{" % len(BODY))
    assert (await client.post("/key/generate", json={"alg": "ed25519"})).status == 200
    under_way = asyncio.create_task(client.get("/wait"))
    await until("a call under way", lambda: client.app[IN_FLIGHT].number == 1)
    for connection in slow[:10]:  # a body that arrives while the limit is reached
        connection.writer.write(BODY[1:])
        assert (await connection.receive()).problem() == (503, "too-busy")
    client.app[GO_ON].set()
    assert (await under_way).status == 200
    for connection in slow[10:]:
        connection.writer.write(BODY[1:])
        assert (await connection.receive()).status == 200
    assert client.app[IN_FLIGHT].number == 0


@limits(max_in_flight=1)
async def test_a_caller_that_leaves_or_is_late_gives_its_place_back(client, connect):
    for body in (b"", b"{"):
        connection = await connect()
        connection.writer.write(GENERATE + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        assert (await connection.receive()).status == 100
        connection.writer.write(body)
        connection.writer.close()
        await connection.writer.wait_closed()
    await until("calls to end", lambda: client.app[IN_FLIGHT].number == 0)
    assert (await client.get("/keys")).status == 200


@limits(max_in_flight=1)
async def test_a_slow_reader_takes_no_place_in_flight(client):
    reader, writer = await asyncio.open_connection(client.host, client.port, limit=1)
    writer.write(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await reader.read(1) == b"H"
    server = next(iter(client.server.runner.server.connections))
    await until(
        "an answer that nobody reads", lambda: server.writing_paused
    )  # as much as the system takes is on its way
    for _ in range(3):
        assert (await client.get("/keys")).status == 200
    assert server.writing_paused
    writer.close()
    await until("calls to end", lambda: client.app[IN_FLIGHT].number == 0)


@pytest.mark.process
def test_many_slow_senders_keep_nobody_out(serve):
    options = ["--header-timeout", "5", "--body-timeout", "5", "--max-in-flight", "10"]
    service = serve("--port", "0", *options, "--max-connections-per-address", "1000")
    with contextlib.ExitStack() as opened:
        slow = []
        for number in range(500):
            connection = socket.create_connection((service.host, service.port), timeout=60)
            slow.append(opened.enter_context(connection))
            body = b"Content-Length: 100\r\n\r\n" if number % 2 else b""
            connection.sendall(GENERATE + body + b"X")
        for _ in range(20):
            assert service.status("POST", "/key/generate", BODY) == 200
        for _ in slow:
            service.read_until(" 408 ")  # else its log would fill the pipe
        for connection in slow:
            with connection.makefile("rb") as answers:
                assert answers.readline().split()[1] == b"408"
                assert b"urn:minikms:problem:request-timeout" in answers.read()
    assert service.status("POST", "/key/generate", BODY) == 200
    code, written = service.stop()
    assert (code, "Traceback" in written) == (0, False)
