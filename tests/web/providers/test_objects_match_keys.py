"""A provider has exactly the keys of the service, whatever calls fail."""

import json

import pytest
from minikms_files import FilesProvider
from problems import refused, slug_of
from token_folder import until_open
from waiting import until

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE, STORE

KEY = {"alg": "p256", "provider": "hsm"}


@pytest.fixture
async def client(start, token_folder, monkeypatch):
    """A client of a service with the provider `hsm`, which often sweeps."""
    monkeypatch.setattr("minikms.serve.upkeep._SWEEP_EVERY", 0.02)
    client = await start(create_service(Config(provider=(token_folder.option,))))
    await until_open(client)
    return client


async def until_left(token_folder, number):
    await until(f"{number} keys at the provider", lambda: len(token_folder.keys) == number)


async def test_a_key_whose_alias_is_taken_is_destroyed(client, post, token_folder):
    await post("/key/generate", {**KEY, "alias": "a"})
    taken = {**KEY, "alias": "a", "alias_taken": "refuse"}
    await refused(await client.post("/key/generate", json=taken), 409, "alias-exists")
    await until_left(token_folder, 1)


async def test_a_key_that_is_not_made_leaves_no_success_in_the_audit_log(
    start, token_folder, tmp_path
):
    log = tmp_path / "audit.log"
    config = Config(provider=(token_folder.option,), audit_log=str(log))
    client = await start(create_service(config))
    await until_open(client)
    token_folder.set("full")
    await refused(await client.post("/key/generate", json=KEY), 503, "provider-unavailable")
    lines = map(json.loads, log.read_text().splitlines())
    outcomes = [line["outcome"] for line in lines if line.get("operation") == "generateKey"]
    assert outcomes == ["provider-unavailable"]


async def test_a_batch_that_is_half_made_is_destroyed(client, token_folder, monkeypatch):
    make = FilesProvider.make

    def make_two(self, algorithm, key_id):
        if len(token_folder.keys) == 2:
            token_folder.set("full")
        return make(self, algorithm, key_id)

    monkeypatch.setattr(FilesProvider, "make", make_two)
    making = client.post("/key/generate/batch", json={**KEY, "count": 5})
    await refused(await making, 503, "provider-unavailable")
    await until_left(token_folder, 0)


async def test_a_deleted_key_is_destroyed_once_the_provider_answers(client, post, token_folder):
    kid = (await post("/key/generate", {**KEY, "alias": "a"}))["kid"]
    token_folder.set("away")
    async with client.delete(f"/key/{kid}") as answer:
        assert (answer.status, (await answer.json()).get("deletes")) == (200, None)
    for gone in (client.get(f"/key/{kid}"), client.delete(f"/key/{kid}")):
        await refused(await gone, 404, "key-not-found")
    await refused(await client.post(f"/key/{kid}/restore"), 404, "key-not-found")
    signing = client.post("/sign", json={"alias": "a", "data": "aGk"})
    await refused(await signing, 404, "alias-not-found")
    assert len(token_folder.keys) == 1
    token_folder.end("away")
    await until_left(token_folder, 0)


async def test_the_destruction_of_an_object_is_an_audit_line(start, token_folder, tmp_path):
    log = tmp_path / "audit.log"
    client = await start(
        create_service(Config(provider=(token_folder.option,), audit_log=str(log)))
    )
    await until_open(client)
    async with client.post("/key/generate", json=KEY) as made:
        kid = (await made.json())["kid"]
    [object_id] = token_folder.keys
    assert (await client.delete(f"/key/{kid}")).status == 200

    def lines():
        found = map(json.loads, log.read_text().splitlines())
        return [each for each in found if each.get("kid") == kid]

    await until("the lines", lambda: lines()[-1]["operation"] == "sweepKey")
    operations = [each["operation"] for each in lines()]
    assert operations == ["generateKey", "deleteKey", "destroyObject", "sweepKey"]
    line = lines()[2]
    facts = ("profile", "provider", "object_id", "outcome")
    assert [line[each] for each in facts] == ["default", "hsm", object_id, "success"]
    assert line["profile_id"] == lines()[1]["profile_id"]
    async with client.get("/audit", params={"operation": "destroyObject"}) as answer:
        [event] = await answer.json()
    assert event["object_id"] == object_id


async def test_the_public_key_of_a_deleted_key_is_imported_once_its_object_is_gone(
    client, post, token_folder
):
    made = await post("/key/generate", KEY)
    token_folder.set("away")
    assert (await client.delete(f"/key/{made['kid']}")).status == 200
    public = {"jwk": made["jwk"], "alg": "p256"}
    await refused(await client.post("/key/import", json=public), 409, "key-exists")
    token_folder.end("away")
    await until_left(token_folder, 0)
    assert (await post("/key/import", public))["kid"] == made["kid"]


async def test_an_older_record_that_is_put_back_destroys_no_object_of_a_key(
    client, post, token_folder
):
    """An attacker with the database cannot read a record, but can restore its earlier row."""
    kid = (await post("/key/generate", KEY))["kid"]
    store, rows = client.app[STORE], []

    async def row(session):
        rows.append((await session.fetch("minikms.key", kid)).value)

    await store.database.run("default", row)
    assert (await client.delete(f"/key/{kid}", params={"after": "7d"})).status == 200
    assert (await client.post(f"/key/{kid}/restore")).status == 200

    async def put_back(session):
        await session.replace("minikms.key", kid, rows[0], {"~seq": "1"})
        await session.insert("minikms.deletion", kid, b"", {"~at": "0" * 20})

    await store.database.write("default", put_back)
    await client.app[SERVICE].sweep()
    assert len(token_folder.keys) == 1


async def test_a_key_of_another_token_is_destroyed_once_its_token_is_back(
    client, post, token_folder, caplog
):
    kid, kept = [(await post("/key/generate", KEY))["kid"] for _ in range(2)]
    token_folder.set("exchanged")
    signing = client.post("/sign", json={"kid": kid, "data": "aGk"})
    await refused(await signing, 503, "provider-unavailable")
    assert (await client.delete(f"/key/{kid}")).status == 200
    await until("the sweeper", lambda: "another token is in place" in caplog.text)
    assert client.app[SERVICE].deletions.waiting() == {"hsm": 1}
    token_folder.end("exchanged")
    await until_left(token_folder, 1)
    assert (await post("/sign", {"kid": kept, "data": "aGk"}))["sig"]


async def test_a_scheduled_deletion_that_is_cancelled_destroys_nothing(
    client, post, token_folder, clock
):
    kid = (await post("/key/generate", KEY))["kid"]
    assert (await client.delete(f"/key/{kid}", params={"after": "7d"})).status == 200
    assert (await client.post(f"/key/{kid}/restore")).status == 200
    clock(8 * 86_400)
    other = (await post("/key/generate", KEY))["kid"]
    assert (await client.delete(f"/key/{other}")).status == 200
    await until_left(token_folder, 1)
    assert (await client.get(f"/key/{kid}")).status == 200


async def test_the_keys_of_a_removed_profile_are_destroyed(client, post, token_folder):
    await post("/key/generate", KEY)
    await post("/profile", {"name": "t"})
    for _ in range(2):
        made = await client.post("/key/generate", json=KEY, headers={"X-Profile": "t"})
        assert await slug_of(made) == ""
    assert (await client.delete("/profile/t")).status == 200
    await until_left(token_folder, 1)


async def test_a_rotated_key_stays_until_it_is_deleted(client, post, token_folder):
    kid = (await post("/key/generate", {**KEY, "alias": "a"}))["kid"]
    assert (await client.post(f"/key/{kid}/rotate")).status == 200
    assert len(token_folder.keys) == 2
    assert (await client.delete(f"/key/{kid}")).status == 200
    await until_left(token_folder, 1)
