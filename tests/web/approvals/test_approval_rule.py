"""The rule `approval`: read strictly, with a pointer to each fault, and bounded."""

import copy

import pytest
from base64url import jose
from cryptography.hazmat.primitives.asymmetric import rsa
from problems import refused
from web.approvals.approvers import Passkey, Signer, rule

from minikms.approval_rule import ApprovalRule

pytestmark = pytest.mark.shared_service

ANN, BOB, EVE = Signer("ann"), Signer("bob", "Ed25519"), Passkey("eve")
GOOD = rule(ANN, BOB, EVE, threshold=2, expires_in=60, wait=1, delete=True)


async def test_the_rule_is_shown_as_it_was_given(client, generate):
    key = await generate("p256", rules=GOOD)
    assert key["rules"] == {"raw": True, **GOOD}
    read = ApprovalRule.read(GOOD["approval"])
    assert read.document() == GOOD["approval"]
    assert hash(read) == hash(ApprovalRule.read(GOOD["approval"]))


async def test_defaults_are_shown(generate):
    key = await generate("p256", rules=rule(ANN))
    shown = {"threshold": 1, "expires_in": 300, "wait": 0, "delete": False}
    assert key["rules"]["approval"] == {"approvers": [ANN.approver()], **shown}


def of(place, value):
    """GOOD with one changed member; `...` removes it."""
    changed = copy.deepcopy(GOOD["approval"])
    *parents, name = place.split("/")
    found = changed
    for each in parents:
        found = found[int(each)] if each.isdigit() else found[each]
    name = int(name) if name.isdigit() else name
    if value is ...:
        del found[name]
    else:
        found[name] = value
    return {"approval": changed}


OCT = {"kty": "oct", "k": "AAAA"}
X25519 = {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}
OFF_CURVE = {"kty": "EC", "crv": "P-256", "x": jose(b"\x01" * 32), "y": jose(b"\x01" * 32)}
SMALL = rsa.generate_private_key(65537, 1024).public_key().public_numbers().n
SMALL_RSA = {"kty": "RSA", "n": jose(SMALL.to_bytes(128, "big")), "e": "AQAB"}

FAULTS = [
    ("approvers", ...),
    ("approvers", []),
    ("approvers", {}),
    ("approvers", [ANN.approver()] * 17),
    ("approvers/1", 1),
    ("approvers/1/jwk", ANN.jwk),  # twice
    ("approvers/1/jwk", {**ANN.jwk, "kid": "other", "alg": "ES256"}),
    ("approvers/1/jwk", ...),
    ("approvers/1/jwk", "a"),
    ("approvers/1/jwk", {}),
    ("approvers/1/jwk", OCT),
    ("approvers/1/jwk", X25519),
    ("approvers/1/jwk", OFF_CURVE),
    ("approvers/1/jwk", SMALL_RSA),
    ("approvers/1/jwk", {**BOB.jwk, "d": "AAAA"}),
    ("approvers/1/jwk", {**BOB.jwk, "x": 1}),
    ("approvers/1/jwk", {**BOB.jwk, "x": "A" * 5000}),
    ("approvers/1/jwk", {**BOB.jwk, "alg": "ES384"}),
    ("approvers/1/jwk", {**BOB.jwk, "crv": "Ed999"}),
    ("approvers/1/name", ...),
    ("approvers/1/name", ""),
    ("approvers/1/name", "a" * 129),
    ("approvers/1/name", "a\n"),
    ("approvers/1/name", 1),
    ("approvers/1/other", 1),
    ("approvers/2/passkey", None),
    ("approvers/2/passkey/id", ...),
    ("approvers/2/passkey/id", "!"),
    ("approvers/2/passkey/rp_id", ""),
    ("approvers/2/passkey/origins", []),
    ("approvers/2/passkey/origins", ["https://a.example"] * 9),
    ("approvers/2/passkey/origins", [1]),
    ("approvers/2/passkey/other", 1),
    ("threshold", 0),
    ("threshold", 4),
    ("threshold", True),
    ("expires_in", 9),
    ("expires_in", 604_801),
    ("expires_in", 60.0),
    ("wait", -1),
    ("wait", 61),
    ("delete", 1),
    ("other", 1),
]


@pytest.mark.parametrize(("place", "value"), FAULTS)
async def test_a_fault_is_named_by_its_pointer(client, generate, place, value):
    rules = of(place, value)
    answer = await client.post("/key/generate", json={"alg": "p256", "rules": rules})
    problem = await refused(answer, 422, "validation-failed")
    pointers = [each["pointer"] for each in problem["errors"]]
    at = "/".join(place.split("/")[:2])
    assert all(each.startswith(f"#/rules/approval/{at}") for each in pointers), pointers
    key = await generate("p256")
    answer = await client.patch(f"/key/{key['kid']}", json={"rules": rules})
    await refused(answer, 422, "validation-failed")


async def test_a_threshold_is_at_most_the_number_of_names(client):
    rules = rule(Signer("ann"), Signer("ann"), threshold=2)
    answer = await client.post("/key/generate", json={"alg": "p256", "rules": rules})
    await refused(answer, 422, "validation-failed")


async def test_an_imported_key_and_a_batch_are_checked_too(client):
    rules = of("approvers/1/jwk", OFF_CURVE)
    jwk = {**ANN.key.as_dict(private=True)}
    body = {"jwk": {name: jwk[name] for name in ("kty", "crv", "x", "y", "d")}, "rules": rules}
    await refused(await client.post("/key/import", json=body), 422, "validation-failed")
    body = {"alg": "p256", "count": 2, "rules": rules}
    await refused(await client.post("/key/generate/batch", json=body), 422, "validation-failed")
