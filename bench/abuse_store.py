"""Abuse by listings of a profile that had very many keys, and by JWK Sets without a token."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from aiohttp import ClientError, ClientSession, TCPConnector
from service import bearer

from minikms.keys.describe import describe
from minikms.maintenance.inspect import Contents
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyPolicy
from minikms.store.askar import new_raw_key
from minikms.store.keys import KeyStore
from minikms.store.location import StoreKey, StoreLocation

DELETED = 1_000_000
KEYS = 5_000
CALLERS = 50
LISTERS = 10
SECONDS = 8.0

EMPTIED, PUBLISHED = "emptied", "published"

# Connections are counted by address, and the caller who means no harm has 127.0.0.1.
ELSEWHERE = ("127.0.0.2", 0)


async def prepare(folder: str) -> tuple[str, ...]:
    """Make an SQLite store for the service; gives the options that have it used.

    It has a profile of which a million keys were deleted, few of them left, and one that publishes
    thousands.
    """
    url, key = f"sqlite://{folder}/keys.db", StoreKey(new_raw_key())
    file = Path(folder) / "store.key"
    file.touch(0o600)
    file.write_text(key.secret)
    location = StoreLocation.parse(url)
    async with KeyStore.create(location, key) as store:
        for profile in (EMPTIED, PUBLISHED):
            await store.create_profile(profile)
        await store.publish(PUBLISHED, public=True)
    async with Contents.open(location, key) as contents:
        for number in range(10):
            await fill(contents, EMPTIED, number * DELETED // 10, 1)
        for first in range(0, KEYS, 500):
            await fill(contents, PUBLISHED, first, 500)
    return "--store", url, "--store-key-file", str(file)


async def fill(contents: Contents, profile: str, start: int, number: int) -> None:
    """Store so many Ed25519 keys at the places after `start`."""
    algorithm = AlgorithmRegistry.from_installed().get("ed25519")
    keys = []
    for place in range(start + 1, start + number + 1):
        key = algorithm.generate()
        record = replace(describe(algorithm, key, "askar", KeyPolicy()), seq=f"{place:020d}")
        keys.append((record, algorithm.pack(key)))
    await contents.insert(profile, keys)
    await contents.set_last_seq(profile, start + number)


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


ABUSE: dict[str, Callable[[str, str], Awaitable[Counter[str]]]] = {
    f"{LISTERS} callers list what is left of {DELETED} keys": listings,
    f"{CALLERS} callers of a JWK Set of {KEYS} keys": jwk_sets,
}
