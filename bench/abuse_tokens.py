"""Abuse by a tenant that makes and lists tokens, and the deletion of a profile with very many."""

from collections import Counter
from functools import partial

from abusers import Abuse, abuser, answer, for_seconds
from yarl import URL

from minikms.access.token_record import Token, TokenRecord
from minikms.maintenance.write import StoreWriter
from minikms.store.connections.rows import BATCH
from minikms.store.database import Database

# More than a profile may have now: a service without the bound let its tenants make them.
TOKENS = 20_000
MAKERS = 10
SECONDS = 8.0

CROWDED, ABUSED = "crowded", "abused"


async def fill(database: Database) -> None:
    """Store very many tokens of a profile."""
    writer = StoreWriter(database)
    profile_id = (await database.directory.tenancy(CROWDED)).id
    for start in range(0, TOKENS, BATCH):
        records = []
        for number in range(start, min(start + BATCH, TOKENS)):
            token = Token.new()
            named = {CROWDED: profile_id}
            records.append(
                TokenRecord(
                    token.id, f"t{number}", token.hash, ("sign",), (CROWDED,), number, ids=named
                )
            )
        await writer.insert_tokens(records)


async def of_one_tenant(url: str, token: str) -> Counter[str]:
    """Make and list tokens from callers that are admins of only their own profile."""
    new = {"name": "t", "scopes": ["admin"], "profiles": [ABUSED]}
    async with abuser(url, token) as client:
        await answer(client, "POST", "/profile", json={"name": ABUSED})
        async with client.post("/tokens", json=new) as made:
            made.raise_for_status()
            own = (await made.json())["token"]
    async with abuser(url, own) as client:
        make = partial(answer, client, "POST", "/tokens", json=new)
        look = partial(answer, client, "GET", "/tokens?limit=1000")
        return await for_seconds(SECONDS, MAKERS, make, make, make, look)


async def of_all(url: str, token: str) -> Counter[str]:
    """List all tokens page by page, then delete the profile with most of them."""
    found: Counter[str] = Counter()
    async with abuser(url, token) as client:
        following: str | None = "limit=1000"
        while following is not None:
            async with client.get(f"/tokens?{following}") as page:
                found[str(page.status)] += 1
                await page.read()
                link = page.links.get("next")
                following = None if link is None else URL(link["url"]).query_string
        found[await answer(client, "DELETE", f"/profile/{CROWDED}")] += 1
    return found


ABUSE: dict[str, Abuse] = {
    f"{MAKERS} callers make and list tokens of a tenant": of_one_tenant,
    f"a listing of {TOKENS} tokens, and the end of their profile": of_all,
}
