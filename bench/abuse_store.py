"""Abuse by listings of a profile that had very many keys, and by JWK Sets without a token."""

from collections import Counter
from functools import partial

import abuse_tokens
from abusers import Abuse, abuser, answer, for_seconds
from stored import create, fill

from minikms.maintenance.write import StoreWriter
from minikms.store import Database, publish
from minikms.store.connections.calls import LONG_TIMEOUT

DELETED = 1_000_000
KEYS = 5_000
CALLERS = 50
LISTERS = 10
SECONDS = 8.0

EMPTIED, PUBLISHED = "emptied", "published"


async def prepare(folder: str) -> tuple[str, ...]:
    """Make an SQLite store, and return the options of a service that uses it.

    One profile had a million keys, most of which are deleted. Another publishes thousands, and a
    third one has very many tokens.
    """
    url, file = f"sqlite://{folder}/keys.db", f"{folder}/store.key"
    location, key = await create(url, file, EMPTIED, PUBLISHED, abuse_tokens.CROWDED)
    async with Database.open(location, key, timeout=LONG_TIMEOUT) as database:
        await database.write(PUBLISHED, partial(publish, public=True))
        writer = StoreWriter(database)
        for start in range(0, DELETED, DELETED // 10):
            await fill(writer, EMPTIED, start, start + 1)
        await fill(writer, PUBLISHED, 0, KEYS)
        await abuse_tokens.fill(database)
    return "--store", url, "--store-key-file", file


async def listings(url: str, token: str) -> Counter[str]:
    """List the keys of a profile that had a million, on pages and with filters."""
    paths = ("/keys", "/keys?limit=1", "/keys?alg=ed25519", "/keys?label=a:b", "/jwks.json")
    async with abuser(url, token, {"X-Profile": EMPTIED}) as client:
        calls = [partial(answer, client, "GET", path) for path in paths]
        return await for_seconds(SECONDS, LISTERS, *calls)


async def jwk_sets(url: str, token: str) -> Counter[str]:
    """Request a published JWK Set of thousands of keys, without a token."""
    async with abuser(url) as client:
        call = partial(answer, client, "GET", f"/jwks.json?profile={PUBLISHED}")
        return await for_seconds(SECONDS, CALLERS, call)


ABUSE: dict[str, Abuse] = {
    f"{LISTERS} callers list what is left of {DELETED} keys": listings,
    f"{CALLERS} callers of a JWK Set of {KEYS} keys": jwk_sets,
}
