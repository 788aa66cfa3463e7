"""Our signatures verify with Askar's implementations in Rust, which our algorithms do not use."""

import secrets

import pytest
from algorithm_facts import FACTS
from aries_askar import Key as AskarKey
from built_in_algorithms import algorithm_names

from minikms.encodings import b64url, b64url_decode
from minikms.plugin import BytesStored

MESSAGES = [secrets.token_bytes(size) for size in range(100)]

each_algorithm = pytest.mark.parametrize(
    "name", [name for name in algorithm_names(BytesStored) if FACTS[name].signature]
)


def shorter(signature):
    """The ones of r and s that begin with a zero: one signature in 256 for each."""
    return {place for place in (0, len(signature) // 2) if signature[place] == 0}


@each_algorithm
async def test_ours_over_http_verify_with_theirs(client, name):
    """Some in a call of their own, the others as a batch; of some, r or s is short."""

    async def post(path, **body):
        async with client.post(path, json=body) as response:
            return await response.json()

    async def sign(messages):
        items = [{"data": b64url(message)} for message in messages]
        results = (await post("/sign/batch", kid=kid, items=items))["results"]
        return [b64url_decode(result["sig"]) for result in results]

    key = await post("/key/generate", alg=name)
    kid, alone, others = key["kid"], MESSAGES[:40], MESSAGES[40:]
    signatures, valid = [], []
    for data in map(b64url, alone):
        sig = (await post("/sign", kid=kid, data=data))["sig"]
        signatures.append(b64url_decode(sig))
        valid.append((await post("/verify", kid=kid, data=data, sig=sig))["valid"])
    pairs, seen = list(zip(others, await sign(others), strict=True)), set()
    while len(seen) < 2:
        more = [secrets.token_bytes(32) for _ in range(300)]
        for message, signature in zip(more, await sign(more), strict=True):
            if shorter(signature) - seen:
                pairs.append((message, signature))
                seen |= shorter(signature)
    items = [{"data": b64url(data), "sig": b64url(signature)} for data, signature in pairs]
    found = (await post("/verify/batch", kid=kid, items=items))["results"]
    valid += [result["valid"] for result in found]

    pairs = [*zip(alone, signatures, strict=True), *pairs]
    theirs = AskarKey.from_jwk(key["jwk"])
    verified = [
        (len(signature), ours, theirs.verify_signature(message, signature))
        for (message, signature), ours in zip(pairs, valid, strict=True)
    ]
    assert verified == [(FACTS[name].signature, True, True)] * len(pairs)
