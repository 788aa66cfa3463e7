"""Abuse by claims whose names are costly to compare with the names in a key's rules."""

from base64 import urlsafe_b64encode
from collections import Counter
from functools import partial

import orjson
from abusers import Abuse, abuser, answer, for_seconds

CALLERS = 50
SECONDS = 8.0
LETTERS = 21_000  # as many as a payload has whose claims are read on the event loop


async def names(url: str, token: str) -> Counter[str]:
    """Sign claims of a name that folds to eighteen letters for each of its own, and of many."""
    rules = {"jws": {"typ": ["JWT"], "claims": {"iss": ["a"]}, "disclosures": "shown"}}
    payloads = [
        {"iss": "a", "\ufdfa" * LETTERS: 1},
        {"iss": "a", **{chr(0xAC00 + number): 1 for number in range(LETTERS // 3)}},
    ]
    async with abuser(url, token) as client:
        new = {"alg": "ed25519", "alias": "ruled", "rules": rules}
        async with client.post("/key/generate", json=new) as made:
            made.raise_for_status()
        body = {"alias": "ruled", "header": {"typ": "JWT"}}
        encoded = (urlsafe_b64encode(orjson.dumps(each)).decode() for each in payloads)
        calls = [
            partial(answer, client, "POST", "/jws/sign", json={**body, "payload": each})
            for each in encoded
        ]
        return await for_seconds(SECONDS, CALLERS, *calls)


ABUSE: dict[str, Abuse] = {f"{CALLERS} callers sign names of {LETTERS} ligatures": names}
