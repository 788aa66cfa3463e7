"""Abuse of TLS: very many connections that begin a handshake, but never finish it.

They come from many addresses of the loopback range, since each address has a limit.
"""

import asyncio
import contextlib
from collections import Counter

from abusers import Abuse

from minikms.http.places import raise_descriptor_limit

HANDSHAKES = 9_000
OF_ONE = 60  # connections per address
TOGETHER = 200
HELD = 5.0  # seconds

# The first bytes of a record with a ClientHello (RFC 8446 section 5.1); the rest is never sent.
BEGIN = bytes.fromhex("160301020001")


async def unfinished_handshakes(url: str, file: str) -> Counter[str]:
    """Begin handshakes, and keep the connections open for a while."""
    raise_descriptor_limit()
    host, port = url.removeprefix("https://").split(":")
    opened: list[asyncio.StreamWriter] = []
    found: Counter[str] = Counter()

    async def begin(number: int) -> None:
        source = f"127.0.{1 + number // OF_ONE // 200}.{2 + number // OF_ONE % 200}"
        try:
            _, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
            writer.write(BEGIN)
            await writer.drain()
        except OSError as exc:
            found[type(exc).__name__] += 1
        else:
            opened.append(writer)
            found["begun"] += 1

    try:
        for start in range(0, HANDSHAKES, TOGETHER):
            numbers = range(start, min(start + TOGETHER, HANDSHAKES))
            await asyncio.gather(*map(begin, numbers))
        await asyncio.sleep(HELD)
    finally:
        for writer in opened:
            with contextlib.suppress(OSError):
                writer.close()
    return found


ABUSE: dict[str, Abuse] = {f"{HANDSHAKES} unfinished handshakes": unfinished_handshakes}
