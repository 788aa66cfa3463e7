"""Abuse by size: records, batches and pages that are as large as they may be, and not read."""

import asyncio
import contextlib
import gzip
import json
import time
from collections import Counter

from aiohttp import ClientSession, TCPConnector
from service import ELSEWHERE, Abuse, bearer

LISTERS = 4
SILENT = 300
SECONDS = 8.0

PROFILE = "large"
BATCHES, KEYS = 8, 32  # as many keys as labels of 32 KiB let one call make
LARGEST = {str(number): "x" * 8190 for number in range(4)}
TOO_LARGE = {str(number): "x" * 8192 for number in range(64)}


async def large_records(url: str, token: str) -> Counter[str]:
    """Make keys with labels as large as may be, and larger, and list them by a few callers."""
    connector = TCPConnector(limit=LISTERS, local_addr=ELSEWHERE)
    headers = bearer(token) | {"X-Profile": PROFILE}
    found: Counter[str] = Counter()
    async with ClientSession(url, connector=connector, headers=headers) as client:
        await make_keys(client)
        body = gzip.compress(
            json.dumps({"alg": "a128gcm", "count": 300, "labels": TOO_LARGE}).encode()
        )
        packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        until = time.monotonic() + SECONDS

        async def call(number: int) -> None:
            while time.monotonic() < until:
                async with client.post("/key/generate/batch", data=body, headers=packed) as answer:
                    found[f"batch: {answer.status}"] += 1
                async with client.get("/keys?limit=1000") as answer:
                    await answer.read()
                    found[f"list: {answer.status}"] += 1

        await asyncio.gather(*map(call, range(LISTERS)))
    return found


async def unread_answers(url: str, token: str) -> Counter[str]:
    """Ask for pages of 4 MiB on many connections, and read none of them."""
    async with ClientSession(url, headers=bearer(token) | {"X-Profile": PROFILE}) as client:
        await make_keys(client)
    host, port = url.removeprefix("http://").split(":")
    fields = {"Host": "kms", "Connection": "close", "X-Profile": PROFILE, **bearer(token)}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    request = f"GET /keys?limit=1000 HTTP/1.1\r\n{head}\r\n".encode()

    async def one(_: int) -> str:
        try:
            reader, writer = await asyncio.open_connection(
                host, int(port), local_addr=ELSEWHERE, limit=1024
            )
        except OSError as exc:
            return type(exc).__name__
        with contextlib.closing(writer):
            writer.write(request)
            await asyncio.sleep(SECONDS)
            try:
                content = await reader.read()
            except OSError:
                return "closed"
        whole = content.endswith((b"]\n", b"}"))
        return content[9:12].decode() if whole else "cut off"

    return Counter(await asyncio.gather(*map(one, range(SILENT))))


async def make_keys(client: ClientSession) -> None:
    """Have a profile with some MiB of keys, unless it is there already."""
    async with client.post("/profile", json={"name": PROFILE}) as answer:
        if answer.status != 200:
            return
    for _ in range(BATCHES):
        body = {"alg": "a128gcm", "count": KEYS, "labels": LARGEST}
        async with client.post("/key/generate/batch", json=body) as answer:
            answer.raise_for_status()


ABUSE: dict[str, Abuse] = {
    f"{LISTERS} callers make and list keys of 32 KiB": large_records,
    f"{SILENT} connections that do not read 4 MiB": unread_answers,
}
