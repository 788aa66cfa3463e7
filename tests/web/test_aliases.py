"""How many aliases a key may have, wherever one is bound."""

from dataclasses import replace

import pytest

from minikms.keys.describe import describe
from minikms.maintenance.write import StoreWriter
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import KeyPolicy
from minikms.store.keys import DEFAULT_PROFILE
from minikms.web.state import STORE

ALGORITHM = AlgorithmRegistry.from_installed().get("ed25519")


@pytest.fixture
def with_aliases(client):
    """Store a key that has so many aliases, as an earlier version might have left it."""

    async def make(number):
        key = ALGORITHM.generate()
        record = describe(ALGORITHM, key, "askar", KeyPolicy(), ALGORITHM.key_operations)
        record = replace(record, aliases=tuple(f"a{place}" for place in range(number)))
        writer = StoreWriter(client.app[STORE].database)
        await writer.insert(DEFAULT_PROFILE, [(record, ALGORITHM.pack(key))])
        return record.kid

    return make


@pytest.fixture
def associate(client):
    async def call(kid, alias):
        return await client.post(f"/key/{kid}/associate", json={"alias": alias})

    return call


@pytest.fixture
def aliases_of(client):
    async def call(kid):
        return (await (await client.get(f"/key/{kid}")).json())["aliases"]

    return call


@pytest.mark.each_store
async def test_a_key_has_a_thousand_at_most(
    client, generate, with_aliases, associate, aliases_of, refused
):
    kid = await with_aliases(999)
    assert (await associate(kid, "last")).status == 200
    before = await aliases_of(kid)
    await refused(await associate(kid, "one more"), 422, "too-many-aliases")
    other = await generate(alias="another's")
    await refused(await associate(kid, "another's"), 422, "too-many-aliases")
    # Nothing of that was done, and what the key has already is no further one.
    assert await aliases_of(kid) == before
    assert await aliases_of(other["kid"]) == ["another's"]
    assert (await associate(kid, "a0")).status == 200
    assert (await client.delete(f"/key/{kid}/associate?alias=a0")).status == 200
    assert (await associate(kid, "one more")).status == 200


@pytest.mark.each_store
async def test_a_rotation_moves_a_thousand(client, with_aliases, aliases_of):
    kid = await with_aliases(1000)
    async with client.post(f"/key/{kid}/rotate") as response:
        assert response.status == 200
        assert len((await response.json())["aliases"]) == 1000
    assert await aliases_of(kid) == []


@pytest.mark.each_store
async def test_a_key_of_an_earlier_version_that_has_more(
    client, with_aliases, associate, aliases_of, refused
):
    kid = await with_aliases(1002)
    await refused(await associate(kid, "one more"), 422, "too-many-aliases")
    await refused(await client.post(f"/key/{kid}/rotate"), 422, "too-many-aliases")
    assert len(await aliases_of(kid)) == 1002
    assert (await (await client.get("/key?alias=a1001")).json())["kid"] == kid
    for alias in ("a0", "a1"):
        assert (await client.delete(f"/key/{kid}/associate?alias={alias}")).status == 200
    assert (await client.post(f"/key/{kid}/rotate")).status == 200
