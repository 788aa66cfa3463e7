"""Keys in the cache: found at once, bounded by their memory, and never shown."""

import pytest
from aries_askar import AskarErrorCode, Session
from http_answers import ok
from problems import slug_of

from minikms.config import Config
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.cached_keys import CachedKey
from minikms.keys.making import maker
from minikms.keys.signing import ComputeMac, Sign, SignOptions
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.serve.assembly import create_service
from minikms.store.askar.sequence import CONTENTS, slot_of
from minikms.store.askar.stores import AskarError
from minikms.store.categories import KEY
from minikms.web.state import SERVICE

MEMORY = 100_000  # bytes: some 45 used keys of Ed25519, 3 of ML-DSA-44


@pytest.fixture
async def client(start, any_store):
    return await start(create_service(Config(**any_store, cache_memory=MEMORY, cache_ttl=3600)))


def cache(client):
    return client.app[SERVICE].operations.cache


async def generate(client, alg="ed25519", others=(), **body):
    """Make a key that shares its counter neither with the profile's contents nor with others."""
    taken = {slot_of(CONTENTS, DEFAULT_PROFILE), *(slot_of(KEY, kid) for kid in others)}
    while True:
        made = await ok(await client.post("/key/generate", json={"alg": alg, **body}))
        if slot_of(KEY, made["kid"]) not in taken:
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


@pytest.mark.parametrize("scan", ["list", "ndjson", "jwks", "sweep"])
async def test_a_scan_of_all_keys_evicts_no_key_in_use(client, scan):
    used = [await generate(client) for _ in range(20)]
    for _ in range(2):
        for kid in used:
            await sign(client, kid=kid)
    for _ in range(100):
        await generate(client)
    if scan == "sweep":
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


@pytest.mark.parametrize("by", ["kid", "alias"])
async def test_a_key_in_memory_is_not_waited_for(client, by):
    kid = await generate(client, alias="a")
    service, ref = client.app[SERVICE], KeyRef(kid=kid) if by == "kid" else KeyRef(alias="a")

    def use():
        return service.operations.perform(DEFAULT_PROFILE, ref, Sign(b"message", SignOptions()))

    signed, record = await use(), await service.operations.get(DEFAULT_PROFILE, ref)
    for call in (use(), service.operations.get(DEFAULT_PROFILE, ref)):
        with pytest.raises(StopIteration) as ended:
            call.send(None)  # the first step of it is the last
        assert ended.value.value in (signed, record)


async def test_the_repr_of_a_cached_key_shows_no_secret(client):
    service = client.app[SERVICE]
    algorithm = service.operations.registry.get("hs256")
    record, material = maker(
        algorithm, KeyPolicy(), lambda: algorithm.import_secret(b"planted" * 5)
    )()
    await service.operations.store.insert(DEFAULT_PROFILE, record, material)
    await service.operations.perform(DEFAULT_PROFILE, KeyRef(kid=record.kid), ComputeMac(b""))
    (entry,) = service.operations.cache._entries.values()
    assert entry.value.key.secret == b"planted" * 5
    pending = service.operations.cache.start_fill()
    for shown in (
        service.operations.cache,
        entry,
        service.operations.cache._entries,
        pending,
        entry.value,
    ):
        assert "planted" not in repr(shown)
    assert "planted" not in repr(CachedKey(record, "planted", "planted"))


async def test_a_commit_that_did_not_say_whether_it_was_done(client, monkeypatch):
    kid = await generate(client)
    await sign(client, kid=kid)
    commit = Session.commit

    async def committed_unheard(session):
        await commit(session)
        raise AskarError(AskarErrorCode.BACKEND, "the connection was lost")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "commit", committed_unheard)
        answer = await client.patch(f"/key/{kid}", json={"state": "disabled"})
        assert await slug_of(answer) == "store-unavailable"
    answer = await client.post("/sign", json={"kid": kid, "data": ""})
    assert await slug_of(answer) == "key-not-usable"


async def test_a_new_key_takes_no_other_out_of_memory(client):
    kid = await generate(client)
    await sign(client, kid=kid)
    for number in range(10):
        await generate(client, alias=str(number))
    misses = cache(client).misses
    await sign(client, kid=kid)
    assert cache(client).misses == misses


async def test_a_deleted_key_leaves_memory_with_the_next_sweep(client):
    kids = [await generate(client)]
    kids.append(await generate(client, others=kids))
    for kid in kids:
        await sign(client, kid=kid)
    await ok(await client.delete(f"/key/{kids[0]}"))
    await client.app[SERVICE].sweep()
    assert cached(client, kids) == kids[1:]


async def test_the_number_of_keys_is_bounded_too(start):
    client = await start(create_service(Config(cache_size=3)))
    kids = [await generate(client) for _ in range(5)]
    for kid in kids:
        await sign(client, kid=kid)
    assert cached(client, kids) == kids[-3:]
