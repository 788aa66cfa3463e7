"""Abuse by long batches, by unknown tokens, and by bodies full of faults."""

import asyncio
from collections import Counter
from functools import partial

from abusers import Abuse, abuser, all_at_once, answer
from service import bearer

from minikms.access.token_record import Token

BATCHES = 300
GUESSERS = 2_000
FAULTY = 50
ITEMS = 1_000
FIELDS = 64
SECONDS = 15.0


async def batches(url: str, token: str) -> Counter[str]:
    """Request many batches of RSA-4096 signatures at once, and disconnect after a while."""
    body = {"alias": "rsa4096", "items": [{"data": "aGVsbG8"}] * ITEMS}
    async with abuser(url, token) as client:
        new = {"alg": "rsa4096", "alias": "rsa4096"}
        async with client.post("/key/generate", json=new) as made:
            made.raise_for_status()

        async def sign() -> str:
            try:
                async with asyncio.timeout(SECONDS):
                    return await answer(client, "POST", "/sign/batch", json=body)
            except TimeoutError:
                return "TimeoutError"

        return await all_at_once(BATCHES, sign)


async def guesses(url: str, token: str) -> Counter[str]:
    """Send well-formed unknown tokens from one address at once."""
    async with abuser(url) as client:

        async def guess() -> str:
            return await answer(client, "GET", "/keys", headers=bearer(Token.new().reveal()))

        found: Counter[str] = Counter()
        for _ in range(3):
            found.update(await all_at_once(GUESSERS, guess))
        return found


async def faults(url: str, token: str) -> Counter[str]:
    """Send batches of items with only unknown fields."""
    item = {f"f{number}": 0 for number in range(FIELDS)}
    body = {"alias": "ed25519", "items": [item] * ITEMS}
    async with abuser(url, token, connections=1) as client:
        return await all_at_once(
            FAULTY, partial(answer, client, "POST", "/verify/batch", json=body)
        )


ABUSE: dict[str, Abuse] = {
    f"{BATCHES} batches of {ITEMS} RSA-4096 signatures": batches,
    f"{GUESSERS} wrong tokens at once, three times": guesses,
    f"{FAULTY} batches of {ITEMS} items with {FIELDS} unknown fields": faults,
}
