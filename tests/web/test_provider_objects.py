"""A provider has exactly the keys of the service, whatever calls fail."""

import json

import pytest
from minikms_files import FilesProvider
from problems import refused, slug_of
from token_folder import until_open
from waiting import until

from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.web.state import SWEEPER

KEY = {"alg": "p256", "provider": "hsm"}


@pytest.fixture
async def client(start, token_folder, monkeypatch):
    """A client of a service with the provider `hsm`, which is soon tried again."""
    monkeypatch.setattr("minikms.keys.providers.objects._AGAIN", 0.02)
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
    kid = (await post("/key/generate", KEY))["kid"]
    token_folder.set("away")
    assert (await client.delete(f"/key/{kid}")).status == 200
    assert len(token_folder.keys) == 1
    token_folder.end("away")
    await until_left(token_folder, 0)


async def test_a_key_of_another_token_is_destroyed_once_its_token_is_back(
    client, post, token_folder, caplog
):
    kid, kept = [(await post("/key/generate", KEY))["kid"] for _ in range(2)]
    token_folder.set("exchanged")
    signing = client.post("/sign", json={"kid": kid, "data": "aGk"})
    await refused(await signing, 503, "provider-unavailable")
    assert (await client.delete(f"/key/{kid}")).status == 200
    await until("the sweeper", lambda: "another token is in place" in caplog.text)
    assert client.app[SWEEPER].waiting() == {"hsm": 1}
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
