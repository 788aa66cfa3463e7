"""Abuse by size: records, batches and unread pages of the largest allowed size."""

import asyncio
import contextlib
import gzip
import json
from collections import Counter
from functools import partial

from abusers import ELSEWHERE, Abuse, abuser, answer, for_seconds
from aiohttp import ClientSession
from service import bearer

LISTERS = 4
SILENT = 300
SECONDS = 8.0

PROFILE = "large"
BATCHES, KEYS = 8, 32  # the largest number of keys with labels of 32 KiB in one call
LARGEST = {str(number): "x" * 8190 for number in range(4)}
TOO_LARGE = {str(number): "x" * 8192 for number in range(64)}


async def large_records(url: str, token: str) -> Counter[str]:
    """Make keys with the largest labels and larger ones, and list them from a few callers."""
    body = gzip.compress(json.dumps({"alg": "a128gcm", "count": 300, "labels": TOO_LARGE}).encode())
    packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with abuser(url, token, {"X-Profile": PROFILE}, connections=LISTERS) as client:
        await make_keys(client)
        make = partial(answer, client, "POST", "/key/generate/batch", data=body, headers=packed)
        page = partial(answer, client, "GET", "/keys?limit=1000")
        return await for_seconds(SECONDS, LISTERS, make, page)


async def unread_answers(url: str, token: str) -> Counter[str]:
    """Request pages of 4 MiB on many connections, and read none of them."""
    async with abuser(url, token, {"X-Profile": PROFILE}) as client:
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
    """Make a profile with some MiB of keys, unless it exists."""
    async with client.post("/profile", json={"name": PROFILE}) as made:
        if made.status != 200:
            return
    for _ in range(BATCHES):
        body = {"alg": "a128gcm", "count": KEYS, "labels": LARGEST}
        async with client.post("/key/generate/batch", json=body) as made:
            made.raise_for_status()


ABUSE: dict[str, Abuse] = {
    f"{LISTERS} callers make and list keys of 32 KiB": large_records,
    f"{SILENT} connections that do not read 4 MiB": unread_answers,
}
