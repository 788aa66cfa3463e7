"""Abuse by JSON that costs many times its size to parse, packed, and by JWEs full of headers."""

import asyncio
import gzip
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Sequence

import orjson
from aiohttp import ClientError, ClientSession, TCPConnector
from service import ELSEWHERE, Abuse, bearer

CALLERS = 50
SECONDS = 8.0
OBJECTS = (340_000, 19_000)  # as many as a megabyte has, and as a body may have
MEMBERS = (1_500, 100)  # of each header, likewise
RECIPIENTS = 60


async def objects(url: str, token: str) -> Counter[str]:
    """Send bodies of empty objects to be signed."""
    texts = [b",".join([b"{}"] * number) for number in OBJECTS]
    bodies = [b'{"kid":"x","data":"aGk","z":[%s]}' % text for text in texts]
    return await send(url, token, "/sign", bodies)


async def headers(url: str, token: str) -> Counter[str]:
    """Send JWEs whose recipients have headers of very many members."""
    async with ClientSession(url, headers=bearer(token)) as client:
        new = {"alg": "x25519", "alias": "x25519"}
        async with client.post("/key/generate", json=new) as answer:
            answer.raise_for_status()
    bodies = [
        orjson.dumps({"alias": "x25519", "jwe": jwe_of(RECIPIENTS, number)}) for number in MEMBERS
    ]
    return await send(url, token, "/jwe/decrypt", bodies)


def jwe_of(recipients: int, members: int) -> dict[str, object]:
    """A JWE that nobody can open, with so many header members for each recipient."""
    protected = urlsafe_b64encode(b'{"enc":"A256GCM"}').decode().rstrip("=")
    header = {"alg": "ECDH-ES+A256KW", **{f"m{number}": 0 for number in range(members)}}
    to = [{"header": header, "encrypted_key": ""}] * recipients
    return {"protected": protected, "recipients": to, "iv": "", "ciphertext": "", "tag": ""}


async def send(url: str, token: str, path: str, bodies: Sequence[bytes]) -> Counter[str]:
    """Have each of many callers send these bodies in turn, for some seconds."""
    until, found = time.monotonic() + SECONDS, Counter[str]()
    packed = [gzip.compress(body) for body in bodies]
    head = {**bearer(token), "Content-Type": "application/json", "Content-Encoding": "gzip"}
    connector = TCPConnector(limit=0, local_addr=ELSEWHERE)
    async with ClientSession(url, connector=connector, headers=head) as client:

        async def call(number: int) -> None:
            while time.monotonic() < until:
                number += 1
                try:
                    async with client.post(path, data=packed[number % len(packed)]) as answer:
                        await answer.read()
                        found[str(answer.status)] += 1
                except ClientError as exc:
                    found[type(exc).__name__] += 1

        await asyncio.gather(*map(call, range(CALLERS)))
    return found


ABUSE: dict[str, Abuse] = {
    f"{CALLERS} callers send {OBJECTS[0]} empty objects in a kilobyte": objects,
    f"{CALLERS} callers send JWEs of {RECIPIENTS} recipients with {MEMBERS[0]} members": headers,
}
