"""A caller who has sent all that it will (shutdown of its half), and waits for its answers."""

import asyncio
import gzip

import orjson
import pytest

from minikms.config import Config
from minikms.serve.assembly import create_service

JSON = "Content-Type: application/json"
HEAD = b"POST /key/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BODY = b'{"alg":"ed25519"}'
LENGTH = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def connect(start, connect_to):
    """Open connections to a service in memory."""
    client = await start(create_service(Config()))

    async def one():
        connection = await connect_to(client)
        connection.service = client.server.runner.server
        return connection

    return one


@pytest.fixture
async def connection(connect):
    return await connect()


async def sign(connection):
    """A call that its batch answers, if it is not the last."""
    body = orjson.dumps({"alg": "ed25519", "alias": "mine"})
    assert (await connection.call("POST", "/key/generate", body, JSON)).status == 200
    call = orjson.dumps({"alias": "mine", "data": "aGVsbG8"})
    assert (await connection.call("POST", "/sign", call, JSON)).status == 200
    return call


async def test_a_caller_that_closes_after_a_request_is_answered(connect):
    for data in (LENGTH + BODY, CHUNKED + b"11\r\n" + BODY + b"\r\n0\r\n\r\n"):
        connection = await connect()
        connection.writer.write(data)
        connection.writer.write_eof()
        assert b"kid" in (await connection.receive()).body
        assert await connection.at_end()


async def test_a_caller_that_closes_after_many_requests_gets_all_answers(connection):
    for _ in range(40):  # more than wait in the queue
        connection.writer.write(LENGTH + BODY)
    connection.writer.write_eof()
    for _ in range(40):
        assert (await connection.receive()).status == 200
    assert await connection.at_end()


@pytest.mark.parametrize("at_once", [True, False])
async def test_after_a_call_that_its_batch_answers(connection, at_once):
    call = await sign(connection)
    connection.send("POST", "/sign", call, JSON)
    if not at_once:
        await asyncio.sleep(0.02)
    connection.writer.write_eof()
    assert b"sig" in (await connection.receive()).body
    assert await connection.at_end()


async def test_a_caller_that_closes_in_the_turn_of_its_call_is_answered(connection):
    call = await sign(connection)
    await asyncio.sleep(0.02)
    [served] = connection.service.connections
    lines = ["POST /sign HTTP/1.1", "Host: localhost", f"Content-Length: {len(call)}", "", ""]
    served.data_received("\r\n".join(lines).encode() + call)
    assert served.eof_received()
    assert b"sig" in (await connection.receive()).body
    assert await connection.at_end()


CUT = {
    "a body": LENGTH + BODY[:5],
    "a body that has not begun": LENGTH,
    "a chunk": CHUNKED + b"11\r\n" + BODY[:5],
    "the end of the chunks": CHUNKED + b"11\r\n" + BODY + b"\r\n",
    "gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 99\r\n\r\n" + gzip.compress(BODY),
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("pause", [True, False])
@pytest.mark.parametrize("before", [b"", LENGTH + BODY])
async def test_a_caller_that_closes_within_a_body_is_refused(
    connection, name, pause, before, caplog
):
    connection.writer.write(before)
    await asyncio.sleep(0.02)
    connection.writer.write(CUT[name])
    if pause:
        await asyncio.sleep(0.02)
    connection.writer.write_eof()
    if before:
        assert (await connection.receive()).status == 200
    assert (await connection.receive()).problem() == (400, "bad-request")
    assert await connection.at_end()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_caller_that_closes_within_a_head_gets_no_answer_to_it(connect):
    for before in (b"", LENGTH + BODY):
        for head in (HEAD[:30], HEAD):
            connection = await connect()
            connection.writer.write(before + head)
            connection.writer.write_eof()
            if before:
                assert (await connection.receive()).status == 200
            assert await connection.at_end()


async def test_a_resting_connection_that_closes_is_closed(connect):
    for sent in (b"", b"\r\n"):
        connection = await connect()
        assert (await connection.call("GET", "/healthz")).status == 200
        connection.writer.write(sent)
        connection.writer.write_eof()
        assert await connection.at_end()


async def test_a_body_that_nobody_reads(connection):
    connection.writer.write(
        b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\na"
    )
    assert (await connection.receive()).problem() == (404, "route-not-found")
    connection.writer.write_eof()
    assert await connection.at_end()


async def test_a_vanished_caller_is_not_served_on(connection):
    body = orjson.dumps({"alg": "hs256", "labels": {"a": "b" * 256}})
    for _ in range(100):
        assert (await connection.call("POST", "/key/generate", body, JSON)).status == 200
    listing = b"GET /keys HTTP/1.1\r\nHost: localhost\r\nAccept: application/x-ndjson\r\n\r\n"
    connection.writer.write(listing * 1000)
    connection.writer.close()  # with the answers unread
    async with asyncio.timeout(60):
        while connection.service.connections:
            await asyncio.sleep(0.02)
    assert connection.service.requests_count < 500
