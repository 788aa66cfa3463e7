"""How long `GET /healthz` takes while ten RSA-4096 keys are being made, and while nothing is.

Run it with the Python that Mini KMS is installed in: `python bench/responsiveness.py`.
"""

import asyncio
import statistics
import time

from aiohttp import ClientSession
from service import running

KEYS = 10


async def main() -> None:
    """Start a service, measure, print, stop it."""
    async with running("--log-level", "info") as (client, _):
        idle = await sample(client, asyncio.create_task(asyncio.sleep(2)))
        begin = time.perf_counter()
        busy = await sample(client, asyncio.create_task(make_keys(client)))
        took = time.perf_counter() - begin
    for name, times in (("idle", idle), (f"making {KEYS} RSA-4096 keys", busy)):
        print(
            f"{name}: {len(times)} calls of /healthz, median "
            f"{statistics.median(times):.1f} ms, longest {max(times):.1f} ms"
        )
    print(f"the keys took {took:.1f} s")


async def make_keys(client: ClientSession) -> None:
    """Have all keys made at once."""

    async def make() -> None:
        async with client.post("/key/generate", json={"alg": "rsa4096"}) as answer:
            answer.raise_for_status()
            await answer.read()

    await asyncio.gather(*(make() for _ in range(KEYS)))


async def sample(client: ClientSession, until: "asyncio.Task[None]") -> list[float]:
    """Milliseconds of each `GET /healthz`, every 10 ms until the task is done."""
    times = []
    while not until.done():
        begin = time.perf_counter()
        async with client.get("/healthz") as answer:
            await answer.read()
        times.append((time.perf_counter() - begin) * 1000)
        await asyncio.sleep(0.01)
    await until
    return times


if __name__ == "__main__":
    asyncio.run(main())
