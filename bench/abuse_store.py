"""Abuse by listings of a profile that had very many keys, and by JWK Sets without a token."""

import asyncio
import time
from collections import Counter

from aiohttp import ClientError, ClientSession, TCPConnector
from service import ELSEWHERE, Abuse, bearer
from stored import create, fill

from minikms.maintenance.write import StoreWriter
from minikms.store.calls import LONG_TIMEOUT
from minikms.store.database import Database
from minikms.store.keys import KeyStore

DELETED = 1_000_000
KEYS = 5_000
CALLERS = 50
LISTERS = 10
SECONDS = 8.0

EMPTIED, PUBLISHED = "emptied", "published"


async def prepare(folder: str) -> tuple[str, ...]:
    """Make an SQLite store for the service; gives the options that have it used.

    It has a profile of which a million keys were deleted, few of them left, and one that publishes
    thousands.
    """
    url, file = f"sqlite://{folder}/keys.db", f"{folder}/store.key"
    location, key = await create(url, file, EMPTIED, PUBLISHED)
    async with KeyStore.open(location, key) as store:
        await store.publish(PUBLISHED, public=True)
    async with Database.open(location, key, timeout=LONG_TIMEOUT) as database:
        writer = StoreWriter(database)
        for start in range(0, DELETED, DELETED // 10):
            await fill(writer, EMPTIED, start, start + 1)
        await fill(writer, PUBLISHED, 0, KEYS)
    return "--store", url, "--store-key-file", file


async def listings(url: str, token: str) -> Counter[str]:
    """List the keys of a profile that had a million, on pages and with filters."""
    headers = bearer(token) | {"X-Profile": EMPTIED}
    paths = ("/keys", "/keys?limit=1", "/keys?alg=ed25519", "/keys?label=a:b", "/jwks.json")
    return await call_on(url, headers, LISTERS, paths)


async def jwk_sets(url: str, token: str) -> Counter[str]:
    """Ask for a published JWK Set of thousands of keys, without a token."""
    return await call_on(url, {}, CALLERS, (f"/jwks.json?profile={PUBLISHED}",))


async def call_on(
    url: str, headers: dict[str, str], callers: int, paths: tuple[str, ...]
) -> Counter[str]:
    """Have each of many callers ask for these paths in turn, for some seconds."""
    until, found = time.monotonic() + SECONDS, Counter[str]()
    connector = TCPConnector(limit=0, local_addr=ELSEWHERE)
    async with ClientSession(url, connector=connector, headers=headers) as client:

        async def call(number: int) -> None:
            while time.monotonic() < until:
                number += 1
                try:
                    async with client.get(paths[number % len(paths)]) as answer:
                        await answer.read()
                        found[str(answer.status)] += 1
                except ClientError as exc:
                    found[type(exc).__name__] += 1

        await asyncio.gather(*map(call, range(callers)))
    return found


ABUSE: dict[str, Abuse] = {
    f"{LISTERS} callers list what is left of {DELETED} keys": listings,
    f"{CALLERS} callers of a JWK Set of {KEYS} keys": jwk_sets,
}
