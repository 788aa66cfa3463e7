"""Answers between SIGTERM and the end of a service."""

import pytest

SIGN = b'{"alias":"k","data":"aGVsbG8"}'
GENERATE = b'{"alg":"ed25519"}'
JSON = "Content-Type: application/json"


@pytest.fixture
async def shutting_down(client, generate):
    """A service with a key in memory, which has begun to shut down."""
    await generate(alias="k")
    async with client.post("/sign", data=SIGN) as response:
        assert "Connection" not in response.headers
    client.server.runner.begin_shutdown()


@pytest.mark.parametrize(
    ("status", "call"),
    [
        (200, ("POST", "/sign", SIGN, JSON)),
        (200, ("POST", "/key/generate", GENERATE, JSON)),
        (200, ("POST", "/key/generate", GENERATE, JSON, "Expect: 100-continue")),
        (200, ("GET", "/healthz")),
        (200, ("HEAD", "/healthz")),
        (200, ("GET", "/openapi.json")),
        (302, ("GET", "/")),
        (404, ("GET", "/key/none")),
        (404, ("GET", "/nothing")),
        (405, ("PUT", "/sign")),
        (422, ("POST", "/sign", b"{}", JSON)),
    ],
)
async def test_each_answer_ends_its_connection(connect, shutting_down, status, call):
    connection = await connect()
    answer = await connection.call(*call)
    if status == 200 and "Expect: 100-continue" in call:
        answer = await connection.receive()
    assert (answer.status, answer.headers["Connection"]) == (status, "close")
    assert await connection.at_end()


async def test_so_do_listings_and_callers_of_before(connect, client, generate):
    await generate(alias="k")
    listing, signing = await connect(), await connect()
    assert (await signing.call("POST", "/sign", SIGN, JSON)).status == 200
    client.server.runner.begin_shutdown()
    listing.send("GET", "/keys", b"", "Accept: application/x-ndjson")
    assert b"\r\nConnection: close\r\n" in await listing.read()
    answer = await signing.call("POST", "/sign", SIGN, JSON)
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert await signing.at_end()


async def test_a_stopping_service_is_not_ready(connect, shutting_down):
    answer = await (await connect()).call("GET", "/readyz")
    assert answer.problem() == (503, "shutting-down")
