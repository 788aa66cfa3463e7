"""Abuse by batches that take long, by tokens that nobody knows, and by bodies full of faults."""

import asyncio
from collections import Counter

from aiohttp import ClientError, ClientSession, TCPConnector
from service import ELSEWHERE, Abuse, bearer

from minikms.access.tokens import Token

BATCHES = 300
GUESSERS = 2_000
FAULTY = 50
ITEMS = 1_000
FIELDS = 64
SECONDS = 15.0


async def batches(url: str, token: str) -> Counter[str]:
    """Have many batches signed by RSA-4096 all at once, and leave after a while."""
    connector = TCPConnector(limit=0)
    headers = bearer(token)
    body = {"alias": "rsa4096", "items": [{"data": "aGVsbG8"}] * ITEMS}
    async with ClientSession(url, connector=connector, headers=headers) as client:
        new = {"alg": "rsa4096", "alias": "rsa4096"}
        async with client.post("/key/generate", json=new) as answer:
            answer.raise_for_status()

        async def sign(_: int) -> str:
            try:
                async with asyncio.timeout(SECONDS), client.post("/sign/batch", json=body) as done:
                    await done.read()
                    return str(done.status)
            except (ClientError, TimeoutError) as exc:
                return type(exc).__name__

        return Counter(await asyncio.gather(*map(sign, range(BATCHES))))


async def guesses(url: str, token: str) -> Counter[str]:
    """Send tokens of the right form that nobody has, from one address, all at once."""
    connector = TCPConnector(limit=0, local_addr=ELSEWHERE)
    async with ClientSession(url, connector=connector) as client:

        async def guess(_: int) -> str:
            headers = bearer(Token.new().reveal())
            try:
                async with client.get("/keys", headers=headers) as answer:
                    await answer.read()
                    return str(answer.status)
            except ClientError as exc:
                return type(exc).__name__

        found: Counter[str] = Counter()
        for _ in range(3):
            found.update(await asyncio.gather(*map(guess, range(GUESSERS))))
        return found


async def faults(url: str, token: str) -> Counter[str]:
    """Send batches of items in each of which every field is unknown."""
    headers = bearer(token)
    item = {f"f{number}": 0 for number in range(FIELDS)}
    body = {"alias": "ed25519", "items": [item] * ITEMS}
    async with ClientSession(url, headers=headers) as client:

        async def send(_: int) -> str:
            async with client.post("/verify/batch", json=body) as answer:
                await answer.read()
                return str(answer.status)

        return Counter([await send(number) for number in range(FAULTY)])


ABUSE: dict[str, Abuse] = {
    f"{BATCHES} batches of {ITEMS} RSA-4096 signatures": batches,
    f"{GUESSERS} wrong tokens at once, three times": guesses,
    f"{FAULTY} batches of {ITEMS} items with {FIELDS} unknown fields": faults,
}
