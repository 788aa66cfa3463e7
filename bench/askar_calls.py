"""What each kind of call of Askar's costs, alone in one process, in microseconds.

Run it with the Python that Mini KMS is installed in: `python bench/askar_calls.py`. Each figure is
the least of many rounds: the time, the processor time of all threads, and that of the event loop's.
"Three at once" are the writes of a rotation without waiting for each other.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import Any, Final

import uvloop
from aries_askar import Store

ROUNDS: Final = 60
CALLS: Final = 20  # of a kind in a round
KEY, ALIAS = "key", "alias"
RECORD, VERSIONS = bytes(700), bytes(100)
TAGS: Final = {"~seq": "0" * 20, "alg": "ed25519"}

Call = Callable[[str], Awaitable[object]]


async def main() -> None:
    """Measure calls in one transaction, then whole sessions, and print a line for each."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite://{folder}/keys.db"
        store = await Store.provision(url, "raw", Store.generate_raw_key())
        transaction: Any = store.transaction()  # its methods have no annotations
        async with transaction as session:
            for name in map(str, range(CALLS)):
                await session.insert(KEY, name, RECORD, TAGS)
                await session.insert(ALIAS, name, VERSIONS)
            for line in await measured(calls_of(session)):
                print(line)
            await session.commit()
        for line in await measured(sessions_of(store)):
            print(line)
        await store.close()


def calls_of(session: Any) -> dict[str, Call]:
    """The calls of a transaction, each with the name of an entry."""
    inserted, removed, successors = (map(str, count(CALLS)) for _ in range(3))

    def three(name: str) -> list[Awaitable[object]]:
        return [
            session.insert(KEY, f"new {next(successors)}", RECORD, TAGS),
            session.replace(ALIAS, name, VERSIONS),
            session.replace(KEY, name, RECORD, TAGS),
        ]

    async def in_turn(name: str) -> None:
        for call in three(name):
            await call

    return {
        "fetch": partial(session.fetch, KEY),
        "insert, two tags": lambda _: session.insert(KEY, next(inserted), RECORD, TAGS),
        "replace, two tags": lambda name: session.replace(KEY, name, RECORD, TAGS),
        "replace, no tags": lambda name: session.replace(ALIAS, name, VERSIONS),
        "remove": lambda _: session.remove(KEY, next(removed)),
        "three in turn": in_turn,
        "three at once": lambda name: asyncio.gather(*three(name)),
    }


def sessions_of(store: Any) -> dict[str, Call]:
    """A session with one read, and a transaction with one write."""

    async def read(name: str) -> None:
        async with store.session() as session:
            await session.fetch(KEY, name)

    async def write(name: str) -> None:
        async with store.transaction() as session:
            await session.replace(ALIAS, name, VERSIONS)
            await session.commit()

    return {"session with a fetch": read, "transaction with a replace": write}


async def measured(calls: dict[str, Call]) -> list[str]:
    """A line for each call, with the least figures of all rounds."""
    found: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in calls}
    clocks = time.perf_counter, time.process_time, time.thread_time
    for _ in range(ROUNDS):
        for kind, call in calls.items():
            begin = [clock() for clock in clocks]
            for name in map(str, range(CALLS)):
                await call(name)
            ends = zip(clocks, begin, strict=True)
            found[kind].append(tuple((clock() - then) / CALLS * 1e6 for clock, then in ends))
    return [
        f"{kind:28}" + "".join(f"{min(column):8.0f}" for column in zip(*rounds, strict=True))
        for kind, rounds in found.items()
    ]


if __name__ == "__main__":
    print(" " * 28 + "".join(f"{name:>8}" for name in ("time", "all", "loop")))
    uvloop.run(main())
