"""Approvals: asked for by a call, signed by approvers, and used once by the same call."""

import asyncio
import hashlib
import json

import pytest
from base64url import b64, raw
from problems import refused
from web.approvals.approvers import Passkey, Signer, rule

pytestmark = pytest.mark.shared_service

DATA = b64(b"hello")


async def test_the_same_call_is_done_once_after_its_approval(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann))
    body = {"kid": key["kid"], "data": DATA}
    asked = await asks(body=body)
    assert len(asked["id"]) == 22
    assert asked["kid"] == key["kid"]
    assert (asked["state"], asked["threshold"], asked["approved_by"]) == ("pending", 1, [])
    assert asked["approvers"] == [{"name": "ann", "passkey": None, "rp_id": None}]
    assert asked["data"] == [b64(b"hello").rstrip("=")]
    document = raw(asked["document"])
    assert raw(asked["challenge"]) == hashlib.sha256(document).digest()
    found = json.loads(document)
    digest = b64(hashlib.sha256(b"hello").digest()).rstrip("=")
    assert found["operation"] == "sign"
    assert found["what"] == [{"alg": "ES256", "sha256": digest}]
    assert found["sub"] == key["kid"]
    assert found["profile"] == client.session.headers["X-Profile"]
    assert found["exp"] == found["iat"] + 300 == asked["expires"]

    assert await asks(body=body) == asked  # it waits, and is not asked for again
    approved = await approves(asked, ann)
    assert (approved["state"], approved["approved_by"]) == ("approved", ["ann"])
    listed = await (await client.get("/approvals", params={"kid": key["kid"]})).json()
    assert listed == [approved]
    signed = await client.post("/sign", json=body)
    assert signed.status == 200
    verified = await client.post("/verify", json={**body, "sig": (await signed.json())["sig"]})
    assert (await verified.json())["valid"]
    again = await asks(body=body)
    assert again["id"] == asked["id"]
    assert again["document"] != asked["document"]  # another jti


async def test_an_approval_is_for_one_use_alone(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann))
    asked = await asks(body={"kid": key["kid"], "data": DATA})
    await approves(asked, ann)
    other = await asks(body={"kid": key["kid"], "data": b64(b"hello!")})
    assert other["id"] != asked["id"]
    prehashed = {"kid": key["kid"], "data": b64(hashlib.sha256(b"hello").digest())}
    await asks(body={**prehashed, "prehashed": True})


async def test_a_threshold_counts_names(client, generate, asks, approves):
    ann, ann2, bob = Signer("ann"), Signer("ann", "Ed25519"), Passkey("bob")
    key = await generate("ed25519", rules=rule(ann, ann2, bob, threshold=2))
    body = {"kid": key["kid"], "data": DATA}
    asked = await asks(body=body)
    assert asked["approvers"][2] == {"name": "bob", "passkey": bob.id, "rp_id": bob.rp_id}
    await approves(asked, ann)
    assert (await approves(asked, ann2))["approved_by"] == ["ann"]
    assert (await asks(body=body))["state"] == "pending"
    assert (await approves(asked, bob))["approved_by"] == ["ann", "bob"]
    assert (await client.post("/sign", json=body)).status == 200


async def test_of_concurrent_calls_one_is_done(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann))
    body = {"kid": key["kid"], "data": DATA}
    await approves(await asks(body=body), ann)
    answers = await asyncio.gather(*(client.post("/sign", json=body) for _ in range(8)))
    assert sorted(each.status for each in answers) == [200] + [403] * 7


async def test_a_call_waits_for_its_approval(client, generate, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann, wait=30))
    body = {"kid": key["kid"], "data": DATA}
    call = asyncio.create_task(client.post("/sign", json=body))
    while not (found := await (await client.get(f"/approvals?kid={key['kid']}")).json()):
        await asyncio.sleep(0.02)
    await approves(found[0], ann)
    assert (await call).status == 200


async def test_a_withdrawn_approval_waits_no_longer(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann))
    body = {"kid": key["kid"], "data": DATA}
    asked = await asks(body=body)
    await approves(asked, ann)
    withdrawn = await client.delete(f"/approvals/{asked['id']}")
    assert (await withdrawn.json())["state"] == "approved"
    path = f"/approvals/{asked['id']}"
    await refused(await client.get(path), 404, "approval-not-found")
    await refused(await client.delete(path), 404, "approval-not-found")
    answer = await client.post(path, json=ann.proof(asked))
    await refused(answer, 404, "approval-not-found")
    again = await asks(body=body)
    assert again["state"] == "pending"
