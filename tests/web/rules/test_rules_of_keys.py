"""Rules of a key: given, shown, tightened, kept and enforced.

test_rules_at_every_door.py has each rule at each call that signs.
"""

import json
import time

import cbor2
import orjson
import pytest
from base64url import b64, raw
from operation_calls import USES
from problems import refused

from minikms.rules import MAX_RULE_BYTES, PRESETS

pytestmark = pytest.mark.shared_service

ISSUER = "https://issuer.example"
JWS = {
    "typ": ["dc+sd-jwt"],
    "claims": {"iss": [ISSUER], "vct": ["https://a.example", "https://b.example"]},
    "max_lifetime": 3600,
}
RULES = {"raw": False, "algs": ["ES256"], "jws": JWS}
HEADER = {"typ": "dc+sd-jwt"}
JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
}


def claims(**others):
    """A payload that RULES allow."""
    allowed = {"iss": ISSUER, "vct": "https://a.example", "exp": int(time.time()) + 600}
    return {**allowed, **others}


def payload(**others):
    return b64(orjson.dumps(claims(**others)))


@pytest.fixture
def ruled(generate):
    """Make a key with rules, and give its kid."""

    async def make(rules=RULES, alg="p256", **options):
        return (await generate(alg, rules=rules, **options))["kid"]

    return make


@pytest.fixture
def violates(refuses):
    """Send a body that a rule must refuse."""

    async def call(path, body, rule):
        problem = await refuses(path, body, 403, "rule-violated")
        assert f"The rule {rule}: " in problem["detail"]

    return call


@pytest.fixture
def patch(client):
    async def call(kid, rules, status=200, slug=""):
        answer = await client.patch(f"/key/{kid}", json={"rules": rules})
        if slug:
            return await refused(answer, status, slug)
        assert answer.status == status, await answer.text()
        return await answer.json()

    return call


@pytest.mark.each_store
async def test_rules_are_shown_as_they_were_given(generate, get, post, all_keys):
    key = await generate("p256", rules=RULES, alias="a")
    assert key["rules"] == RULES
    assert (await get(f"/key/{key['kid']}"))["rules"] == RULES
    made = (await post("/key/generate/batch", {"alg": "p256", "count": 2, "rules": RULES}))["keys"]
    imported = await post("/key/import", {"jwk": JWK, "rules": {"per_day": 7}})
    assert imported["rules"] == {"raw": True, "per_day": 7}
    assert await all_keys() == [key, *made, imported]
    assert [each.get("rules") for each in made] == [RULES, RULES]


async def test_a_key_without_rules_shows_none(generate):
    assert "rules" not in await generate("p256")


@pytest.mark.parametrize("name", PRESETS)
async def test_a_preset_is_shown_expanded(generate, name):
    rules = (await generate("p256", rules=name))["rules"]
    cose = {"cose": True} if name == "status-list" else {}
    assert rules == {"raw": False, "jws": {"typ": sorted(PRESETS[name]["jws"]["typ"])}, **cose}


@pytest.mark.parametrize(
    ("rules", "pointer"),
    [
        ("none-such", "#/rules"),
        (None, "#/rules"),
        ({"raws": False}, "#/rules/raws"),
        ({"raw": True, "jws": {}}, "#/rules/raw"),
        ({"jws": {"claims": {"a/b": "x"}}}, "#/rules/jws/claims/a~1b"),
        ({"algs": ["ES256", 7]}, "#/rules/algs/1"),
        ({"jws": {"typ": ["x" * 2048 + f"{n}" for n in range(9)]}}, "#/rules/jws/typ/0"),
        ({"jws": {"typ": ["x" * 2000 + f"{n}" for n in range(9)]}}, "#/rules"),
    ],
)
async def test_faulty_rules_are_refused_at_their_place(refuses, generate, client, rules, pointer):
    bodies = [("/key/generate", {}), ("/key/generate/batch", {"count": 1})]
    for path, more in bodies:
        problem = await refuses(
            path, {"alg": "p256", "rules": rules, **more}, 422, "validation-failed"
        )
        assert [each["pointer"] for each in problem["errors"]] == [pointer]
    kid = (await generate("p256"))["kid"]
    answer = await client.patch(f"/key/{kid}", json={"rules": rules})
    await refused(answer, 422, "validation-failed")


async def test_algs_that_the_key_does_not_have_are_refused(refuses, generate, patch):
    for alg, algs in (("p256", ["ES384"]), ("ed25519", ["ES256", "EdDSA"]), ("x25519", ["EdDSA"])):
        body = {"alg": alg, "rules": {"algs": algs}}
        await refuses("/key/generate", body, 422, "unsupported-option")
        kid = (await generate(alg))["kid"]
        await patch(kid, {"algs": algs}, 422, "unsupported-option")
    assert (await generate("hs256", rules={"algs": ["HS256"]}))["rules"]["algs"] == ["HS256"]


async def test_rules_of_a_batch_count_for_each_of_its_keys(refuses, post):
    rules = {"jws": {"typ": ["x" * 2048] + [f"{n}".zfill(2047) for n in range(7)]}}
    assert MAX_RULE_BYTES - 16 < sum(len(each) for each in rules["jws"]["typ"]) < MAX_RULE_BYTES
    body = {"alg": "ed25519", "count": 65, "rules": rules}
    await refuses("/key/generate/batch", body, 422, "too-large-record")
    assert len((await post("/key/generate/batch", {**body, "count": 3}))["keys"]) == 3


@pytest.mark.each_store
async def test_rules_become_tighter_by_patch_alone(generate, get, patch):
    kid = (await generate("p256"))["kid"]
    for rules in ({"per_minute": 9}, {"raw": False, "per_minute": 9}, {**RULES, "per_minute": 8}):
        assert (await patch(kid, rules))["rules"] == {"raw": True} | rules
    looser = [
        {},
        {"raw": True},
        RULES,
        "sd-jwt-vc",
        {**RULES, "per_minute": 9},
        {**RULES, "per_minute": 8, "jws": {**JWS, "claims": {}}},
        {"raw": False, "jws": JWS, "per_minute": 8},
    ]
    for rules in looser:
        await patch(kid, rules, 409, "rules-loosened")
    assert (await get(f"/key/{kid}"))["rules"] == {**RULES, "per_minute": 8}
    await patch(kid, {**RULES, "per_minute": 8})


async def test_a_refused_patch_changes_nothing_else(client, ruled, get):
    kid = await ruled()
    body = {"rules": {"raw": True}, "labels": {"a": "b"}, "state": "disabled"}
    await refused(await client.patch(f"/key/{kid}", json=body), 409, "rules-loosened")
    key = await get(f"/key/{kid}")
    assert (key["labels"], key["state"]) == ({}, "enabled")


@pytest.mark.each_store
async def test_a_tightened_key_is_bound_at_once(generate, patch, post, violates):
    kid = (await generate("p256", alias="a"))["kid"]
    for by in ({"kid": kid}, {"alias": "a"}):
        await post("/sign", {**by, "data": ""})
    await patch(kid, {"raw": False})
    for by in ({"kid": kid}, {"alias": "a"}):
        await violates("/sign", {**by, "data": ""}, "raw")


@pytest.mark.each_store
async def test_rotation_keeps_the_rules(client, ruled, get, violates):
    old = await ruled(alias="a")
    new = await (await client.post(f"/key/{old}/rotate")).json()
    assert new["rules"] == (await get(f"/key/{old}"))["rules"] == RULES
    await violates("/sign", {"alias": "a", "data": ""}, "raw")
    # The old key can be enabled again, but not without its rules.
    await client.patch(f"/key/{old}", json={"state": "enabled"})
    await violates("/sign", {"kid": old, "data": ""}, "raw")


async def test_a_deleted_and_restored_key_keeps_its_rules(client, ruled, get):
    kid = await ruled()
    assert (await client.delete(f"/key/{kid}", params={"after": "7d"})).status == 200
    await refused(
        await client.patch(f"/key/{kid}", json={"rules": {**RULES, "per_day": 1}}),
        409,
        "key-not-usable",
    )
    assert (await (await client.post(f"/key/{kid}/restore")).json())["rules"] == RULES
    assert (await get(f"/key/{kid}"))["rules"] == RULES


@pytest.mark.each_store
async def test_a_key_that_is_imported_again_keeps_its_rules(post, refuses, patch):
    first = await post("/key/import", {"jwk": JWK, "rules": {"raw": False, "per_day": 9}})
    keep = {"jwk": JWK, "if_exists": "keep"}
    assert await post("/key/import", keep) == first
    assert await post("/key/import", {**keep, "rules": first["rules"]}) == first
    for rules in ({"raw": False}, {"raw": False, "per_day": 1}, "sd-jwt-vc", {}):
        await refuses("/key/import", {**keep, "rules": rules}, 409, "key-exists")
    await refuses("/key/import", {"jwk": JWK}, 409, "key-exists")
    # In another form, it is the same key.
    secret = {"alg": "ed25519", "secret": JWK["d"], "if_exists": "keep"}
    assert await post("/key/import", secret) == first
    await patch(first["kid"], {"raw": True}, 409, "rules-loosened")


async def test_a_key_without_rules_is_not_kept_for_one_with_rules(post, refuses):
    await post("/key/import", {"jwk": JWK})
    body = {"jwk": JWK, "if_exists": "keep", "rules": {"raw": False}}
    await refuses("/key/import", body, 409, "key-exists")


# Enforcement


async def test_without_raw_signatures_no_code_is_made(generate, violates, post):
    kid = (await generate("hs256", rules={"raw": False}))["kid"]
    await violates("/mac", {"kid": kid, "data": ""}, "raw")
    jws = (await post("/jws/sign", {"kid": kid, "payload": ""}))["jws"]
    assert (await post("/jws/verify", {"kid": kid, "jws": jws}))["valid"]
    assert (await post("/cose/sign", {"kid": kid, "payload": ""}))["cose"]
    verified = await post("/mac/verify", {"kid": kid, "data": "", "mac": ""})
    assert verified == {"valid": False}


async def test_a_signature_verifies_whatever_the_rules(ruled, post):
    kid = await ruled({"jws": JWS}, alias="a")
    body = {"kid": kid, "payload": payload(), "header": HEADER}
    jws = (await post("/jws/sign", body))["jws"]
    assert (await post("/jws/verify", {"kid": kid, "jws": jws}))["valid"]
    assert await post("/verify", {"kid": kid, "data": "", "sig": ""}) == {"valid": False}
    items = [{"data": "", "sig": ""}]
    assert await post("/verify/batch", {"kid": kid, "items": items})


async def test_a_key_of_jws_is_no_sender(generate, violates, post, client):
    """The operations are the ones that DIDComm v1 needs of an Ed25519 key."""
    operations = ["sign", "box", "box-open", "jwe-encrypt", "jwe-decrypt"]
    key = await generate("ed25519", operations=operations)
    other = await generate("ed25519", operations=operations)
    box = {"kid": key["kid"], "to": other["jwk"], "plaintext": ""}
    pack = {"from": key["kid"], "to": [other["b58"]], "message": ""}
    await post("/box", box)
    await post("/didcomm/pack", pack)
    assert (await client.patch(f"/key/{key['kid']}", json={"rules": {"jws": {}}})).status == 200
    await violates("/box", box, "jws")
    await violates("/didcomm/pack", pack, "jws")
    # It is still a recipient, which needs its public key alone.
    await post("/box/seal", {"to": key["jwk"], "plaintext": ""})


async def test_a_key_of_jws_is_no_sender_of_a_jwe(client, generate, violates, post):
    key, other = await generate("p256", alias="a"), await generate("p256")
    recipient = {"jwk": other["jwk"], "alg": "ECDH-1PU+A256KW"}
    body = {"plaintext": "", "enc": "A256CBC-HS512", "recipients": [recipient], "from": key["kid"]}
    await post("/jwe/encrypt", body)
    assert (await client.patch(f"/key/{key['kid']}", json={"rules": {"jws": {}}})).status == 200
    for name in (key["kid"], "a"):
        await violates("/jwe/encrypt", {**body, "from": name}, "jws")


async def test_rules_leave_encryption_alone(generate, post):
    for use in USES:
        if use.path in ("/encrypt", "/wrap"):
            key = await generate(use.alg, rules={"raw": False, "jws": {}})
            await post(use.path, {**use.body, "kid": key["kid"]})


@pytest.mark.parametrize(
    ("alg", "allowed", "refused_alg"),
    [
        ("ed25519", "Ed25519", "EdDSA"),
        ("rsa2048", "PS256", "RS256"),
        ("rsa2048", "RS256", "PS256"),
    ],
)
async def test_only_allowed_algorithms_sign(generate, post, violates, alg, allowed, refused_alg):
    kid = (await generate(alg, rules={"algs": [allowed]}))["kid"]
    calls = [
        ("/sign", {"data": ""}),
        ("/sign/batch", {"items": [{"data": ""}]}),
        ("/jws/sign", {"payload": ""}),
        ("/cose/sign", {"payload": ""}),
        ("/csr", {"subject": "CN=a"}),
    ]
    for path, body in calls:
        await post(path, {"kid": kid, "alg": allowed, **body})
        await violates(path, {"kid": kid, "alg": refused_alg, **body}, "algs")


async def test_the_algorithm_by_default_must_be_allowed(generate, post, violates):
    kid = (await generate("rsa2048", rules={"algs": ["PS256"]}))["kid"]
    for path, body in (("/sign", {"data": ""}), ("/jws/sign", {"payload": ""})):
        await violates(path, {"kid": kid, **body}, "algs")
    body = {"kid": kid, "profile": "self-signed", "subject": "CN=a", "days": 1}
    await violates("/certificate", body, "algs")
    kid = (await generate("hs256", rules={"algs": ["HS256"]}))["kid"]
    await post("/mac", {"kid": kid, "data": ""})


@pytest.mark.parametrize("alg", ["p256", "ed25519", "rsa2048", "mldsa44", "hs256"])
@pytest.mark.parametrize("serialization", ["compact", "flattened", "general"])
async def test_allowed_claims_are_signed(generate, post, alg, serialization):
    kid = (await generate(alg, rules={"jws": JWS}))["kid"]
    body = {"kid": kid, "payload": payload(), "header": HEADER, "serialization": serialization}
    jws = (await post("/jws/sign", body))["jws"]
    verified = await post("/jws/verify", {"kid": kid, "jws": jws})
    assert verified["valid"]
    assert json.loads(raw(verified["payload"]))["iss"] == ISSUER


async def test_other_spellings_of_allowed_claims_are_signed(ruled, post):
    kid = await ruled()
    spellings = [
        json.dumps(claims(), indent=2),
        json.dumps(claims(name="Zoë", score=0.1, list=[{"a": 1}, {"a": 1}])),
        json.dumps(claims()).replace('"iss"', r'"\u0069ss"'),
    ]
    for text in spellings:
        await post("/jws/sign", {"kid": kid, "payload": b64(text.encode()), "header": HEADER})


@pytest.mark.parametrize(
    ("others", "rule"),
    [
        ({"iss": "https://evil.example"}, "jws.claims.iss"),
        ({"iss": None}, "jws.claims.iss"),
        ({"iss": [ISSUER]}, "jws.claims.iss"),
        ({"vct": ""}, "jws.claims.vct"),
        ({"exp": None}, "jws.max_lifetime"),
        ({"exp": 10**10}, "jws.max_lifetime"),
        ({"exp": -1}, "jws.max_lifetime"),
        ({"exp": 1.5}, "jws.max_lifetime"),
        ({"exp": "1"}, "jws.max_lifetime"),
        ({"exp": True}, "jws.max_lifetime"),
        ({"exp": [1]}, "jws.max_lifetime"),
    ],
)
async def test_other_claims_are_refused(ruled, violates, others, rule):
    body = {"kid": await ruled(), "payload": payload(**others), "header": HEADER}
    for serialization in ("compact", "flattened", "general"):
        await violates("/jws/sign", {**body, "serialization": serialization}, rule)


async def test_other_types_of_a_credential_are_allowed_ones(ruled, post, violates):
    """A verifier takes the credential for one of each type in `aka_vcts`."""
    body = {"kid": await ruled(), "header": HEADER}
    for types in (["https://b.example"], ["https://b.example", "https://a.example"], []):
        await post("/jws/sign", {**body, "payload": payload(aka_vcts=types)})
    item = {"...": "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"}
    for types in (
        ["https://evil.example"], ["https://a.example", "https://evil.example"], [item], [["a"]],
        "https://a.example", None, {"https://a.example": 1}, [None],
    ):  # fmt: skip
        wrong = {**body, "payload": payload(aka_vcts=types)}
        await violates("/jws/sign", wrong, "jws.claims.vct")
    for name in ("AKA_VCTS", "aka\0_vcts", "aka_vcts\u200b"):
        wrong = {**body, "payload": payload(**{name: ["https://evil.example"]})}
        await violates("/jws/sign", wrong, "jws")


async def test_other_types_are_free_without_a_rule_on_the_type(ruled, post):
    kid = await ruled({"jws": {"claims": {"iss": [ISSUER]}}})
    await post("/jws/sign", {"kid": kid, "payload": payload(aka_vcts="a", AKA_VCTS=["b"])})


async def test_exp_is_bound_whatever_iat_says(ruled, violates, post):
    kid, now = await ruled(), int(time.time())
    body = {"kid": kid, "header": HEADER}
    for exp in (0, now, now + 3590):
        await post("/jws/sign", {**body, "payload": payload(exp=exp, iat=now + 10**9)})
    for exp in (now + 3700, now + 10**9 + 10):
        wrong = {**body, "payload": payload(exp=exp, iat=now + 10**9, nbf=now + 10**9)}
        await violates("/jws/sign", wrong, "jws.max_lifetime")


@pytest.mark.parametrize(
    "header",
    [{}, {"typ": "JWT"}, {"typ": "DC+SD-JWT"}, {"typ": "application/dc+sd-jwt"}, {"typ": ""},
     {"cty": "dc+sd-jwt"}, {"TYP": "dc+sd-jwt"}],
)  # fmt: skip
async def test_other_types_are_refused(ruled, violates, header):
    body = {"kid": await ruled({"jws": {"typ": ["dc+sd-jwt"]}}), "payload": payload()}
    rule = "jws" if "TYP" in header else "jws.typ"
    await violates("/jws/sign", {**body, "header": header}, rule)


async def test_a_certificate_header_changes_nothing(ruled, client, post, violates):
    kid = await ruled()
    body = {"kid": kid, "profile": "self-signed", "subject": "CN=a", "days": 1}
    chain = [(await post("/certificate", body))["certificate"]]
    answer = await client.put(f"/key/{kid}/certificates", json={"certificates": chain})
    assert (await answer.json())["rules"] == RULES
    body = {"kid": kid, "payload": payload(), "header": HEADER, "certificate_header": "x5c"}
    await post("/jws/sign", body)
    await violates("/jws/sign", {**body, "header": {}}, "jws.typ")


# COSE

CWT = {1: ISSUER, 4: 2000}
COSE_RULES = {
    "jws": {"typ": ["application/cwt"], "claims": {"iss": [ISSUER]}, "max_lifetime": 60},
    "cose": True,
}


def cwt(**others):
    numbers = {"iss": 1, "sub": 2, "aud": 3, "exp": 4}
    document = {1: ISSUER, 4: int(time.time()) + 30}
    for name, value in others.items():
        document[numbers.get(name, name)] = value
    return b64(cbor2.dumps(document))


@pytest.mark.parametrize(
    "rules", ["sd-jwt-vc", {"jws": {}}, {"jws": JWS}, {"cose": False}], ids=str
)
@pytest.mark.parametrize("alg", ["p256", "hs256"])
async def test_cose_is_signed_only_if_the_rules_say_so(
    generate, client, post, violates, alg, rules
):
    """Verifiers of CWTs and mdocs do not read the type."""
    kid = (await generate(alg))["kid"]
    body = {"kid": kid, "payload": cwt(), "typ": "dc+sd-jwt"}
    await post("/cose/sign", body)
    assert (await client.patch(f"/key/{kid}", json={"rules": rules})).status == 200
    for more in ({}, {"tagged": False, "detached": True}, {"typ": 16}, {"payload": ""}):
        await violates("/cose/sign", {**body, **more}, "cose")


@pytest.mark.parametrize("alg", ["p256", "ed25519", "hs256"])
@pytest.mark.parametrize("detached", [False, True])
async def test_allowed_claims_are_signed_as_cose(generate, post, alg, detached):
    kid = (await generate(alg, rules=COSE_RULES))["kid"]
    body = {"kid": kid, "payload": cwt(), "typ": "application/cwt", "detached": detached}
    await post("/cose/sign", body)
    del body["typ"]
    await post("/cose/sign", {**body, "protected": b64(cbor2.dumps({16: "application/cwt"}))})


@pytest.mark.parametrize(
    ("others", "rule"),
    [
        ({"payload": b64(b"{}")}, "jws"),
        ({"payload": ""}, "jws"),
        ({"payload": b64(cbor2.dumps(cbor2.CBORTag(61, CWT)))}, "jws"),
        ({"payload": b64(cbor2.dumps([1]))}, "jws"),
        ({"payload": b64(b"\xbf\x01\x61a\xff")}, "jws"),  # no definite length
        ({"payload": b64(b"\xa2\x01\x61a\x01\x61b")}, "jws"),
        ({"payload": b64(b"\xa2\x01\x61a\x18\x01\x61b")}, "jws"),
        ({"payload": cwt(iss="https://evil.example")}, "jws.claims.iss"),
        ({"payload": cwt(iss=ISSUER.encode())}, "jws.claims.iss"),
        ({"payload": cwt(iss=[ISSUER])}, "jws.claims.iss"),
        ({"payload": b64(cbor2.dumps({"iss": ISSUER, 4: 1}))}, "jws.claims.iss"),
        ({"payload": b64(cbor2.dumps({**CWT, "iss": "https://evil.example"}))}, "jws.claims.iss"),
        ({"payload": cwt(exp=10**10)}, "jws.max_lifetime"),
        ({"payload": cwt(exp=1.0)}, "jws.max_lifetime"),
        ({"payload": cwt(exp=2**70)}, "jws.max_lifetime"),
        ({"payload": cwt(exp=cbor2.CBORTag(1, 1))}, "jws.max_lifetime"),
        ({"payload": b64(cbor2.dumps({1: ISSUER}))}, "jws.max_lifetime"),
        ({"payload": b64(cbor2.dumps({**CWT, "exp": 10**10}))}, "jws.max_lifetime"),
        ({"typ": None}, "jws.typ"),
        ({"typ": 61}, "jws.typ"),
        ({"typ": "cwt"}, "jws.typ"),
        ({"typ": None, "unprotected": b64(cbor2.dumps({16: "application/cwt"}))}, "jws.typ"),
        ({"typ": None, "protected": b64(cbor2.dumps({"typ": "application/cwt"}))}, "jws.typ"),
        ({"protected": b64(cbor2.dumps({15: {1: "https://evil.example"}}))}, "jws"),
        ({"unprotected": b64(cbor2.dumps({15: {1: "https://evil.example"}}))}, "jws"),
    ],
)
async def test_other_cose_messages_are_refused(ruled, refuses, others, rule):
    body = {"kid": await ruled(COSE_RULES), "payload": cwt(), "typ": "application/cwt", **others}
    body = {name: value for name, value in body.items() if value is not None}
    problem = await refuses("/cose/sign", body, 403, "rule-violated")
    assert f"The rule {rule}: " in problem["detail"]


async def test_a_claim_without_a_label_is_not_signed_as_cose(ruled, violates):
    kid = await ruled({"jws": {"claims": {"scope": ["a"]}}, "cose": True})
    for document in ({"scope": "a"}, {9: "a"}):
        body = {"kid": kid, "payload": b64(cbor2.dumps(document))}
        await violates("/cose/sign", body, "jws.claims.scope")


async def test_types_alone_do_not_bind_the_payload_of_cose(ruled, post, violates):
    kid = await ruled("status-list")
    body = {"kid": kid, "payload": b64(b"\x00"), "typ": "application/statuslist+cwt"}
    await post("/cose/sign", body)
    await violates("/cose/sign", {**body, "typ": "application/cwt"}, "jws.typ")


# Certificates and attestations


async def test_a_key_of_jws_certifies_no_other_key(client, post, authority, violates, generate):
    kid, _ = await authority("p256")
    other = (await generate("p256"))["kid"]
    body = {"kid": kid, "profile": "client", "subject": "CN=a", "key": other, "days": 1}
    await post("/certificate", body)
    answer = await client.patch(f"/key/{kid}", json={"rules": "sd-jwt-vc"})
    assert answer.status == 200
    await violates("/certificate", body, "jws")
    csr = (await post("/csr", {"kid": other, "subject": "CN=a"}))["csr"]
    body = {"kid": kid, "profile": "client", "subject": "CN=a", "csr": csr, "days": 1}
    await violates("/certificate", body, "jws")
    assert await post("/csr", {"kid": kid, "subject": "CN=a"})


async def test_a_ruled_key_is_attested(generate, ruled, post):
    by = (await generate("p256"))["kid"]
    assert await post("/key-attestation", {"kid": by, "keys": [await ruled()]})
