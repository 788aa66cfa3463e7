"""Proofs of approvers: each fault is refused, and none counts."""

import json

import pytest
from base64url import b64, jose, raw
from joserfc import jws
from joserfc.jwk import ECKey
from problems import refused
from web.approvals.approvers import ORIGIN, Passkey, Signer, rule

pytestmark = pytest.mark.shared_service

DATA = b64(b"hello")


async def refuses(client, approval, proof):
    """Send a proof that must be refused, and give the sentence; the approval stays as it was."""
    path = f"/approvals/{approval['id']}"
    problem = await refused(await client.post(path, json=proof), 422, "invalid-approval")
    assert (await (await client.get(path)).json())["approved_by"] == []
    return problem["detail"]


@pytest.fixture
async def asked(generate, asks):
    """Approvers, and an approval that one of them may give."""
    ann, eve = Signer("ann"), Passkey("eve")
    key = await generate("p256", rules=rule(ann, eve))
    return ann, eve, await asks(body={"kid": key["kid"], "data": DATA})


async def test_a_passkey_approves(client, asked, approves):
    _, eve, approval = asked
    assert (await approves(approval, eve))["approved_by"] == ["eve"]


PASSKEY_FAULTS = {
    "of a registration": {"kind": "webauthn.create"},
    "of another challenge": {"challenge": jose(b"another challenge, of 32 bytes..")},
    "of another origin": {"origin": "https://kms.example.evil.example"},
    "of another port": {"origin": f"{ORIGIN}:8443"},
    "of another relying party": {"rp_id": "example"},
    "without its user": {"flags": 0x04},
    "without verification": {"flags": 0x01},
    "within another page": {"crossOrigin": True},
}


@pytest.mark.parametrize("fault", PASSKEY_FAULTS.values(), ids=PASSKEY_FAULTS)
async def test_an_assertion_is_refused(client, asked, fault):
    _, eve, approval = asked
    assert eve.id not in await refuses(client, approval, eve.proof(approval, **fault))


async def test_another_passkey_and_another_signature_are_refused(client, asked):
    _, eve, approval = asked
    await refuses(client, approval, Passkey().proof(approval))
    other = Passkey()
    other.id = eve.id
    await refuses(client, approval, other.proof(approval))
    for member in ("clientDataJSON", "authenticatorData", "signature"):
        proof = eve.proof(approval)
        for value in ("", "AA", "A", "!", 1, None):
            proof["webauthn"]["response"][member] = value
            await refuses(client, approval, proof)
        del proof["webauthn"]["response"][member]
        await refuses(client, approval, proof)


async def test_an_assertion_of_another_approval_is_refused(client, asked, asks):
    _, eve, approval = asked
    other = await asks(body={"kid": approval["kid"], "data": b64(b"other")})
    await refuses(client, other, eve.proof(approval))


@pytest.mark.parametrize("form", [{}, {"type": "public-key"}, {"id": "a"}, {"response": 1}])
async def test_an_incomplete_assertion_is_refused(client, asked, form):
    _, _, approval = asked
    answer = await client.post(f"/approvals/{approval['id']}", json={"webauthn": form})
    assert answer.status == 422


async def test_client_data_of_any_form_are_refused(client, asked):
    _, eve, approval = asked
    proof = eve.proof(approval)
    for data in (b"", b"null", b"[]", b"{}", b"[" * 5000, b'{"type": 1}', b"\\xff"):
        proof["webauthn"]["response"]["clientDataJSON"] = jose(data)
        await refuses(client, approval, proof)


async def test_a_jws_is_refused(client, asked, asks):
    ann, _, approval = asked
    bob = Signer("bob")
    other = await asks(body={"kid": approval["kid"], "data": b64(b"other")})
    changed = {**approval, "document": jose(raw(approval["document"]) + b" ")}
    faults = {
        "of another type": ann.proof(approval, typ="JWT"),
        "of nobody": bob.proof(approval),
        "of another approval": ann.proof(other),
        "of other bytes": ann.proof(changed),
    }
    for proof in faults.values():
        await refuses(client, approval, proof)
    header, payload, signature = ann.proof(approval)["jws"].split(".")
    for text in (
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{header}..{signature}",
        f"{header}.{payload}=.{signature}",
        f"{header}.{payload}.{signature}=",
        f"{header}.{payload}.{signature}.",
        "....",
        ".",
        "a",
    ):
        await refuses(client, approval, {"jws": text})


async def test_the_key_of_a_passkey_signs_no_jws(client, asked):
    _, eve, approval = asked
    header = {"alg": "ES256", "typ": "approval+jwt"}
    key = ECKey.import_key(eve.key)
    text = jws.serialize_compact(header, raw(approval["document"]), key, ["ES256"])
    await refuses(client, approval, {"jws": text})


async def test_two_spellings_of_a_proof_count_once(client, generate, asks, approves):
    ann, bob = Signer("ann"), Signer("bob")
    key = await generate("p256", rules=rule(ann, bob, threshold=2))
    approval = await asks(body={"kid": key["kid"], "data": DATA})
    await approves(approval, ann)
    again = await client.post(
        f"/approvals/{approval['id']}", json=ann.proof(approval, cty="application/json")
    )
    assert (await again.json())["approved_by"] == ["ann"]


@pytest.mark.parametrize(
    "body", [{}, {"jws": "a", "webauthn": {"id": "a"}}, {"jws": ""}, {"jws": 1}, {"token": "a"}]
)
async def test_a_body_has_exactly_one_proof(client, asked, body):
    _, _, approval = asked
    answer = await client.post(f"/approvals/{approval['id']}", json=body)
    await refused(answer, 422, "validation-failed")


async def test_a_proof_is_bounded(client, asked):
    _, _, approval = asked
    path = f"/approvals/{approval['id']}"
    await refused(await client.post(path, json={"jws": "a" * 50_000}), 422, "validation-failed")
    await refused(await client.post(path, json={"jws": "a" * 80_000}), 413, "body-too-large")


async def test_a_document_of_another_key_is_refused(client, generate, asks):
    ann = Signer()
    one = await generate("p256", rules=rule(ann))
    two = await generate("p256", rules=rule(ann))
    first = await asks(body={"kid": one["kid"], "data": DATA})
    second = await asks(body={"kid": two["kid"], "data": DATA})
    assert first["id"] != second["id"]
    await refuses(client, second, ann.proof(first))
    assert json.loads(raw(first["document"]))["sub"] == one["kid"]
