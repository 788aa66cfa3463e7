"""A frozen profile: its keys are used and shown, and nothing in it changes."""

import asyncio
import base64

import pytest
from http_answers import bearer, ok
from problems import refused, slug_of

from minikms.access.policy import SCOPES
from minikms.key_requests import KeyRef
from minikms.web.state import SERVICE, TOKENS

ALICE = {"X-Profile": "alice"}
DATA = base64.urlsafe_b64encode(b"data").decode().rstrip("=")
FROZEN = 409, "profile-frozen"


@pytest.fixture
async def alice(client):
    """Freeze the profile `alice`, which is made, or change other settings of it."""
    await ok(await client.post("/profile", json={"name": "alice"}))

    async def change(**settings):
        return await client.patch("/profile/alice", json=settings)

    return change


@pytest.fixture
def generate(client):
    async def call(alg="ed25519", **body):
        answer = await client.post("/key/generate", json={"alg": alg, **body}, headers=ALICE)
        return await ok(answer)

    return call


@pytest.mark.each_store
async def test_nothing_changes_and_keys_go_on(client, alice, generate):
    key, later = await generate(alias="a"), await generate(alias="b")
    await ok(await client.delete(f"/key/{later['kid']}?after=7d", headers=ALICE))
    assert (await ok(await alice(frozen=True)))["frozen"]
    kid, jwk = key["kid"], {"kty": "oct", "k": "AAECAwQFBgcICQoLDA0ODw", "alg": "A128GCM"}
    writes = [
        ("POST", "/key/generate", {"alg": "ed25519"}),
        ("POST", "/key/generate/batch", {"alg": "ed25519", "count": 2}),
        ("POST", "/key/import", {"jwk": jwk}),
        ("POST", f"/key/{kid}/rotate", None),
        ("POST", f"/key/{kid}/associate", {"alias": "c"}),
        ("DELETE", f"/key/{kid}/associate?alias=a", None),
        ("PATCH", f"/key/{kid}", {"labels": {"x": "y"}}),
        ("PATCH", f"/key/{kid}", {"state": "disabled"}),
        ("DELETE", f"/key/{kid}", None),
        ("DELETE", f"/key/{kid}?after=7d", None),
        ("DELETE", "/key?alias=a", None),
        ("POST", f"/key/{later['kid']}/restore", None),
        ("PATCH", "/profile/alice", {"max_keys": 100}),
        ("PATCH", "/profile/alice", {"jwks": "public"}),
        ("PATCH", "/profile/alice", {"jwks": "public", "frozen": True}),
        ("POST", "/tokens", {"name": "t", "scopes": ["sign"], "profiles": ["alice"]}),
    ]
    for method, path, body in writes:
        await refused(await client.request(method, path, json=body, headers=ALICE), *FROZEN)
    await refused(await client.delete("/key/unknown", headers=ALICE), 404, "key-not-found")
    body = {"alias": "a", "data": DATA}
    signed = await ok(await client.post("/sign", json=body, headers=ALICE))
    await ok(await client.post("/verify", json={**body, "sig": signed["sig"]}, headers=ALICE))
    listed = await ok(await client.get("/keys", headers=ALICE))
    assert [each["kid"] for each in listed] == [kid, later["kid"]]
    assert (await ok(await client.get("/profiles")))["settings"]["alice"]["frozen"]
    await ok(await client.post("/key/generate", json={"alg": "ed25519"}))  # in another profile
    assert (await ok(await alice(frozen=True)))["frozen"]  # again
    assert not (await ok(await alice(frozen=False, max_keys=3)))["frozen"]
    for method, path, body in writes[4:7]:
        await ok(await client.request(method, path, json=body, headers=ALICE))


@pytest.mark.each_store
async def test_waiting_writes_of_a_frozen_profile_are_all_refused(client, alice):
    await ok(await alice(frozen=True))
    body = {"alg": "ed25519"}
    calls = [client.post("/key/generate", json=body, headers=ALICE) for _ in range(20)]
    assert {await slug_of(answer) for answer in await asyncio.gather(*calls)} == {"profile-frozen"}


async def test_a_profile_is_published_and_frozen_by_one_call(client, alice):
    changed = await ok(await alice(frozen=True, jwks="public"))
    assert (changed["frozen"], changed["jwks"]) == (True, "public")
    changed = await ok(await alice(frozen=False, jwks="private"))
    assert (changed["frozen"], changed["jwks"]) == (False, "private")


@pytest.mark.each_store
async def test_due_keys_of_a_frozen_profile_wait(client, alice, generate, clock):
    due, rotated = await generate(alias="a"), await generate(alias="b", rotate_every=86400)
    later = await generate(alias="c")
    for key in (due, later):
        await ok(await client.delete(f"/key/{key['kid']}?after=1d", headers=ALICE))
    await ok(await alice(frozen=True))
    service = client.app[SERVICE]
    store = service.operations.store

    async def entries():
        async def work(session):
            return {row.name for row in await session.fetch_all("minikms.key")}

        return await store.database.run("alice", work)

    clock(3 * 86400)
    await refused(await client.get(f"/key/{due['kid']}", headers=ALICE), 404, "key-not-found")
    for _ in range(2):
        assert await service.sweep() == 0
        assert await entries() == {due["kid"], rotated["kid"], later["kid"]}
    await ok(await alice(frozen=False))
    await service.sweep()
    left = await entries()
    assert len(left) == 2
    assert not left & {due["kid"], later["kid"]}
    assert (await store.record("alice", KeyRef(alias="b"))).kid != rotated["kid"]


@pytest.mark.each_store
async def test_a_key_with_uses_in_a_day_has_only_its_leased_uses(client, alice, generate):
    rules = {"raw": True, "per_day": 100}
    key = await generate(rules=rules)
    body = {"kid": key["kid"], "data": DATA}
    await ok(await client.post("/sign", json=body, headers=ALICE))  # leases two more
    await ok(await alice(frozen=True))
    slugs = [await slug_of(await client.post("/sign", json=body, headers=ALICE)) for _ in range(5)]
    assert slugs == ["", "", *["profile-frozen"] * 3]
    await ok(await alice(frozen=False))
    await ok(await client.post("/sign", json=body, headers=ALICE))


async def test_a_token_of_a_frozen_profile_is_revoked_but_not_made(guarded):
    client = guarded
    await ok(await client.post("/profile", json={"name": "alice"}))
    tokens = client.app[TOKENS]
    token, record = await tokens.create("t", SCOPES, ("alice",))
    await ok(await client.patch("/profile/alice", json={"frozen": True}))
    own = bearer(token.reveal())
    for profiles in (["alice"], ["alice", "default"]):
        body = {"name": "t", "scopes": ["sign"], "profiles": profiles}
        await refused(await client.post("/tokens", json=body), *FROZEN)
    body = {"name": "t", "scopes": ["sign"], "profiles": ["default"]}
    await ok(await client.post("/tokens", json=body))
    await ok(await client.delete(f"/tokens/{record.id}"))
    await refused(await client.get("/keys", headers={**own, **ALICE}), 401, "unauthenticated")
