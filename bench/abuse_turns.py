"""Abuse by long work of a tenant: claims of very many objects, and long revocation lists."""

import json
from base64 import urlsafe_b64encode
from collections import Counter
from functools import partial

import orjson
from abusers import Abuse, abuser, answer, for_seconds

CALLERS = 30
ENTRIES = 20_000
OBJECTS = 19_000
SECONDS = 8.0
ISSUER = "https://issuer.example"
TENANT = {"X-Profile": "long"}
JSON = {"Content-Type": "application/json"}


async def large_claims(url: str, token: str) -> Counter[str]:
    """Sign JWSs whose claims take a third of a second to read."""
    claims = {"iss": ISSUER, "of": [{"\u00e9": number} for number in range(OBJECTS)]}
    payload = urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    async with abuser(url, token, TENANT | JSON) as client:
        await answer(client, "POST", "/profile", json={"name": TENANT["X-Profile"]})
        rules = {"jws": {"claims": {"iss": [ISSUER]}}}
        new = {"alg": "ed25519", "alias": "issuer", "rules": rules}
        async with client.post("/key/generate", json=new) as made:
            made.raise_for_status()
        body = orjson.dumps({"alias": "issuer", "payload": payload})
        sign = partial(answer, client, "POST", "/jws/sign", data=body)
        return await for_seconds(SECONDS, CALLERS, sign)


async def long_lists(url: str, token: str) -> Counter[str]:
    """Make revocation lists with as many entries as a list may have."""
    new = {"alg": "p256", "alias": "authority"}
    root = {"alias": "authority", "profile": "self-signed", "subject": "CN=Root", "days": 3650}
    entries = [
        {"serial": f"{number + (1 << 158):x}", "date": "2026-01-30T08:15:00Z"}
        for number in range(1, ENTRIES + 1)
    ]
    async with abuser(url, token, TENANT | JSON) as client:
        await answer(client, "POST", "/profile", json={"name": TENANT["X-Profile"]})
        async with client.post("/key/generate", json=new) as made:
            made.raise_for_status()
            kid = (await made.json())["kid"]
        async with client.post("/certificate", json=root) as made:
            made.raise_for_status()
            chain = [(await made.json())["certificate"]]
        async with client.put(f"/key/{kid}/certificates", json={"certificates": chain}) as made:
            made.raise_for_status()
        body = orjson.dumps({"kid": kid, "number": 1, "days": 30, "revoked": entries})
        return await for_seconds(
            SECONDS, CALLERS, partial(answer, client, "POST", "/crl", data=body)
        )


ABUSE: dict[str, Abuse] = {
    f"{CALLERS} callers sign claims of {OBJECTS} objects": large_claims,
    f"{CALLERS} callers make revocation lists of {ENTRIES} entries": long_lists,
}
