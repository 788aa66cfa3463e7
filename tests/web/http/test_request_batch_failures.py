"""No failure within a batch leaves a call without an answer."""

import asyncio
import gc

import orjson
import pytest

from minikms.config import Config
from minikms.http import connection as connection_module
from minikms.http.connection import Connection
from minikms.keys.operations import KeyOperations
from minikms.serve.assembly import create_service
from minikms.web.metrics import Metrics

JSON = "Content-Type: application/json"
SIGN = orjson.dumps({"alias": "mine", "data": "aGVsbG8"})


@pytest.fixture
def begin(start, connect_to):
    """Start a service with a key that is open; gives connections to it."""

    async def run(number=1, **options):
        client = await start(create_service(Config(**options)))
        connections = [await connect_to(client) for _ in range(number)]
        key = orjson.dumps({"alg": "ed25519", "alias": "mine"})
        for path, body in (("/key/generate", key), ("/sign", SIGN)):
            answer = await connections[0].call("POST", path, body, JSON)
            assert answer.status == 200
        await asyncio.sleep(0.02)  # until all connections are idle
        return connections

    return run


@pytest.fixture
def failing_once(monkeypatch):
    """Let the third call of a function fail."""

    def patch(owner, name):
        called, function = [], getattr(owner, name)

        def fails_once(*args):
            called.append(args)
            if len(called) == 3:
                raise RuntimeError("once")
            return function(*args)

        monkeypatch.setattr(owner, name, fails_once)

    return patch


async def test_a_failure_before_a_call_starts_leaves_it_to_aiohttp(begin, failing_once, caplog):
    connections = await begin(8)
    failing_once(connection_module, "StreamWriter")
    for connection in connections:
        connection.send("POST", "/sign", SIGN, JSON)
    answers = [await connection.receive() for connection in connections]
    assert [answer.status for answer in answers] == [200] * 8
    assert "RuntimeError: once" in caplog.text


async def test_a_failure_after_one_answer_ends_its_connection_alone(
    begin, failing_once, free_port, caplog
):
    """The call's connection is closed, since its progress is unknown; other connections stay."""
    connections = await begin(8, metrics_port=int(free_port))
    failing_once(Metrics, "answered")
    for connection in connections:
        connection.send("POST", "/sign", SIGN, JSON)
    answers = [await connection.receive() for connection in connections]
    assert [answer.status for answer in answers] == [200] * 8
    assert "RuntimeError: once" in caplog.text
    ended = 0
    for connection in connections:
        try:
            assert (await connection.call("POST", "/sign", SIGN, JSON)).status == 200
        except (asyncio.IncompleteReadError, ConnectionError):
            ended += 1
    assert ended == 1


@pytest.mark.parametrize("ends", ["success", "failure"])
async def test_a_caller_that_leaves_as_its_call_is_handed_over_leaves_no_traceback(
    begin, monkeypatch, caplog, ends
):
    """The connection ends after aiohttp's task was woken, and before it runs."""
    began, go_on = asyncio.Event(), asyncio.Event()

    async def waits(*args):
        began.set()
        await go_on.wait()
        if ends == "failure":
            raise ConnectionResetError
        return {"valid": True}

    hand_over = Connection.hand_over

    def lose(connection, call):
        connection.transport.abort()
        hand_over(connection, call)

    [connection] = await begin()
    monkeypatch.setattr(Connection, "hand_over", lose)
    monkeypatch.setattr(KeyOperations, "perform", waits)
    connection.send("POST", "/verify", orjson.dumps({"alias": "mine", "data": "", "sig": ""}), JSON)
    await began.wait()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await connection.receive()
    go_on.set()
    await asyncio.sleep(0.01)
    gc.collect()  # a task whose failure nobody retrieved says so when it goes
    assert caplog.text == ""
