"""Every use of a key with the rule: it asks, it is refused, or it is free."""

import json

import pytest
from base64url import b64, raw
from operation_calls import USES
from problems import refused
from web.approvals.approvers import Signer, rule

pytestmark = pytest.mark.shared_service

ASKING = {
    *("/sign", "/sign/batch", "/mac", "/jws/sign", "/cose/sign"),
    *("/csr", "/certificate", "/crl", "/key-attestation"),
}
FREE = {"/verify", "/verify/batch", "/mac/verify", "/jws/verify", "/cose/verify"}


@pytest.fixture
async def certified(client, generate):
    """Make a key with the rule, and a CA certificate for revocation lists."""

    async def make(ann):
        key = await generate("p256")
        names = {"issuer_alternative_names": ["email:a@a.example"], "crl": "https://a.example/crl"}
        body = {"kid": key["kid"], "profile": "iaca", "subject": "CN=a,C=DE", "days": 1, **names}
        made = await client.post("/certificate", json=body)
        assert made.status == 200, await made.text()
        chain = [(await made.json())["certificate"]]
        put = await client.put(f"/key/{key['kid']}/certificates", json={"certificates": chain})
        assert put.status == 200, await put.text()
        ruled = await client.patch(f"/key/{key['kid']}", json={"rules": rule(ann)})
        assert ruled.status == 200, await ruled.text()
        return key

    return make


@pytest.mark.parametrize("use", USES, ids=lambda use: f"{use.path} {use.alg}")
async def test_each_operation(client, generate, use):
    ann = Signer()
    key = await generate(use.alg, rules=rule(ann))
    answer = await client.post(use.path, json={"kid": key["kid"], **use.body})
    if use.path in FREE:
        assert answer.status in (200, 422)
    elif use.path == "/crl":
        await refused(answer, 422, "invalid-certificate")  # without a certificate
    elif use.path == "/key-attestation":
        await refused(answer, 422, "not-attestable")  # its keys do not exist
    elif use.path in ASKING:
        await refused(answer, 403, "approval-required")
    else:
        problem = await refused(answer, 403, "rule-violated")
        assert problem["detail"].startswith("The rule approval:")


@pytest.mark.parametrize("cached", [False, True])
async def test_each_asking_operation_is_done(client, generate, asks, approves, cached):
    ann = Signer()
    for use in USES:
        if use.path not in ASKING - {"/crl", "/key-attestation"}:
            continue
        key = await generate(use.alg, rules=rule(ann))
        if cached:
            await client.get(f"/key/{key['kid']}")
        body = {"kid": key["kid"], **use.body}
        approval = await asks(use.path, body)
        await approves(approval, ann)
        done = await client.post(use.path, json=body)
        assert done.status == 200, (use.path, await done.text())
        await asks(use.path, body)


async def test_a_batch_is_one_use(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann))
    items = [{"data": b64(bytes([number]))} for number in range(100)]
    body = {"kid": key["kid"], "items": [*items[:99], {"data": "!"}]}
    approval = await asks("/sign/batch", body)
    assert len(json.loads(raw(approval["document"]))["what"]) == 99
    await approves(approval, ann)
    results = (await (await client.post("/sign/batch", json=body)).json())["results"]
    assert sum("sig" in each for each in results) == 99
    assert "problem" in results[99]
    more = await client.post("/sign/batch", json={"kid": key["kid"], "items": [*items, items[0]]})
    await refused(more, 403, "rule-violated")


async def test_a_batch_of_faults_asks_for_nothing(client, generate):
    key = await generate("p256", rules=rule(Signer()))
    answer = await client.post("/sign/batch", json={"kid": key["kid"], "items": [{"data": "!"}]})
    assert "problem" in (await answer.json())["results"][0]


async def test_a_certificate_is_asked_for_by_its_meaning(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann))
    body = {"kid": key["kid"], "profile": "self-signed", "subject": "CN=a", "days": 1}
    approval = await asks("/certificate", body)
    (what,) = json.loads(raw(approval["document"]))["what"]
    assert what["profile"] == "self-signed"
    assert (what["days"], what["subject"]) == (1, "CN=a")
    assert len(raw(what["spki"])) == 32
    assert approval["data"] == []
    other = await asks("/certificate", {**body, "days": 2})
    assert other["id"] != approval["id"]
    await approves(approval, ann)
    assert (await client.post("/certificate", json=body)).status == 200


async def test_a_revocation_list_is_asked_for(client, certified, asks, approves):
    ann = Signer()
    key = await certified(ann)
    body = {"kid": key["kid"], "number": 1, "days": 1, "revoked": []}
    approval = await asks("/crl", body)
    await approves(approval, ann)
    assert (await client.post("/crl", json=body)).status == 200


async def test_an_attestation_is_asked_for(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules=rule(ann))
    attested = await generate("p256")
    body = {"kid": key["kid"], "keys": [attested["kid"]]}
    approval = await asks("/key-attestation", body)
    await approves(approval, ann)
    assert (await client.post("/key-attestation", json=body)).status == 200


async def test_other_rules_are_checked_before_asking(client, generate):
    rules = {"raw": False, **rule(Signer())}
    key = await generate("p256", rules=rules)
    answer = await client.post("/sign", json={"kid": key["kid"], "data": b64(b"a")})
    problem = await refused(answer, 403, "rule-violated")
    assert problem["detail"].startswith("The rule raw:")
    claims = {"jws": {"typ": ["JWT"]}, **rule(Signer())}
    key = await generate("p256", rules=claims)
    body = {"kid": key["kid"], "payload": b64(b"{}"), "header": {"typ": "other"}}
    await refused(await client.post("/jws/sign", json=body), 403, "rule-violated")
    assert await (await client.get(f"/approvals?kid={key['kid']}")).json() == []


async def test_a_rate_counts_the_use_alone(client, generate, asks, approves):
    ann = Signer()
    key = await generate("p256", rules={**rule(ann), "per_minute": 1})
    body = {"kid": key["kid"], "data": b64(b"a")}
    for _ in range(3):
        approval = await asks(body=body)
    await approves(approval, ann)
    assert (await client.post("/sign", json=body)).status == 200
    await approves(await asks(body=body), ann)
    await refused(await client.post("/sign", json=body), 429, "over-rate")


async def test_a_jwe_sender_is_refused(client, generate):
    sender = await generate("p256", rules=rule(Signer()))
    to = await generate("p256")
    body = {"to": [{"jwk": to["jwk"]}], "plaintext": b64(b"a"), "sender": sender["kid"]}
    answer = await client.post("/jwe/encrypt", json=body)
    assert answer.status in (403, 422), await answer.text()
