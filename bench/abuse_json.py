"""Abuse by compressed JSON that is costly to parse, and by JWEs full of headers."""

import gzip
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Sequence
from functools import partial

import orjson
from abusers import Abuse, abuser, answer, for_seconds

CALLERS = 50
SECONDS = 8.0
OBJECTS = (340_000, 19_000)  # as many as fit into a megabyte, and as a body may have
MEMBERS = (1_500, 100)  # of each header, likewise
RECIPIENTS = 60


async def objects(url: str, token: str) -> Counter[str]:
    """Send bodies of empty objects to `/sign`."""
    texts = [b",".join([b"{}"] * number) for number in OBJECTS]
    bodies = [b'{"kid":"x","data":"aGk","z":[%s]}' % text for text in texts]
    return await send(url, token, "/sign", bodies)


async def headers(url: str, token: str) -> Counter[str]:
    """Send JWEs whose recipients' headers have very many members."""
    async with abuser(url, token) as client:
        new = {"alg": "x25519", "alias": "x25519"}
        async with client.post("/key/generate", json=new) as made:
            made.raise_for_status()
    bodies = [
        orjson.dumps({"alias": "x25519", "jwe": jwe_of(RECIPIENTS, number)}) for number in MEMBERS
    ]
    return await send(url, token, "/jwe/decrypt", bodies)


def jwe_of(recipients: int, members: int) -> dict[str, object]:
    """Make a JWE that nobody can open, with this number of header members per recipient."""
    protected = urlsafe_b64encode(b'{"enc":"A256GCM"}').decode().rstrip("=")
    header = {"alg": "ECDH-ES+A256KW", **{f"m{number}": 0 for number in range(members)}}
    to = [{"header": header, "encrypted_key": ""}] * recipients
    return {"protected": protected, "recipients": to, "iv": "", "ciphertext": "", "tag": ""}


async def send(url: str, token: str, path: str, bodies: Sequence[bytes]) -> Counter[str]:
    """Send these bodies in turn, compressed."""
    head = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with abuser(url, token, head) as client:
        packed = [gzip.compress(body) for body in bodies]
        calls = [partial(answer, client, "POST", path, data=data) for data in packed]
        return await for_seconds(SECONDS, CALLERS, *calls)


ABUSE: dict[str, Abuse] = {
    f"{CALLERS} callers send {OBJECTS[0]} empty objects in a kilobyte": objects,
    f"{CALLERS} callers send JWEs of {RECIPIENTS} recipients with {MEMBERS[0]} members": headers,
}
