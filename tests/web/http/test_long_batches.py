"""Long batches while other callers call, their own caller leaves, or the service stops."""

import asyncio
import contextlib
import struct
import threading
import time
from importlib.metadata import EntryPoint
from socket import SO_LINGER, SOL_SOCKET

import orjson
import pytest
from aiohttp import ClientError, ClientSession, TCPConnector
from problems import refused, slug_of
from waiting import until

from minikms.algorithms.okp import Ed25519
from minikms.basics.fair_gate import MAX_WAITING
from minikms.basics.fair_threads import PROCESSORS
from minikms.config import Config
from minikms.http.state import IN_FLIGHT
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE

BATCH = {"alias": "held", "items": [{"data": "aGVsbG8"}] * 1000}
ONE = {"alias": "rsa", "data": "aGVsbG8"}
RSA = EntryPoint("rsa2048", "minikms.algorithms.rsa:Rsa2048", GROUP)


class Held(Ed25519):
    """Signs for as long as the test says."""

    go_on = threading.Event()
    signed = 0

    def sign(self, *args):
        type(self).signed += 1
        self.go_on.wait(60)
        time.sleep(0.001)
        return super().sign(*args)


@pytest.fixture
async def client(start):
    Held.go_on.clear()
    Held.signed = 0
    entry = EntryPoint(Held.name, f"{__name__}:Held", GROUP)
    yield await start(create_service(Config(), AlgorithmRegistry([entry, RSA])))
    Held.go_on.set()


@pytest.fixture
async def held(client, generate):
    """Batches that all stand still: more than there are threads."""
    await generate("ed25519", alias="held")
    await generate("rsa2048", alias="rsa")
    tasks = [asyncio.create_task(client.post("/sign/batch", json=BATCH)) for _ in range(40)]
    await until(
        "batches that stand still",
        lambda: client.app[IN_FLIGHT].number == len(tasks) and Held.signed,
    )
    yield tasks
    await let_go(tasks)


async def let_go(tasks):
    """Leave these calls."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_others_have_threads_of_their_own(client, held):
    async with asyncio.timeout(60):  # so that none is a failure and not a standstill
        for _ in range(3):
            assert (await client.post("/sign", json=ONE)).status == 200
    assert not any(task.done() for task in held)


async def test_waiting_batches_of_a_profile_are_bounded(client, held):
    number = 2 * PROCESSORS + MAX_WAITING + 1 - len(held)
    async with ClientSession(client.make_url("/"), connector=TCPConnector(limit=0)) as others:
        more = [asyncio.create_task(others.post("/sign/batch", json=BATCH)) for _ in range(number)]
        done, _ = await asyncio.wait([*held, *more], return_when=asyncio.FIRST_COMPLETED)
        await refused(await done.pop(), 503, "too-busy")
        await let_go(more)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/sign/batch", {"alias": "k", "items": [{"data": "aGVsbG8"}]}),
        ("/key/generate/batch", {"alg": "ed25519", "count": 2}),
    ],
)
async def test_a_profile_whose_batches_wait_does_not_refuse_another_its_own(
    client, generate, path, body
):
    await client.post("/profile", json={"name": "alice"})
    for profile in (DEFAULT_PROFILE, "alice"):
        await generate(alias="k", profile=profile)

    def stand_still(items):
        Held.go_on.wait(60)
        return items

    run = client.app[SERVICE].operations.threads.batches.run_all
    tasks = [
        asyncio.create_task(run(DEFAULT_PROFILE, [1], stand_still, lambda: None, slow=True))
        for _ in range(2 * PROCESSORS + MAX_WAITING)
    ]
    await asyncio.sleep(0)  # they are given out, or wait
    try:
        async with asyncio.timeout(30):  # so that a call that waits is a failure
            await refused(await client.post(path, json=body), 503, "too-busy")
        other = asyncio.create_task(client.post(path, json=body, headers={"X-Profile": "alice"}))
        await until("the other call", lambda: client.app[IN_FLIGHT].number)
    finally:
        Held.go_on.set()
    assert (await other).status == 200
    await asyncio.gather(*tasks)


async def called(client, connect, generate, size=1000):
    """Connections on which batches are under way: more than there are threads."""
    await generate("ed25519", alias="held")
    callers = [await connect() for _ in range(10)]
    body = orjson.dumps(BATCH | {"items": BATCH["items"][:size]})
    for caller in callers:
        caller.send("POST", "/sign/batch", body, "Content-Type: application/json")
    await until(
        "callers that are held",
        lambda: client.app[IN_FLIGHT].number == len(callers) and Held.signed,
    )
    return callers


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
async def test_a_batch_whose_caller_is_gone_ends(client, connect, generate, how):
    for caller in await called(client, connect, generate):
        if how == "reset":
            socket = caller.writer.get_extra_info("socket")
            socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        if how == "half-close":
            caller.writer.write_eof()
        else:
            caller.writer.transport.abort()
    Held.go_on.set()
    await until("calls to end", lambda: client.app[IN_FLIGHT].number == 0)
    assert Held.signed < 5000  # of 10,000


@pytest.mark.process
async def test_a_service_that_stops_does_not_wait_for_batches(serve):
    service = serve("--port", "0")
    url = f"http://{service.host}:{service.port}"
    answers = []
    async with ClientSession(url) as session:
        new = {"alg": "rsa4096", "alias": "a"}
        async with session.post("/key/generate", json=new) as made:
            assert made.status == 200
        body = {"alias": "a", "items": [{"data": "aGVsbG8"}] * 1000}

        async def call():
            with contextlib.suppress(ClientError):
                async with session.post("/sign/batch", json=body) as answer:
                    answers.append((answer.status, await slug_of(answer)))

        async with asyncio.TaskGroup() as group:
            for _ in range(40):  # most of a minute of work
                group.create_task(call())
            await asyncio.sleep(0.5)
            service.process.terminate()
    assert set(answers) == {(503, "too-busy")}
    code, written = service.end()
    assert (code, "Traceback" in written) == (0, False)
