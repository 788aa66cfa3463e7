"""Many profiles with few keys each: time and processor time of calls, and memory.

Run it with the Python that Mini KMS is installed in: `python bench/many_profiles.py` makes 10,000
profiles of ten keys each in an SQLite file; an argument is another number of profiles. 8 callers
make one call after the other, each in a profile at random. The figures are for a hundredth of the
profiles, a tenth, and all, to show which of them grow.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import ClientSession
from service import running
from stored import create

PROFILES: Final = 10_000
KEYS: Final = 10
CALLERS: Final = 8
MAKERS: Final = 2
CALLS: Final = 2_000


async def main(profiles: int) -> None:
    """Measure and print."""
    kids: list[list[str]] = []
    with tempfile.TemporaryDirectory() as folder:
        url, key_file = f"sqlite://{folder}/many.db", f"{folder}/key"
        await create(url, key_file)
        options = ("--store", url, "--store-key-file", key_file)
        async with running(*options) as (client, process):
            print(f"{'profiles':>9}  {'call':25} {'ms':>8} {'of a processor':>15}")
            for step in sorted({max(profiles // 100, 1), max(profiles // 10, 1), profiles}):
                await measure(client, process, kids, step)


async def measure(
    client: ClientSession, process: int, kids: list[list[str]], profiles: int
) -> None:
    """Make profiles up to this number, and measure calls."""

    async def timed(
        name: str, calls: int, call: Callable[[int], Awaitable[None]], callers: int = CALLERS
    ) -> None:
        begun, used = time.perf_counter(), processor(process)
        await spread(calls, call, callers)
        passed, used = time.perf_counter() - begun, processor(process) - used
        each = f"{passed / calls * 1000:8.2f} {used / calls * 1000:15.2f}"
        print(f"{profiles:9,}  {name:25} {each}", flush=True)

    async def names(_: int) -> None:
        async with client.get("/profiles") as answer:
            assert len((await answer.json())["profiles"]) == profiles + 1

    start = len(kids)
    kids += [[] for _ in range(start, profiles)]
    await timed(
        "make it, and its keys", profiles - start, partial(fill, client, kids, start), MAKERS
    )
    for name in ("sign at random", "sign at random, later"):
        await timed(name, CALLS, lambda _: sign(client, kids))
    await timed("GET /profiles", 3, names)
    print(f"{profiles:9,}  {'MiB of memory':25} {resident(process):8.0f}", flush=True)


async def fill(client: ClientSession, kids: list[list[str]], start: int, place: int) -> None:
    """Make a profile and its keys."""
    place += start
    async with client.post("/profile", json={"name": f"p{place}"}) as answer:
        assert answer.status < 300, await answer.text()
    body = {"alg": "ed25519", "count": KEYS}
    headers = {"X-Profile": f"p{place}"}
    async with client.post("/key/generate/batch", json=body, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        kids[place] = [key["kid"] for key in (await answer.json())["keys"]]


async def sign(client: ClientSession, kids: list[list[str]]) -> None:
    """Sign with a key at random."""
    place = random.randrange(len(kids))  # noqa: S311
    body = {"kid": random.choice(kids[place]), "data": "aGVsbG8="}  # noqa: S311
    async with client.post("/sign", json=body, headers={"X-Profile": f"p{place}"}) as answer:
        assert answer.status == 200, await answer.text()


async def spread(calls: int, call: Callable[[int], Awaitable[None]], callers: int) -> None:
    """Make calls, several at a time."""
    places = iter(range(calls))

    async def caller() -> None:
        for place in places:
            await call(place)

    await asyncio.gather(*(caller() for _ in range(callers)))


def processor(process: int) -> float:
    """Seconds of a processor that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident(process: int) -> float:
    """Resident memory of a process, in MiB."""
    status = Path(f"/proc/{process}/status").read_text("ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else PROFILES))
