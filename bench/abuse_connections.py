"""Abuse of connections: many that send nothing, and many that send an endless head.

They come from 127.0.0.2, so that callers at 127.0.0.1 have another address.
"""

import asyncio
import contextlib
from collections import Counter

from abusers import ELSEWHERE, Abuse

from minikms.http.places import raise_descriptor_limit

SILENT = 1_500
HEADS = 1_000
HELD = 5.0  # seconds

LINE = b"X-%d: " + b"a" * 8_000 + b"\r\n"
LINES = 120  # together as large as aiohttp accepts them


async def silent_connections(url: str, file: str) -> Counter[str]:
    """Open more connections than most systems allow a process, and send nothing."""
    return await _hold(url, SILENT)


async def unfinished_heads(url: str, file: str) -> Counter[str]:
    """Send an unfinished head of a megabyte on each of many connections."""
    lines = [LINE % number for number in range(LINES)]
    return await _hold(url, HEADS, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n", *lines)


async def _hold(url: str, number: int, *sent: bytes) -> Counter[str]:
    """Keep connections open for a while, and count their ends."""
    raise_descriptor_limit()
    host, port = url.removeprefix("http://").split(":")
    over = asyncio.Event()

    async def one() -> str:
        try:
            reader, writer = await asyncio.open_connection(host, int(port), local_addr=ELSEWHERE)
        except OSError as exc:
            return type(exc).__name__
        with contextlib.closing(writer):
            try:
                for piece in sent:
                    writer.write(piece)
                    await writer.drain()
                ended = asyncio.create_task(reader.readline())
                waiting = asyncio.create_task(over.wait())
                await asyncio.wait([ended, waiting], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if not ended.done():
                    ended.cancel()
                    return "held"
                return (await ended).decode().strip() or "closed"
            except OSError:
                return "closed"

    tasks = [asyncio.create_task(one()) for _ in range(number)]
    await asyncio.wait(tasks, timeout=HELD)
    over.set()
    return Counter(await asyncio.gather(*tasks))


ABUSE: dict[str, Abuse] = {
    f"{SILENT} silent connections": silent_connections,
    f"{HEADS} heads without an end": unfinished_heads,
}
