"""Keys that are made with the time of their deletion: in use until then, and gone from then on."""

import asyncio
from datetime import datetime

import pytest
from http_answers import pages
from problems import refused
from token_folder import until_open
from waiting import until, waiting_for

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.store.categories import ALIAS, DELETION, KEY
from minikms.web.state import SERVICE

DATA = "aGVsbG8="
FOR_TEN_MINUTES = {"delete_after": 600}


def time_of(key, member):
    return datetime.fromisoformat(key[member]).timestamp()


async def entries(client):
    """Count the records, aliases and deletions that are stored in the default profile."""

    async def work(session):
        return [await session.count(category) for category in (KEY, ALIAS, DELETION)]

    return await client.app[SERVICE].operations.store.database.run("default", work)


@pytest.fixture
async def own_client(start_swept, any_store):
    """A client of a service that has looked once for due keys, as it does when it starts."""
    return await start_swept(create_service(Config(**any_store)))


@pytest.mark.each_store
async def test_it_is_enabled_until_its_time_and_gone_from_then_on(client, post, generate, clock):
    key = await generate("p256", alias="a", **FOR_TEN_MINUTES)
    assert key["state"] == "enabled"
    assert time_of(key, "deletes") - time_of(key, "created") == pytest.approx(600, abs=0.002)
    by = {"kid": key["kid"]}
    clock(595)
    for name in (by, {"alias": "a"}):
        sig = (await post("/sign", {**name, "data": DATA}))["sig"]
        assert (await post("/verify", {**name, "data": DATA, "sig": sig}))["valid"]
    assert await pages(client, "/keys") == [[key["kid"]]]
    clock(601)
    await refused(await client.get(f"/key/{key['kid']}"), 404, "key-not-found")
    await refused(await client.post("/sign", json={**by, "data": DATA}), 404, "key-not-found")
    await refused(await client.get("/key?alias=a"), 404, "alias-not-found")
    assert await pages(client, "/keys") == [[]]
    clock(0)  # once a call has found it due, it stays gone
    await refused(await client.post("/sign", json={**by, "data": DATA}), 404, "key-not-found")


async def test_a_use_that_finds_it_due_keeps_it_gone(client, post, generate, clock):
    """So it is not cached: a call that finds a key in the cache records nothing."""
    key = await generate("p256", **FOR_TEN_MINUTES)
    body = {"kid": key["kid"], "data": DATA}
    await post("/sign", body)
    clock(601)
    await refused(await client.post("/sign", json=body), 404, "key-not-found")
    clock(0)
    await refused(await client.post("/sign", json=body), 404, "key-not-found")


@pytest.mark.each_store
async def test_any_number_of_services_remove_it_once_with_a_line_of_the_audit_log(
    client, generate, start, any_store, clock
):
    keys = [await generate("p256", alias=f"a{number}", **FOR_TEN_MINUTES) for number in range(40)]
    later = await generate("p256", delete_after=3600)
    sweepers = [client.app[SERVICE]]
    if any_store:
        sweepers.append((await start(create_service(Config(**any_store)))).app[SERVICE])
    lines = []

    def sink(events, outcome):
        lines.extend((each.operation, each.kid, outcome) for each in events)

    await asyncio.gather(*(sweeper.sweep(sink) for sweeper in sweepers))
    assert await entries(client) == [41, 40, 41]
    clock(601)
    await asyncio.gather(*(sweeper.sweep(sink) for sweeper in sweepers for _ in range(2)))
    assert sorted(lines) == sorted(("sweepKey", key["kid"], "success") for key in keys)
    assert await entries(client) == [1, 0, 1]
    assert await pages(client, "/keys") == [[later["kid"]]]


async def test_a_service_removes_it_when_it_starts(persistent, start_swept, clock):
    first = await start_swept(create_service(Config(**persistent)))
    async with first.post("/key/generate", json={"alg": "p256", **FOR_TEN_MINUTES}) as answer:
        kid = (await answer.json())["kid"]
    await first.close()
    clock(601)
    second = await start_swept(create_service(Config(**persistent)))
    assert await entries(second) == [0, 0, 0]
    await refused(await second.get(f"/key/{kid}"), 404, "key-not-found")


@pytest.mark.shared_service
@pytest.mark.parametrize("seconds", [59, 86_401, 0, -600, 600.0, "600", None, True])
async def test_a_time_that_is_not_from_a_minute_to_a_day_is_refused(refuses, seconds):
    for path in ("/key/generate", "/key/generate/batch"):
        body = {"alg": "p256", "delete_after": seconds}
        problem = await refuses(path, body, 422, "validation-failed")
        assert "#/delete_after" in [error["pointer"] for error in problem["errors"]]


@pytest.mark.shared_service
async def test_batches_and_imports_have_it_too(client, post, generate):
    made = await post("/key/generate/batch", {"alg": "p256", "count": 2, **FOR_TEN_MINUTES})
    jwk = (await generate("ed25519"))["jwk"]
    await post("/profile", {"name": "imports"})
    async with client.post(
        "/key/import", json={"jwk": jwk, "delete_after": 86_400}, headers={"X-Profile": "imports"}
    ) as answer:
        imported = await answer.json()
    for key, seconds in [*((each, 600) for each in made["keys"]), (imported, 86_400)]:
        assert time_of(key, "deletes") - time_of(key, "created") == pytest.approx(seconds, abs=0.1)
        assert key["state"] == "enabled"


@pytest.mark.shared_service
async def test_an_import_of_an_existing_key_does_not_limit_its_life(post, generate):
    key = await generate("ed25519")
    body = {"jwk": key["jwk"], "if_exists": "keep", **FOR_TEN_MINUTES}
    assert (await post("/key/import", body))["deletes"] is None


@pytest.mark.shared_service
async def test_it_changes_like_any_other_key(client, post, generate):
    key = await generate("p256", **FOR_TEN_MINUTES)
    path, body = f"/key/{key['kid']}", {"kid": key["kid"], "data": DATA}
    async with client.patch(path, json={"labels": {"a": "b"}, "state": "disabled"}) as answer:
        changed = await answer.json()
    assert changed == key | {"labels": {"a": "b"}, "state": "disabled"}
    await refused(await client.post("/sign", json=body), 409, "key-not-usable")
    async with client.patch(path, json={"state": "enabled"}) as answer:
        assert (await answer.json())["deletes"] == key["deletes"]
    await post(f"{path}/associate", {"alias": "b"})
    await post("/sign", {"alias": "b", "data": DATA})
    async with client.delete(path) as answer:
        assert await answer.json() == {"message": "Key deleted", "kid": key["kid"]}
    await refused(await client.get(path), 404, "key-not-found")


@pytest.mark.each_store
@pytest.mark.parametrize("after", ["1m", "7d"])
async def test_no_deletion_comes_later_and_a_restored_key_has_its_own_time(
    client, post, generate, after
):
    key = await generate("p256", **FOR_TEN_MINUTES)
    path, body = f"/key/{key['kid']}", {"kid": key["kid"], "data": DATA}
    async with client.delete(f"{path}?after={after}") as answer:
        deletes = (await answer.json())["deletes"]
    assert datetime.fromisoformat(deletes) <= datetime.fromisoformat(key["deletes"])
    found = await (await client.get(path)).json()
    assert (found["state"], found["deletes"]) == ("disabled", deletes)
    await refused(await client.post("/sign", json=body), 409, "key-not-usable")
    await refused(await client.patch(path, json={"labels": {}}), 409, "key-not-usable")
    for _ in range(2):
        async with client.post(f"{path}/restore") as answer:
            assert await answer.json() == key
    await post("/sign", body)
    assert await entries(client) == [1, 0, 1]


async def test_settings_that_protect_keys_do_not_lengthen_its_life(client, post, generate, clock):
    settings = {"min_deletion_delay": 7 * 86_400, "max_keys": 1}
    async with client.patch("/profile/default", json=settings) as answer:
        assert answer.status == 200
    key = await generate("p256", **FOR_TEN_MINUTES)
    async with client.delete(f"/key/{key['kid']}") as answer:
        deletes = (await answer.json())["deletes"]
    assert datetime.fromisoformat(deletes) <= datetime.fromisoformat(key["deletes"])
    body = {"alg": "p256"}
    await refused(await client.post("/key/generate", json=body), 422, "too-many-keys")
    clock(601)
    await post("/key/generate", body)


@pytest.mark.shared_service
async def test_it_is_not_rotated(client, generate, refuses):
    key = await generate("p256", alias="a", **FOR_TEN_MINUTES)
    await refuses(f"/key/{key['kid']}/rotate", None, 409, "key-not-usable")
    change = {"rotate_every": 3600}
    await refused(await client.patch(f"/key/{key['kid']}", json=change), 409, "key-not-usable")
    body = {"alg": "p256", **FOR_TEN_MINUTES, **change}
    problem = await refuses("/key/generate", body, 422, "validation-failed")
    assert [error["pointer"] for error in problem["errors"]] == ["#/delete_after"]


async def test_an_alias_that_moves_to_it_is_free_afterwards(client, post, generate, clock):
    before = await generate("p256", alias="a")
    await generate("p256", alias="a", **FOR_TEN_MINUTES)
    clock(601)
    await refused(await client.get("/key?alias=a"), 404, "alias-not-found")
    assert (await post(f"/key/{before['kid']}/associate", {"alias": "a"}))["alias"] == "a"
    await client.app[SERVICE].sweep()
    assert (await (await client.get("/key?alias=a")).json())["kid"] == before["kid"]


async def test_it_is_not_in_the_jwk_set(client, generate):
    key = await generate("p256")
    await generate("p256", **FOR_TEN_MINUTES)
    found = await (await client.get("/jwks.json")).json()
    assert [each["kid"] for each in found["keys"]] == [key["kid"]]


async def test_its_object_at_a_provider_goes_with_it(start, token_folder, clock, monkeypatch):
    monkeypatch.setattr("minikms.serve.upkeep._SWEEP_EVERY", 0.02)
    client = await start(create_service(Config(provider=(token_folder.option,))))
    await until_open(client)
    made = {"alg": "p256", "provider": "hsm", **FOR_TEN_MINUTES}
    async with client.post("/key/generate", json=made) as answer:
        body = {"kid": (await answer.json())["kid"], "data": DATA}
    async with client.post("/sign", json=body) as answer:
        assert answer.status == 200
    token_folder.set("away")
    clock(601)
    await refused(await client.post("/sign", json=body), 404, "key-not-found")
    assert (len(token_folder.keys), await entries(client)) == (1, [1, 0, 1])
    token_folder.end("away")
    await until("the object is gone", lambda: not token_folder.keys)
    async with waiting_for("the end of the key"):
        while await entries(client) != [0, 0, 0]:
            await asyncio.sleep(0.02)


async def test_a_verifier_makes_a_key_for_each_request(client, post, clock):
    """As Credo does for responses of OpenID4VP: it makes each key, and leaves it."""
    requests = []
    for number in range(20):
        body = {"alg": "p256", "operations": ["jwe-decrypt"], "alias": f"request {number}"}
        key = await post("/key/generate", {**body, **FOR_TEN_MINUTES})
        recipient = {"jwk": key["jwk"] | {"kid": key["kid"]}, "alg": "ECDH-ES"}
        message = {"plaintext": DATA, "enc": "A128GCM", "recipients": [recipient]}
        requests.append((body["alias"], (await post("/jwe/encrypt", message))["jwe"]))
    for alias, jwe in requests[:10]:
        opened = await post("/jwe/decrypt", {"alias": alias, "jwe": jwe})
        assert opened["plaintext"] == DATA
    clock(601)
    alias, jwe = requests[10]
    late = {"alias": alias, "jwe": jwe}
    await refused(await client.post("/jwe/decrypt", json=late), 404, "alias-not-found")
    await client.app[SERVICE].sweep()
    assert await entries(client) == [0, 0, 0]
