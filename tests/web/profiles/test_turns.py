"""Calls that take long do not hold up another tenant's calls."""

import asyncio
import os
import threading
from importlib.metadata import EntryPoint
from typing import ClassVar

import pytest
from base64url import b64
from waiting import until

from minikms.algorithms.okp import Ed25519
from minikms.config import Config
from minikms.encodings import jose_b64url
from minikms.http.limits import InFlight
from minikms.plugin.registry import GROUP, AlgorithmRegistry
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE

RSA = EntryPoint("rsa2048", "minikms.algorithms.rsa:Rsa2048", GROUP)
LONG = jose_b64url(b'{"alg":"EdDSA"}') + "." + jose_b64url(bytes(70_000))
ALICE = {"X-Profile": "alice"}
# More than asyncio has threads for.
MANY = (os.cpu_count() or 1) + 40


class Held(Ed25519):
    """Signs for as long as the test says, and notes the end of each message."""

    go_on = threading.Event()
    signed: ClassVar[list[bytes]] = []

    def sign(self, key, message, *args):
        self.signed.append(bytes(message)[-1:])
        self.go_on.wait(60)
        return super().sign(key, message, *args)


@pytest.fixture
async def client(start):
    Held.go_on.clear()
    Held.signed.clear()
    entry = EntryPoint(Held.name, f"{__name__}:Held", GROUP)
    yield await start(create_service(Config(), AlgorithmRegistry([entry, RSA])))
    Held.go_on.set()


@pytest.fixture
async def long_calls(client, generate):
    """Many calls of a tenant with large bodies that stand still."""
    await client.post("/profile", json={"name": "alice"})
    await generate("ed25519", alias="held")
    await generate("ed25519", alias="held", profile="alice")
    await generate("rsa2048", alias="rsa", profile="alice")
    body = {"alias": "held", "signing_input": LONG}
    tasks = [asyncio.create_task(client.post("/jws/sign", json=body)) for _ in range(MANY)]
    await until("the first of them", lambda: Held.signed)
    yield tasks
    Held.go_on.set()
    answers = await asyncio.gather(*tasks)
    assert {answer.status for answer in answers} == {200}


async def test_a_signature_by_rsa_waits_for_no_long_call(client, long_calls):
    async with asyncio.timeout(20):
        one = {"alias": "rsa", "data": b64(b"hello")}
        assert (await client.post("/sign", json=one, headers=ALICE)).status == 200
    assert not any(task.done() for task in long_calls)


async def test_a_long_call_of_another_tenant_has_the_next_turn_but_one(client, long_calls):
    text = jose_b64url(b'{"alg":"EdDSA"}') + "." + jose_b64url(bytes(69_999) + b"\xff")
    body = {"alias": "held", "signing_input": text}
    other = asyncio.create_task(client.post("/jws/sign", json=body, headers=ALICE))
    threads = client.app[SERVICE].operations.threads.long
    await until("its place in the queue", lambda: "alice" in threads._gate._waiting)
    Held.go_on.set()
    assert (await other).status == 200
    assert text[-1:].encode() in Held.signed[:3]


async def test_one_large_body_is_read_in_each_pass_of_the_event_loop_and_names_take_turns():
    limits, passes, read = InFlight(10), [0], []

    async def count_passes():
        while True:
            passes[0] += 1
            await asyncio.sleep(0)

    async def reading(name):
        await limits.take_turn(name)
        read.append((name, passes[0]))

    counting = asyncio.create_task(count_passes())
    await asyncio.gather(*map(reading, ["many"] * 5 + ["one"]))
    counting.cancel()
    assert [name for name, _ in read].index("one") <= 2
    assert len({number for _, number in read}) == 6
