"""Export, deletion and change of a key with the rule, and what outlives it."""

import json

import pytest
from base64url import b64, raw
from problems import refused
from web.approvals.approvers import Passkey, Signer, rule

pytestmark = pytest.mark.each_store

DATA = b64(b"hello")


def what(approval):
    return json.loads(raw(approval["document"]))["what"]


async def test_an_export_is_asked_for(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann), exportable=True)
    path = f"/key/{key['kid']}/export"
    approval = await asks(path, method="GET")
    assert what(approval) == [{}]
    assert json.loads(raw(approval["document"]))["operation"] == "export"
    await approves(approval, ann)
    exported = await client.get(path)
    assert "d" in (await exported.json())["jwk"]
    await asks(path, method="GET")


async def test_a_deletion_is_asked_for_if_the_rule_says_so(client, generate, asks, approves):
    ann = Signer()
    free = await generate("p256", rules=rule(ann))
    assert (await client.delete(f"/key/{free['kid']}")).status == 200

    key = await generate("p256", rules=rule(ann, delete=True), alias="kept")
    path = f"/key/{key['kid']}"
    now = await asks(path, method="DELETE")
    assert what(now) == [{"after": 0}]
    later = await asks(path, method="DELETE", params={"after": "2d"})
    assert what(later) == [{"after": 2 * 86400}]
    by_alias = await asks("/key", method="DELETE", params={"alias": "kept"})
    assert by_alias["id"] == now["id"]
    await approves(later, ann)
    deleted = await client.delete(path, params={"after": "2d"})
    assert deleted.status == 200
    assert (await deleted.json())["deletes"]
    assert (await client.post(f"{path}/restore")).status == 200
    await approves(now, ann)
    assert (await client.delete("/key", params={"alias": "kept"})).status == 200
    await refused(await client.get(path), 404, "key-not-found")
    assert await (await client.get(f"/approvals?kid={key['kid']}")).json() == []


async def test_a_delay_of_the_profile_is_asked_for(client, generate, asks, approves, profile):
    ann = Signer()
    key = await generate("p256", rules=rule(ann, delete=True))
    changed = await client.patch(f"/profile/{profile}", json={"min_deletion_delay": 3600})
    assert changed.status == 200, await changed.text()
    approval = await asks(f"/key/{key['kid']}", method="DELETE")
    assert what(approval) == [{"after": 3600}]
    await approves(approval, ann)
    assert "deletes" in await (await client.delete(f"/key/{key['kid']}")).json()
    await client.patch(f"/profile/{profile}", json={"min_deletion_delay": None})


async def test_a_next_key_is_kept_too(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann, delete=True))
    following = await (await client.post(f"/key/{key['kid']}/next")).json()
    approval = await asks(f"/key/{following['kid']}", method="DELETE")
    await approves(approval, ann)
    assert (await client.delete(f"/key/{following['kid']}")).status == 200


async def test_a_profile_is_kept_with_its_keys(client, generate):
    await client.post("/profile", json={"name": "kept"})
    header = {"X-Profile": "kept"}
    body = {"alg": "p256", "rules": rule(Signer(), delete=True)}
    made = await client.post("/key/generate", json=body, headers=header)
    assert made.status == 200
    problem = await refused(await client.delete("/profile/kept"), 409, "profile-protected")
    assert "approval" in problem["detail"]


async def test_a_looser_rule_is_asked_for(client, generate, asks, approves):
    ann, bob, eve = Signer("ann"), Signer("bob"), Passkey("eve")
    key = await generate("p256", rules=rule(ann, bob, threshold=2, delete=True))
    path = f"/key/{key['kid']}"
    looser = (
        rule(ann, bob, eve, threshold=2, delete=True),
        rule(ann, bob, threshold=1, delete=True),
        rule(ann, bob, threshold=2, delete=True, expires_in=301),
        rule(ann, bob, threshold=2),
        rule(ann, eve, threshold=2, delete=True),
    )
    for rules in looser:
        approval = await asks(path, {"rules": rules}, method="PATCH")
        document = json.loads(raw(approval["document"]))
        assert document["operation"] == "change"
        assert document["what"][0]["approval"]["approvers"] == rules["approval"]["approvers"]
    unchanged = await (await client.get(path)).json()
    assert unchanged["rules"] == key["rules"]
    approval = await asks(path, {"rules": looser[1]}, method="PATCH")
    await approves(approval, ann)
    await approves(approval, bob)
    changed = await client.patch(path, json={"rules": looser[1]})
    assert (await changed.json())["rules"]["approval"]["threshold"] == 1


async def test_a_tighter_rule_is_set_at_once_and_none_is_refused(client, generate):
    ann, bob = Signer("ann"), Signer("bob")
    key = await generate("p256", rules=rule(ann, bob))
    path = f"/key/{key['kid']}"
    for rules in (
        rule(ann, bob, threshold=2),
        rule(ann, bob, threshold=2, wait=5),
        rule(ann, bob, threshold=2, delete=True, expires_in=299),
    ):
        changed = await client.patch(path, json={"rules": rules})
        assert changed.status == 200, await changed.text()
    without = await client.patch(path, json={"rules": {"raw": True}})
    await refused(without, 409, "rules-loosened")
    both = {**rule(ann, bob, threshold=1, delete=True, expires_in=299), "per_minute": 5}
    tighter = await client.patch(path, json={"rules": {**both, **rule(ann, threshold=1)}})
    assert tighter.status == 403  # the threshold is lower


async def test_a_removed_approver_does_not_count(client, generate, asks, approves):
    ann, bob = Signer("ann"), Signer("bob")
    key = await generate("p256", rules=rule(ann, bob))
    body = {"kid": key["kid"], "data": DATA}
    approval = await asks(body=body)
    await approves(approval, bob)
    tighter = await client.patch(f"/key/{key['kid']}", json={"rules": rule(ann)})
    assert tighter.status == 200
    again = await asks(body=body)
    assert (again["state"], again["approved_by"]) == ("pending", [])
    assert again["document"] == approval["document"]
    await approves(again, ann)
    assert (await client.post("/sign", json=body)).status == 200


async def test_a_rotated_key_asks_anew(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann), alias="name")
    body = {"alias": "name", "data": DATA}
    approval = await asks(body=body)
    await approves(approval, ann)
    new = await (await client.post(f"/key/{key['kid']}/rotate")).json()
    assert new["rules"] == key["rules"]
    again = await asks(body=body)
    assert (again["kid"], again["state"]) == (new["kid"], "pending")
    old = await client.post("/sign", json={"kid": key["kid"], "data": DATA})
    await refused(old, 409, "key-not-usable")


async def test_approvals_of_another_profile_are_not_found(client, generate, asks):
    key = await generate("p256", rules=rule(Signer()))
    approval = await asks(body={"kid": key["kid"], "data": DATA})
    await client.post("/profile", json={"name": "elsewhere"})
    header = {"X-Profile": "elsewhere"}
    path = f"/approvals/{approval['id']}"
    await refused(await client.get(path, headers=header), 404, "approval-not-found")
    assert await (await client.get("/approvals", headers=header)).json() == []


async def test_at_most_64_wait_for_a_key(client, generate, asks):
    key = await generate("p256", rules=rule(Signer()))
    for number in range(64):
        await asks(body={"kid": key["kid"], "data": b64(bytes([number]))})
    more = await client.post("/sign", json={"kid": key["kid"], "data": b64(b"more")})
    await refused(more, 429, "too-many-approvals")
    await asks(body={"kid": key["kid"], "data": b64(bytes([3]))})  # it waits already
    listed = await (await client.get(f"/approvals?kid={key['kid']}")).json()
    assert len(listed) == 64
    assert [each["expires"] for each in listed] == sorted(each["expires"] for each in listed)
    other = await generate("p256", rules=rule(Signer()))
    await asks(body={"kid": other["kid"], "data": DATA})
