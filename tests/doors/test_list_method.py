"""The method LIST at doors that take it, however its bytes come."""

import asyncio
import contextlib
from itertools import pairwise
from random import Random
from urllib.parse import urlsplit

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import HttpRequestParser

from minikms.http.list_method import ListParser

SOURCE = """
from minikms_plain import *

class Mine(PlainDoor):
    name, list_method = "mine", True

    @property
    def routes(self):
        return [DoorRoute("echo", "keys:read", self._echo)]

    def route_of(self, request):
        return self.routes[0]

    async def _echo(self, call):
        return f"[{call.request.method} {call.request.path} ".encode() + call.body + b"]"
"""

LIST = b"LIST /list HTTP/1.1\r\nHost: localhost\r\n\r\n"
GET = b"GET /LIST HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n\r\n\r\nLIST /x "
CHUNKED = (
    b"POST /chunks HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nLIST \r\n0\r\n\r\n"
)
ANSWERS = {
    LIST: b"[LIST /list ]",
    GET: b"[GET /LIST ]",
    POST: b"[POST /post \r\n\r\nLIST /x ]",
    CHUNKED: b"[POST /chunks LIST ]",
    GET.replace(b"/LIST", b"/other"): b"[GET /other ]",
}


@pytest.fixture
async def connect(install, start_with_doors):
    """Open connections to a door that takes LIST."""
    install(SOURCE)
    _, urls = await start_with_doors("mine", door_options={"mine": {"alg": "ed25519"}})
    async with contextlib.AsyncExitStack() as open_ones:

        async def run():
            reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(urls["mine"]).port)
            open_ones.callback(writer.close)
            return reader, writer

        yield run


async def answered(reader):
    """Read an answer; gives its status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
    return int(head.split()[1]), await reader.readexactly(int(length))


async def pieces(writer, *parts):
    """Write each part in a segment of its own."""
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.002)


@pytest.mark.parametrize("before", [b"", b"\r\n", GET, POST, CHUNKED])
async def test_list_comes_in_two_pieces(connect, before):
    reader, writer = await connect()
    for at in range(len(LIST)):
        if before.strip():
            writer.write(before)
            assert await answered(reader) == (200, ANSWERS[before])
        else:
            writer.write(before)
        await pieces(writer, LIST[:at], LIST[at:])
        assert await answered(reader) == (200, ANSWERS[LIST])


@pytest.mark.parametrize("before", [GET, POST, CHUNKED])
async def test_list_follows_a_request_that_came_in_two_pieces(connect, before):
    reader, writer = await connect()
    for at in range(1, len(before)):
        await pieces(writer, before[:at], before[at:])
        assert await answered(reader) == (200, ANSWERS[before])
        writer.write(LIST)
        assert await answered(reader) == (200, ANSWERS[LIST])


async def test_list_comes_byte_by_byte(connect):
    reader, writer = await connect()
    every = LIST + GET + LIST + POST + LIST + CHUNKED + LIST
    await pieces(writer, *(every[at : at + 1] for at in range(len(every))))
    for request in (LIST, GET, LIST, POST, LIST, CHUNKED, LIST):
        assert await answered(reader) == (200, ANSWERS[request])


@pytest.mark.parametrize("before", [LIST, GET, POST, CHUNKED])
async def test_list_is_pipelined(connect, before):
    reader, writer = await connect()
    for behind in (LIST, GET, POST, CHUNKED):
        for requests in ((before, LIST, behind), (before, behind, LIST), (LIST, before, behind)):
            writer.write(b"".join(requests))
            for request in requests:
                assert await answered(reader) == (200, ANSWERS[request])


@pytest.mark.parametrize("before", [LIST, GET, POST, CHUNKED, GET.replace(b"/LIST", b"/other")])
async def test_a_pipelined_list_comes_in_two_pieces(connect, before):
    both = before + LIST
    for at in range(1, len(both)):
        reader, writer = await connect()
        await pieces(writer, both[:at], both[at:])
        assert await answered(reader) == (200, ANSWERS[before])
        assert await answered(reader) == (200, ANSWERS[LIST])
        writer.close()


async def test_list_is_pipelined_behind_more_than_may_wait(connect):
    for behind in (GET, POST, CHUNKED):
        reader, writer = await connect()
        writer.write(GET * 50 + behind + LIST)
        for request in [GET] * 50 + [behind]:
            assert await answered(reader) == (200, ANSWERS[request])
        status, body = await answered(reader)
        assert status == 400 or body == ANSWERS[LIST]
        writer.close()


async def test_a_request_begun_behind_another_one_is_not_changed(connect):
    reader, writer = await connect()
    for request in (GET, POST, CHUNKED):
        for begun in (b"GET /", b"GET /L", b"GET /x\r\n", b"GET / HTTP/1.1\r\nHost: "):
            reader, writer = await connect()
            rest = b"LIST HTTP/1.1\r\nHost: localhost\r\n\r\n"
            await pieces(writer, request + begun, rest)
            assert await answered(reader) == (200, ANSWERS[request])
            status, body = await answered(reader)
            assert b"LINK" not in body
            assert status == 400 or body.startswith(b"[GET ")
            writer.close()


@pytest.mark.parametrize("body", [b"LIST / HTTP/1.1\r\n\r\n", b"LI", b"\r\n\r\n" * 5])
async def test_a_body_that_comes_after_its_head_is_not_changed(connect, body):
    reader, writer = await connect()
    head = b"POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    for request in (GET, head + body):
        await pieces(writer, request, head, body)
        await answered(reader)
        assert await answered(reader) == (200, b"[POST /post " + body + b"]")
        writer.write(LIST)
        assert await answered(reader) == (200, ANSWERS[LIST])


@pytest.mark.parametrize("at", range(5))
@pytest.mark.parametrize("method", [b"LISK", b"LISS", b"LISN", b"LINT", b"LISTS", b"LIS", b"list"])
async def test_other_methods_do_not_become_list(connect, method, at):
    reader, writer = await connect()
    sent = LIST.replace(b"LIST", method)
    with contextlib.suppress(ConnectionResetError):  # the rest came after the refusal
        await pieces(writer, sent[:at], sent[at:])
        assert (await answered(reader))[0] == 400
        assert await reader.read() == b""


@pytest.mark.parametrize("at", range(5))
async def test_a_real_link_stays_one(connect, at):
    reader, writer = await connect()
    sent = LIST.replace(b"LIST", b"LINK")
    await pieces(writer, sent[:at], sent[at:])
    assert await answered(reader) == (200, b"[LINK /list ]")
    await pieces(writer, LIST + sent)
    assert await answered(reader) == (200, ANSWERS[LIST])
    assert await answered(reader) == (200, b"[LINK /list ]")


async def test_a_caller_who_closes_its_half_gets_the_list(connect):
    reader, writer = await connect()
    await pieces(writer, LIST[:3], LIST[3:])
    writer.write_eof()
    assert await answered(reader) == (200, ANSWERS[LIST])
    assert await reader.read() == b""


async def test_half_a_list_is_refused(connect):
    reader, writer = await connect()
    writer.write(LIST[:10])
    writer.write_eof()
    assert (await answered(reader))[0] == 400
    assert await reader.read() == b""


async def test_other_doors_refuse_list(opened):
    _, door = await opened()
    async with door.request("LIST", "/keys") as answer:
        assert answer.status == 400


def random_request(random):
    """Make a request; gives its bytes, and its method, path and body."""
    path = random.choice(["/LIST", "/a?LIST", "/LIS"])
    head = f"{path} HTTP/1.1\r\nHost: x\r\n" + random.choice(["", "X: LIST \r\n", "LIST: x\r\n"])
    method = random.choice(["LIST", "LIST", "GET", "POST"])
    if method != "POST":
        return f"{method} {head}\r\n".encode(), (method, path, b"")
    parts = [b"LIST ", b"LIST / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"L", b"LI", b"x" * 9]
    body = b"".join(random.choices(parts, k=random.randrange(1, 4)))
    if random.random() < 0.5:
        sent = f"POST {head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    else:
        sent = f"POST {head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n".encode()
        sent += body + b"\r\n0\r\n\r\n"
    return sent, (method, path, body)


async def test_requests_in_random_pieces_are_parsed_as_they_were_sent():
    random = Random(30)
    loop = asyncio.get_running_loop()
    for _ in range(500):
        protocol = BaseProtocol(loop)
        parser = ListParser(HttpRequestParser(protocol, loop, 2**16, auto_decompress=False), [])
        requests = [random_request(random) for _ in range(random.randrange(1, 8))]
        stream = b"".join(sent for sent, _ in requests)
        ends = sorted(random.choices(range(len(stream)), k=random.randrange(6)))
        found = []
        for begin, end in pairwise([0, *ends, len(stream)]):
            found += parser.feed_data(stream[begin:end])[0]
        assert [
            (message.method, message.path, payload.read_nowait()) for message, payload in found
        ] == [expected for _, expected in requests]
