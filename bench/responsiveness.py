"""How long `GET /healthz` takes while ten RSA-4096 keys are being made, and while nothing is.

Run it with the Python that Mini KMS is installed in: `python bench/responsiveness.py`.
"""

import asyncio
import re
import statistics
import sys
import time

from aiohttp import ClientSession

KEYS = 10


async def main() -> None:
    """Start a service, measure, print, stop it."""
    command = (sys.executable, "-m", "minikms", "serve", "--port", "0", "--log-level", "info")
    server = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert server.stderr is not None
    try:
        url = ""
        while not url:
            line = (await server.stderr.readline()).decode()
            found = re.search(r"listening on (\S+),", line)
            url = found.group(1) if found else ""
        drain = asyncio.create_task(server.stderr.read())
        async with ClientSession(url) as client:
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
    finally:
        server.terminate()
        await server.wait()
    await drain


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
