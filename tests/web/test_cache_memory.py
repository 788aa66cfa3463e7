"""The memory of the key cache: its bound, and what is evicted."""

import pytest
from calls import ok

from minikms.config import Config
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.serve.assembly import create_service
from minikms.store.askar.slots import CONTENTS, slot_of
from minikms.store.categories import KEY
from minikms.web.state import SERVICE

MEMORY = 100_000  # bytes: some 45 used keys of Ed25519, 3 of ML-DSA-44


@pytest.fixture
async def client(start, any_store):
    return await start(create_service(Config(**any_store, cache_memory=MEMORY, cache_ttl=3600)))


def cache(client):
    return client.app[SERVICE].cache


async def generate(client, alg="ed25519", **body):
    """Make a key whose counter is not the one that each write in the profile increments."""
    while True:
        made = await ok(await client.post("/key/generate", json={"alg": alg, **body}))
        if slot_of(KEY, made["kid"]) != slot_of(CONTENTS, DEFAULT_PROFILE):
            return made["kid"]


async def sign(client, **ref):
    await ok(await client.post("/sign", json={**ref, "data": ""}))


def cached(client, kids):
    return [kid for kid in kids if ("default", kid, None) in cache(client)]


async def test_keys_of_all_algorithms_share_the_memory(client):
    kids = []
    for alg in ("ed25519", "mldsa44", "p256", "mldsa65", "k256", "ed448") * 4:
        kids.append(await generate(client, alg))
        await sign(client, kid=kids[-1])
        assert 0 < cache(client).weight <= MEMORY
    assert cache(client).evictions == len(kids) - len(cache(client)) > 0
    assert cached(client, kids[-3:]) == kids[-3:]


async def test_a_key_larger_than_the_memory_is_used_and_kept_alone(client):
    aliases = [f"{number}-{'a' * 500}" for number in range(200)]
    [kid, small] = [await generate(client), await generate(client)]
    for alias in aliases:
        await ok(await client.post(f"/key/{kid}/associate", json={"alias": alias}))
    for ref in ({"kid": kid}, {"alias": aliases[0]}, {"alias": aliases[-1]}):
        await sign(client, **ref)
    assert (cached(client, [kid]), len(cache(client)), cache(client).misses) == ([kid], 1, 1)
    assert cache(client).weight > MEMORY
    await sign(client, kid=small)
    assert (cached(client, [kid, small]), cache(client).weight < MEMORY) == ([small], True)


async def test_a_key_counts_its_public_key_once_it_has_verified(client):
    kid = await generate(client, "p256")
    await sign(client, kid=kid)
    before = cache(client).weight
    body = {"kid": kid, "data": "", "sig": "A" * 86}
    for _ in range(2):
        await client.post("/verify", json=body)
        assert cache(client).weight == before + 2_400


async def test_a_key_counts_its_certificates(client):
    kid = await generate(client, "p256")
    body = {"kid": kid, "profile": "self-signed", "subject": "CN=Example", "days": 10}
    made = await ok(await client.post("/certificate", json=body))
    before = cache(client).weight
    chain = {"certificates": [made["certificate"]]}
    [stored] = (await ok(await client.put(f"/key/{kid}/certificates", json=chain)))["certificates"]
    await sign(client, kid=kid)
    assert before + len(stored) <= cache(client).weight <= before + 2 * len(stored)


@pytest.mark.parametrize("scan", ["get", "sign", "list", "ndjson", "jwks", "sweep"])
async def test_a_scan_of_all_keys_evicts_no_key_in_use(client, scan):
    used = [await generate(client) for _ in range(20)]
    for _ in range(2):
        for kid in used:
            await sign(client, kid=kid)
    others = [await generate(client) for _ in range(100)]
    if scan == "get":
        for kid in others:
            await ok(await client.get(f"/key/{kid}"))
    elif scan == "sign":
        for kid in others:
            await sign(client, kid=kid)
    elif scan == "sweep":
        await client.app[SERVICE].sweep()
    else:
        path = "/jwks.json" if scan == "jwks" else "/keys?limit=1000"
        headers = {"Accept": "application/x-ndjson"} if scan == "ndjson" else {}
        async with client.get(path, headers=headers) as answer:
            assert answer.status == 200
            await answer.read()
        assert len(cache(client)) == len(used)
    misses = cache(client).misses
    for kid in used:
        await sign(client, kid=kid)
    assert cache(client).misses == misses


async def test_a_key_is_cached_once_by_kid_and_by_all_aliases(client):
    kid = await generate(client, alias="a")
    await ok(await client.post(f"/key/{kid}/associate", json={"alias": "b"}))
    for ref in ({"kid": kid}, {"alias": "a"}, {"alias": "b"}):
        await sign(client, **ref)
    assert (len(cache(client)), cache(client).misses) == (1, 1)


async def test_the_number_of_keys_is_bounded_too(start, any_store):
    client = await start(create_service(Config(**any_store, cache_size=3)))
    kids = [await generate(client) for _ in range(5)]
    for kid in kids:
        await sign(client, kid=kid)
    assert cached(client, kids) == kids[-3:]
