"""The pieces of a `POST /key/generate`, in microseconds of processor time.

Run it with the Python that Mini KMS is installed in: `python bench/making.py`. The keys are Ed25519
in memory. Each piece, and a call as a whole, is the least of some rounds. The transports send
nothing, so the system's time for sockets comes on top.
"""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import uvloop
from aries_askar import Key, Store
from aries_askar import Session as AskarSession
from pieces import Nowhere, microseconds, request, service

from minikms.keys.making import maker
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyPolicy, KeyRecord
from minikms.web.schemas.key_bodies import GenerateKey
from minikms.web.schemas.key_bodies import Key as KeySchema

ROUNDS = 15
IN_TRANSACTION = 40  # calls of Askar's
BODY = {"alg": "ed25519"}
SHAPES = {"one caller": (1, 30), "64 callers": (64, 2)}  # callers, and calls of each in a round
BATCH = 100

Call = Callable[[AskarSession], Awaitable[object]]


async def measure() -> dict[str, float]:
    """By piece."""
    algorithm = AlgorithmRegistry.from_installed().get("ed25519")
    make = maker(algorithm, KeyPolicy(), algorithm.generate)
    record, material = make()
    assert isinstance(material, bytes)
    body, read, answer = orjson.dumps(BODY), GenerateKey(), KeySchema()
    found = {
        "body read": microseconds(lambda: read.parse(orjson.loads(body))),
        "key made and described": microseconds(make),
        "record written as JSON": microseconds(record.to_bytes),
        "answer written": microseconds(lambda: answer.encode(record)),
    }
    found |= await askar(record, material)
    with tempfile.TemporaryDirectory() as folder:
        for name, (callers, calls) in SHAPES.items():
            found[f"a call, {name}"] = await whole(folder, "/key/generate", BODY, callers, calls)
        many = BODY | {"count": BATCH}
        batch = await whole(folder, "/key/generate/batch", many, 1, 1)
        found[f"a key of a batch of {BATCH}"] = batch / BATCH
    return found


async def askar(record: KeyRecord, material: bytes) -> dict[str, float]:
    """Askar's part, and alternatives to it."""
    store = await Store.provision("sqlite://:memory:", "raw", Store.generate_raw_key())
    value, seq, key = record.to_bytes(), {"~seq": "0" * 20}, Key.generate("ed25519")
    async with store.session() as held:  # the store ends with its last connection
        await held.insert("place", "last", "0" * 20)

        def insert(category: str, value: bytes, **tags: str) -> Call:
            return lambda session: session.insert(category, secrets.token_hex(16), value, tags)

        calls: dict[str, Call] = {
            "material inserted": insert("material", material),
            "record inserted, with its two tags": insert("key", value, **seq, alg="ed25519"),
            "last place replaced": lambda session: session.replace("place", "last", "0" * 20),
            "not done: last place fetched": lambda session: session.fetch("place", "last"),
            "not done: material inserted as an Askar key": (
                lambda session: session.insert_key(secrets.token_hex(16), key)
            ),
            "for comparison: record inserted, with one tag": insert("key", value, **seq),
            "for comparison: record inserted, without tags": insert("key", value),
        }
    async with store.session() as held:
        await held.count("place")
        rounds: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            begin = time.process_time()
            for _ in range(IN_TRANSACTION):
                async with store.transaction() as transaction:
                    await transaction.commit()  # type: ignore[no-untyped-call]
            rounds.setdefault("transaction begun and committed", []).append(since(begin))
            for name, call in calls.items():
                async with store.transaction() as transaction:
                    begin = time.process_time()
                    for _ in range(IN_TRANSACTION):
                        await call(transaction)
                    rounds.setdefault(name, []).append(since(begin))
    await store.close()
    return {name: min(times) for name, times in rounds.items()}


def since(begin: float) -> float:
    """Microseconds of each call of a round."""
    return (time.process_time() - begin) / IN_TRANSACTION * 1e6


async def whole(folder: str, path: str, body: dict[str, Any], callers: int, calls: int) -> float:
    """A call, all that the service does for it."""
    async with service(Path(folder), audited=False) as (runner, headers):
        call = request(path, body, headers)

        async def ask() -> None:
            transport, connection = Answered(), runner.server()  # type: ignore[misc]
            connection.connection_made(transport)
            for _ in range(calls):
                transport.answered.clear()
                connection.data_received(call)
                await transport.answered.wait()
                await asyncio.sleep(0)
            assert all(b" 200 " in head for head in transport.written[:1])
            connection.connection_lost(None)

        rounds = []
        for _ in range(ROUNDS):
            begin = time.process_time()
            await asyncio.gather(*(ask() for _ in range(callers)))
            rounds.append((time.process_time() - begin) / callers / calls * 1e6)
    return min(rounds)


class Answered(Nowhere):
    """A transport that says when something is written."""

    def __init__(self) -> None:
        super().__init__()
        self.answered = asyncio.Event()

    def write(self, data: Any) -> None:
        super().write(data)
        self.answered.set()


if __name__ == "__main__":
    for name, figure in uvloop.run(measure()).items():
        print(f"{name:50} {figure:8.1f}")
