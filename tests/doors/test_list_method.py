"""The method LIST at doors that take it, however its bytes come."""

import asyncio
import contextlib
from urllib.parse import urlsplit

import pytest

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
        requests = [GET] * 50 + [behind, LIST]
        writer.write(b"".join(requests))
        for request in requests:
            assert await answered(reader) == (200, ANSWERS[request])
        writer.close()


async def test_a_request_begun_behind_another_one_is_no_list(connect):
    for request in (GET, POST, CHUNKED):
        for begun in (b"GET /", b"GET /L", b"GET /x\r\n", b"GET / HTTP/1.1\r\nHost: "):
            reader, writer = await connect()
            rest = b"LIST HTTP/1.1\r\nHost: localhost\r\n\r\n"
            await pieces(writer, request + begun, rest)
            assert await answered(reader) == (200, ANSWERS[request])
            status, body = await answered(reader)
            assert status == 400 or body.startswith(b"[GET ")
            writer.close()


@pytest.mark.parametrize("body", [b"LIST / HTTP/1.1\r\n\r\n", b"LI", b"\r\n\r\n" * 5])
async def test_a_body_that_comes_after_its_head_is_no_request(connect, body):
    reader, writer = await connect()
    head = b"POST /post HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    for request in (GET, head + body):
        await pieces(writer, request, head, body)
        await answered(reader)
        assert await answered(reader) == (200, b"[POST /post " + body + b"]")
        writer.write(LIST)
        assert await answered(reader) == (200, ANSWERS[LIST])


@pytest.mark.parametrize("method", [b"LISTS", b"LINK", b"NONSENSE"])
async def test_other_methods_do_not_become_list(connect, method):
    reader, writer = await connect()
    writer.write(LIST.replace(b"LIST", method))
    assert await answered(reader) == (200, b"[" + method + b" /list ]")


@pytest.mark.parametrize("line", [b"LI\0T / HTTP/1.1", b"LIST", b"LIST /", b"list / HTTP/1.1"])
async def test_a_broken_list_has_the_doors_form(connect, line):
    reader, writer = await connect()
    writer.write(line + b"\r\nHost: localhost\r\n\r\n")
    status, body = await answered(reader)
    assert (status, body[:12]) == (400, b"bad-request:")
    assert await reader.read() == b""


async def test_other_doors_refuse_list(opened):
    _, door = await opened()
    async with door.request("LIST", "/keys") as answer:
        assert answer.status == 400
