"""Aliases as long as a DID with a document in it: wherever one is taken, and on each store."""

import pytest
from problems import refused

# 16,384 bytes of UTF-8, 49,152 in a query.
LONGEST = "🔑" * 4096
# From where on an entry has a hash as its name.
EDGES = ["a" * 2048, "a" * 2049, "é" * 1024, "é" * 1025]

pytestmark = [pytest.mark.each_store, pytest.mark.shared_service]


@pytest.fixture
def ok(client):
    async def call(method, path, body=None, **query):
        async with client.request(method, path, json=body, params=query) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    return call


@pytest.mark.parametrize("alias", [LONGEST, "did:peer:4" + "z" * 4086, *EDGES])
async def test_wherever_one_is_taken(client, ok, generate, alias):
    key = await generate(alias=alias)
    kid = key["kid"]
    assert key["aliases"] == [alias]
    data = {"alias": alias, "data": "aGVsbG8"}
    for _ in range(2):  # the second time from memory
        assert (await ok("POST", "/sign", data))["kid"] == kid
    assert (await ok("GET", "/key", alias=alias))["kid"] == kid
    assert [one["kid"] for one in await ok("GET", "/keys", alias=alias)] == [kid]
    assert alias in [one["kid"] for one in (await ok("GET", "/jwks.json"))["keys"]]
    jws = (await ok("POST", "/jws/sign", {"alias": alias, "payload": ""}))["jws"]
    found = await ok("POST", "/jws/verify", {"alias": alias, "jws": jws})
    assert (found["valid"], found["header"]["kid"]) == (True, alias)
    await ok("POST", f"/key/{kid}/associate", {"alias": alias})  # again: nothing changes
    assert (await ok("GET", f"/key/{kid}"))["aliases"] == [alias]
    await ok("DELETE", f"/key/{kid}/associate", alias=alias)
    async with client.get("/key", params={"alias": alias}) as response:
        assert response.status == 404
    other = (await generate("hs256", alias=alias))["kid"]
    assert (await ok("GET", "/key", alias=alias))["kid"] == other


async def test_each_is_another_name(ok, generate):
    names = [LONGEST, LONGEST[:-1] + "🔒", LONGEST[:-1]]
    kids = [(await generate(alias=name))["kid"] for name in names]
    assert [(await ok("GET", "/key", alias=name))["kid"] for name in names] == kids


async def test_a_long_alias_follows_its_key(client, ok, generate):
    old = (await generate(alias=LONGEST))["kid"]
    data = {"alias": LONGEST, "data": "aGVsbG8"}
    assert (await ok("POST", "/sign", data))["kid"] == old
    new = (await ok("POST", f"/key/{old}/rotate"))["kid"]
    assert (await ok("POST", "/sign", data))["kid"] == new
    third = (await generate())["kid"]
    await ok("POST", f"/key/{third}/associate", {"alias": LONGEST})
    assert (await ok("POST", "/sign", data))["kid"] == third
    assert (await ok("GET", f"/key/{new}"))["aliases"] == []
    await ok("DELETE", f"/key/{third}")
    async with client.post("/sign", json=data) as response:
        assert response.status == 404


@pytest.mark.parametrize("alias", [LONGEST + "🔑", "", "a\nb", "\x1fsha256:" + "0" * 64])
async def test_an_alias_over_the_bound_is_refused(client, generate, alias):
    kid = (await generate())["kid"]
    path = f"/key/{kid}/associate"
    calls = [
        client.post(path, json={"alias": alias}),
        client.post("/key/generate", json={"alg": "ed25519", "alias": alias}),
        client.post("/sign", json={"alias": alias, "data": ""}),
        client.get("/key", params={"alias": alias}),
        client.delete(path, params={"alias": alias}),
    ]
    for call in calls:
        await refused(await call, 422, "validation-failed")
