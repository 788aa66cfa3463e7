"""Keys that are made with `delete_after`: their cost, and delays of others while many are due.

Run it with the Python that Mini KMS is installed in: `python bench/delete_after.py`; `--postgres`
for PostgreSQL instead of an SQLite file, `--keys` for another number of due keys. It takes three
minutes, and fails unless the p99 of other calls is below 50 ms. The cost is the processor time of
the service: to make a key and delete it by a call, and to make one that a sweep deletes. The sweep
is that of a service that starts when the keys are due; the time of a start without due keys is
subtracted.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession
from many_profiles import processor, spread
from service import postgres_databases, running
from stored import create

DELETE_AFTER: Final = 60
KEYS: Final = 10_000
BATCH: Final = 1_000
COST: Final = 1_000  # keys of a round
ROUNDS: Final = 3
STARTED: Final = 3.0  # seconds after which a start needs no more processor time
GOAL: Final = 50.0  # milliseconds


async def main(keys: int, *, postgres: bool) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        database = stack.enter_context(postgres_databases()) if postgres else None
        for name, measure in (("cost", cost), ("delays", delays)):
            url = f"sqlite://{folder}/{name}.db" if database is None else database(name)
            await create(url, f"{folder}/{name}.key")
            log = Path(folder, f"{name}.log")
            options = ("--store", url, "--store-key-file", f"{folder}/{name}.key")
            await measure(log, *options, "--audit-log", str(log), keys=keys)


async def cost(log: Path, *options: str, keys: int) -> None:
    """Compare the processor time of a key until it is deleted, by a call and by a sweep."""
    spent: dict[str, list[float]] = defaultdict(list)
    async with running(*options) as (client, pid):

        async def generate(_: int, **more: Any) -> str:
            async with client.post("/key/generate", json={"alg": "p256", **more}) as answer:
                answer.raise_for_status()
                return str((await answer.json())["kid"])

        async def both(number: int) -> None:
            async with client.delete(f"/key/{await generate(number)}") as answer:
                answer.raise_for_status()

        async def temporary(number: int) -> None:
            await generate(number, delete_after=DELETE_AFTER)

        for callers in (1, 8):
            await spread(COST // 10, both, callers)  # to warm up
            for _ in range(ROUNDS):
                for name, call in (("call", both), ("made", temporary)):
                    used = processor(pid)
                    await spread(COST, call, callers)
                    spent[f"{name} {callers}"].append((processor(pid) - used) / COST)
    await asyncio.sleep(DELETE_AFTER)
    number = COST * ROUNDS * 2
    with_due = await start(log, number, *options)
    sweep = (with_due - await start(log, number, *options)) / number
    print("callers  made and deleted  made, delete_after    swept  ratio")
    for callers in (1, 8):
        deleted, made = (min(spent[f"{name} {callers}"]) for name in ("call", "made"))
        times = f"{deleted * 1e6:14.0f} µs {made * 1e6:16.0f} µs {sweep * 1e6:5.0f} µs"
        print(f"{callers:7} {times} {(made + sweep) / deleted:6.2f}", flush=True)


async def start(log: Path, swept: int, *options: str) -> float:
    """Start a service; return its processor time once so many keys are removed."""
    async with running(*options) as (_, pid):
        await asyncio.sleep(STARTED)
        while swept_keys(log) < swept:
            await asyncio.sleep(0.2)
        return processor(pid)


def swept_keys(log: Path) -> int:
    """Count the keys that sweeps have removed, by the audit log."""
    return log.read_text().count('"operation":"sweepKey"')


async def delays(log: Path, *options: str, keys: int) -> None:
    """Measure calls of others from a start until all due keys are removed."""
    async with running(*options) as (client, _):
        async with client.post("/key/generate", json={"alg": "p256", "alias": "own"}) as answer:
            answer.raise_for_status()
        body = {"alg": "p256", "count": BATCH, "delete_after": DELETE_AFTER}
        for _ in range(keys // BATCH):
            async with client.post("/key/generate/batch", json=body) as answer:
                answer.raise_for_status()
        await asyncio.sleep(DELETE_AFTER)
        print(f"\n{'':26} {'calls':>6} {'p50':>10} {'p99':>10}")
        before = await delays_of(client, 10.0)
    show("no due keys", before)
    async with running(*options) as (client, _):
        begun, due = time.perf_counter(), defaultdict[str, list[float]](list)
        while swept_keys(log) < keys:
            for call, times in (await delays_of(client, 0.5)).items():
                due[call] += times
        passed = time.perf_counter() - begun
    show(f"{keys:,} due", due)
    print(f"all removed after {passed:.1f} s")
    worst = max(statistics.quantiles(times, n=100)[98] for times in due.values())
    assert worst < GOAL, f"p99 is {worst:.1f} ms"


async def delays_of(client: ClientSession, seconds: float) -> dict[str, list[float]]:
    """Call the service for some seconds; return the milliseconds of each call."""
    times, until = defaultdict[str, list[float]](list), time.perf_counter() + seconds
    calls = {"/sign": {"alias": "own", "data": "aGVsbG8"}, "/key/generate": {"alg": "p256"}}
    while time.perf_counter() < until:
        for path, body in calls.items():
            sent = time.perf_counter()
            async with client.post(path, json=body) as answer:
                answer.raise_for_status()
                await answer.read()
            times[path].append((time.perf_counter() - sent) * 1000)
        await asyncio.sleep(0.005)
    return times


def show(title: str, times: dict[str, list[float]]) -> None:
    """Print the delays of calls."""
    for call, found in times.items():
        p50, p99 = statistics.median(found), statistics.quantiles(found, n=100)[98]
        print(f"{title:12} {call:13} {len(found):6} {p50:7.1f} ms {p99:7.1f} ms", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=KEYS)
    parser.add_argument("--postgres", action="store_true")
    asked = parser.parse_args(sys.argv[1:])
    asyncio.run(main(asked.keys, postgres=asked.postgres))
