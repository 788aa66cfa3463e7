"""Approvals belong to one store and one caller: other services, restarts, backups and copies."""

import asyncio
from contextlib import aclosing

import pytest
from problems import refused
from web.approvals.approvers import Signer, rule

from minikms.access.callers import SCOPES
from minikms.config import Config
from minikms.maintenance.backup import back_up, restore
from minikms.maintenance.copy import copy
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.write import StoreWriter
from minikms.serve.assembly import create_service
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.key_store import KeyStore
from minikms.web.state import SERVICE, TOKENS

DATA = "aGVsbG8"


async def made(client, *approvers, alg="p256", **members):
    """Make a key with the rule, and give the body of a signature with it."""
    body = {"alg": alg, "rules": rule(*approvers, **members)}
    async with client.post("/key/generate", json=body) as answer:
        assert answer.status == 200, await answer.text()
        return {"kid": (await answer.json())["kid"], "data": DATA}


async def asked(client, body, **options):
    problem = await refused(
        await client.post("/sign", json=body, **options), 403, "approval-required"
    )
    return problem["approval"]


async def approve(client, approval, approver, **options):
    path = f"/approvals/{approval['id']}"
    async with client.post(path, json=approver.proof(approval), **options) as answer:
        assert answer.status == 200, await answer.text()


@pytest.mark.each_store
async def test_two_services_share_approvals_and_use_each_once(start, any_store, client):
    if not any_store:
        pytest.skip("a store in memory has one service")
    other = await start(create_service(Config(**any_store)))
    ann = Signer()
    body = await made(client, ann)
    for _ in range(3):
        approval = await asked(client, body)
        assert await asked(other, body) == approval
        await approve(other, approval, ann)
        calls = [one.post("/sign", json=body) for one in (client, other) for _ in range(4)]
        answers = await asyncio.gather(*calls)
        assert sorted(each.status for each in answers) == [200] + [403] * 7
    bodies = [{**body, "data": each} for each in ("YQ", "Yg", "Yw")]
    for each in bodies:  # both ask at once
        one, two = await asyncio.gather(asked(client, each), asked(other, each))
        assert one == two


@pytest.mark.each_store
async def test_an_approval_outlives_its_service(start, any_store, client):
    if not any_store:
        pytest.skip("a store in memory ends with its service")
    ann = Signer()
    body = await made(client, ann)
    await approve(client, await asked(client, body), ann)
    await client.close()
    again = await start(create_service(Config(**any_store)))
    assert (await again.post("/sign", json=body)).status == 200


async def test_another_caller_has_its_own_approval(start):
    client = await start(create_service(Config(auth="token")))

    async def token():
        made, _ = await client.app[TOKENS].create("same name", SCOPES)
        return {"headers": {"Authorization": f"Bearer {made.reveal()}"}}

    one, two = await token(), await token()
    ann = Signer()
    body = {"alg": "p256", "rules": rule(ann)}
    async with client.post("/key/generate", json=body, **one) as answer:
        body = {"kid": (await answer.json())["kid"], "data": DATA}
    first, second = await asked(client, body, **one), await asked(client, body, **two)
    assert first["id"] != second["id"]
    await approve(client, first, ann, **two)
    await refused(await client.post("/sign", json=body, **two), 403, "approval-required")
    assert (await client.post("/sign", json=body, **one)).status == 200


@pytest.mark.each_store
async def test_an_approval_expires(client, clock):
    ann = Signer()
    body = await made(client, ann, expires_in=60)
    approval = await asked(client, body)
    await approve(client, approval, ann)
    clock(61)
    path = f"/approvals/{approval['id']}"
    await refused(await client.get(path), 404, "approval-not-found")
    answer = await client.post(path, json=ann.proof(approval))
    await refused(answer, 404, "approval-not-found")
    again = await asked(client, body)
    assert (again["id"], again["state"]) == (approval["id"], "pending")
    clock(62 + 60)
    service = client.app[SERVICE]
    counts = service.operations.store.approvals.counts
    before = counts["expired"]
    await service.sweep()
    assert (counts["asked"], counts["approved"], counts["expired"]) == (2, 1, before + 1)


async def test_a_clock_that_is_set_back_makes_no_approval_last(client, clock):
    ann = Signer()
    clock(86_400)
    body = await made(client, ann)
    approval = await asked(client, body)
    await approve(client, approval, ann)
    clock(0)
    again = await asked(client, body)
    assert (again["state"], again["document"] != approval["document"]) == ("pending", True)


async def filled(location, key, start, config):
    """A store with a key whose use is approved, and that use."""
    async with KeyStore.create(location, key):
        pass
    client = await start(create_service(Config(**config)))
    ann = Signer()
    body = await made(client, ann)
    approval = await asked(client, body)
    await approve(client, approval, ann)
    return client, body, approval


@pytest.mark.parametrize("way", ["backup", "copy"])
async def test_backups_and_copies_have_no_approvals(start, tmp_path, way):
    key = new_raw_key()
    path, other = tmp_path / "keys.db", tmp_path / "other.db"
    one, two = (StoreLocation.parse(f"sqlite://{each}") for each in (path, other))
    config = {"store": f"sqlite://{path}", "store_key": key, "auth": "none"}
    client, body, approval = await filled(one, StoreKey(key), start, config)
    await client.close()
    if way == "backup":
        await back_up(path, tmp_path / "backup.db", StoreKey(key))
        await restore(other, tmp_path / "backup.db", StoreKey(key))
    else:
        async with (
            StoreInspector.open(one, StoreKey(key)) as opened,
            StoreWriter.create(two, StoreKey(key)) as written,
            aclosing(copy(opened, written, lambda _: None)) as copies,
        ):
            assert [each.profile async for each in copies] == ["default"]
    copied = await start(create_service(Config(**{**config, "store": f"sqlite://{other}"})))
    assert await (await copied.get("/approvals")).json() == []
    again = await asked(copied, body)
    assert again["state"] == "pending"
    assert again["document"] != approval["document"]
    original = await start(create_service(Config(**config)))
    assert (await original.post("/sign", json=body)).status == 200
