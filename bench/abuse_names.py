"""Abuse by a claim whose name is costly to compare with the names of a rule."""

from base64 import urlsafe_b64encode
from collections import Counter
from functools import partial

import orjson
from abusers import Abuse, abuser, answer, for_seconds

CALLERS = 50
SECONDS = 8.0
LIGATURES = 21_000  # 63 KB


async def names(url: str, token: str) -> Counter[str]:
    """Sign a claim's name of ligatures, each of which folds to eighteen letters."""
    rules = {"jws": {"typ": ["JWT"], "claims": {"iss": ["a"]}, "disclosures": "shown"}}
    payload = orjson.dumps({"iss": "a", "\ufdfa" * LIGATURES: 1})
    body = {"alias": "ruled", "header": {"typ": "JWT"}}
    body["payload"] = urlsafe_b64encode(payload).decode()
    async with abuser(url, token) as client:
        new = {"alg": "ed25519", "alias": "ruled", "rules": rules}
        async with client.post("/key/generate", json=new) as made:
            made.raise_for_status()
        sign = partial(answer, client, "POST", "/jws/sign", json=body)
        return await for_seconds(SECONDS, CALLERS, sign)


ABUSE: dict[str, Abuse] = {f"{CALLERS} callers sign names of {LIGATURES} ligatures": names}
