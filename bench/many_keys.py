"""What calls cost with 1, 1,000 and 100,000 keys in a profile, and what memory they take.

Run it with the Python that Mini KMS is installed in: `python bench/many_keys.py` has an SQLite
file of its own, `python bench/many_keys.py postgres://user:password@host:port/name` a
database that is empty, or not there yet, and is left full. Medians of calls that follow each other,
in milliseconds, of a service in a process of its own.
"""

import asyncio
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import ClientSession
from service import running
from stored import create, fill

from minikms.maintenance.write import StoreWriter
from minikms.store.database import Database
from minikms.store.keys import DEFAULT_PROFILE
from minikms.store.permits import LONG_TIMEOUT

STEPS = (1, 1_000, 100_000)
CALLS = 300


async def main(url: str, key_file: str) -> None:
    """Measure and print."""
    found = await compare(url, key_file)
    print(f"{'':24}", *(f"{number:>9,}" for number in found), "   100,000 to 1,000")
    for name in found[1]:
        times = [calls[name] for calls in found.values()]
        print(f"{name:24}", *(f"{time:9.2f}" for time in times), f"{times[-1] / times[-2]:9.2f}")


async def compare(url: str, key_file: str) -> dict[int, dict[str, float]]:
    """Fill a store in steps, and measure after each: by number of keys, then by call."""
    location, key = await create(url, key_file)
    found: dict[int, dict[str, float]] = {}
    filled = 0
    for number in STEPS:
        async with Database.open(location, key, timeout=LONG_TIMEOUT) as database:
            await fill(StoreWriter(database), DEFAULT_PROFILE, filled, number, aliases=True)
        filled = number
        options = ("--store", url, "--store-key-file", key_file)
        async with running(*options) as (client, process):
            found[number] = await measure(client, process)
    return found


async def measure(client: ClientSession, process: int) -> dict[str, float]:
    """Each call's median in milliseconds, and the service's memory in MiB."""
    started = resident(process)

    async def get(path: str, **headers: str) -> bytes:
        async with client.get(path, headers=headers) as answer:
            assert answer.status == 200
            return await answer.read()

    kid = re.search(rb'"kid":"([\w-]+)"', await get("/key?alias=alias-1"))
    assert kid
    name = kid.group(1).decode()

    async def sign() -> None:
        async with client.post("/sign", json={"kid": name, "data": "aGVsbG8="}) as answer:
            assert answer.status == 200
            await answer.read()

    found = {
        "GET /key/{kid}": await median(lambda: get(f"/key/{name}")),
        "GET /key?alias=": await median(lambda: get("/key?alias=alias-1")),
        "POST /sign": await median(sign),
        "GET /keys?limit=100": await median(lambda: get("/keys"), 10),
        "GET /keys?limit=1000": await median(lambda: get("/keys?limit=1000"), 5),
    }
    begin, lines, slowest = time.perf_counter(), 0, 0.0
    async with client.get("/keys", headers={"Accept": "application/x-ndjson"}) as answer:
        async for _ in answer.content:
            lines += 1
            if lines % 5000 == 0:  # what others wait for meanwhile
                before = time.perf_counter()
                await sign()
                slowest = max(slowest, (time.perf_counter() - before) * 1000)
    print(
        f"{lines:,} keys as NDJSON in {time.perf_counter() - begin:.1f} s, "
        f"longest /sign meanwhile {slowest:.0f} ms, "
        f"memory {started:.0f} MiB at the start, {resident(process):.0f} MiB after"
    )
    return found


async def median(call: Callable[[], Awaitable[object]], calls: int = CALLS) -> float:
    """The median of calls that follow each other, after some that are not counted."""
    times = []
    for number in range(calls + calls // 10 + 1):
        begin = time.perf_counter()
        await call()
        if number > calls // 10:
            times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)


def resident(process: int) -> float:
    """MiB of a process that are in memory."""
    status = Path(f"/proc/{process}/status").read_text("ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found.group(1)) / 1024


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        where = sys.argv[1] if len(sys.argv) > 1 else f"sqlite://{folder}/keys.db"
        asyncio.run(main(where, f"{folder}/store.key"))
