"""JWS in each of its forms, attached and detached (RFC 7515, RFC 7797)."""

import json

import joserfc.jws
import pytest
from algorithm_facts import FACTS, using
from base64url import b64, part, raw
from joserfc.jwk import import_key

pytestmark = pytest.mark.shared_service

PAYLOAD = b'{"iss":"joe"}'


def header_of(jws):
    return json.loads(raw(jws.split(".")[0]))


@pytest.mark.parametrize("alg", using("sign", "mac"))
async def test_a_jws_verifies_by_its_key_alone(post, generate, alg):
    key = await generate(alg, alias="did:example:1#k")
    extra = {"typ": "JWT", "x": [1, {"y": None}]}
    body = {"alias": "did:example:1#k", "payload": b64(PAYLOAD), "header": extra}
    jws = (await post("/jws/sign", body))["jws"]
    header = {"alg": FACTS[alg].signing[0], "kid": "did:example:1#k", **extra}
    assert header_of(jws) == header
    assert "=" not in jws
    good = {"valid": True, "header": header, "payload": b64(PAYLOAD)}
    ways = [{"kid": key["kid"]}, {"alias": "did:example:1#k"}]
    ways += [{"jwk": key["jwk"]}] if key["jwk"] else []
    for by in ways:
        assert await post("/jws/verify", {"jws": jws, **by}) == good
    same = {"jws": jws, "kid": key["kid"], "payload": b64(PAYLOAD)}
    assert await post("/jws/verify", same) == good
    bad = {"valid": False, "header": header, "payload": None}
    other = (await generate(alg))["kid"]
    assert await post("/jws/verify", {"jws": jws, "kid": other}) == bad
    protected, payload, signature = jws.split(".")
    changed = f"{protected}.{part(b'other')}.{signature}"
    assert await post("/jws/verify", {"jws": changed, "kid": key["kid"]}) == bad
    # The last character of 64 bytes has four bits that no byte has a use for.
    if len(raw(signature)) == 64:
        last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        spelt = signature[:-1] + last[last.index(signature[-1]) + 1]
        respelt = f"{protected}.{payload}.{spelt}"
        assert (await post("/jws/verify", {"jws": respelt, "kid": key["kid"]}))["valid"] is False
    unsigned = f"{protected}.{payload}."
    assert await post("/jws/verify", {"jws": unsigned, "kid": key["kid"]}) == bad


async def test_the_kid_of_a_key_named_by_kid(post, generate):
    kid = (await generate("p256", alias="also"))["kid"]
    jws = (await post("/jws/sign", {"kid": kid, "payload": ""}))["jws"]
    assert header_of(jws) == {"alg": "ES256", "kid": kid}
    verified = await post("/jws/verify", {"kid": kid, "jws": jws})
    assert (verified["valid"], verified["payload"]) == (True, "")


@pytest.mark.parametrize("alg", ["ed25519", "k256", "p384", "rsa2048", "hs256"])
async def test_a_detached_jws_verifies_with_its_payload(client, post, generate, alg):
    kid = (await generate(alg))["kid"]
    payload = b"not.base64url \xff\x00"
    body = {"kid": kid, "payload": b64(payload), "detached": True}
    jws = (await post("/jws/sign", body))["jws"]
    header = {"alg": FACTS[alg].signing[0], "kid": kid, "b64": False, "crit": ["b64"]}
    assert header_of(jws) == header
    assert jws.split(".")[1] == ""
    given = {"kid": kid, "jws": jws, "payload": b64(payload)}
    assert await post("/jws/verify", given) == {
        "valid": True,
        "header": header,
        "payload": b64(payload),
    }
    for other in ({}, {"payload": ""}, {"payload": b64(payload + b"\0")}):
        result = await post("/jws/verify", {"kid": kid, "jws": jws, **other})
        assert (result["valid"], result["payload"]) == (False, None)


FORMS = ["compact", "flattened", "general"]


@pytest.mark.parametrize("alg", ["ed25519", "p256", "rsa2048", "mldsa44", "hs256"])
@pytest.mark.parametrize("detached", [False, True])
async def test_a_jws_in_each_form_has_the_same_parts(post, generate, alg, detached):
    kid = (await generate(alg))["kid"]
    body = {"kid": kid, "payload": b64(PAYLOAD), "detached": detached, "header": {"typ": "JWT"}}
    made = {
        form: (await post("/jws/sign", {**body, "serialization": form}))["jws"] for form in FORMS
    }
    protected, payload, _ = made["compact"].split(".")
    content = {} if detached else {"payload": payload}
    flattened, general = made["flattened"], made["general"]
    assert flattened == {
        **content, "protected": protected, "signature": flattened["signature"]
    }  # fmt: skip
    (one,) = general["signatures"]
    assert general == {**content, "signatures": [one]}
    assert one == {"protected": protected, "signature": one["signature"]}
    given = {"kid": kid, **({"payload": b64(PAYLOAD)} if detached else {})}
    for jws in made.values():
        verified = await post("/jws/verify", {**given, "jws": jws})
        assert verified == {
            "valid": True, "header": json.loads(raw(protected)), "payload": b64(PAYLOAD)
        }  # fmt: skip
    other = (await generate(alg))["kid"]
    for jws in made.values():
        assert (await post("/jws/verify", {**given, "jws": jws, "kid": other}))["valid"] is False


async def test_a_jws_is_compact_by_default(refuses, post, generate):
    kid = (await generate())["kid"]
    assert isinstance((await post("/jws/sign", {"kid": kid, "payload": ""}))["jws"], str)
    for other in ("json", "", None, 1, ["compact"]):
        body = {"kid": kid, "payload": "", "serialization": other}
        await refuses("/jws/sign", body, 422, "validation-failed")


async def test_one_signature_of_several_is_enough(post, generate):
    keys = [await generate(alg) for alg in ("ed25519", "p256", "ed25519")]
    signatures = []
    for key in keys:
        body = {"kid": key["kid"], "payload": b64(PAYLOAD), "serialization": "general"}
        signatures += (await post("/jws/sign", body))["jws"]["signatures"]
    jws = {"payload": part(PAYLOAD), "signatures": signatures}
    for key in keys:
        verified = await post("/jws/verify", {"kid": key["kid"], "jws": jws})
        assert (verified["valid"], verified["header"]["kid"]) == (True, key["kid"])
    stranger = (await generate("ed25519"))["kid"]
    assert (await post("/jws/verify", {"kid": stranger, "jws": jws}))["valid"] is False
    many = {**jws, "signatures": signatures[1:2] * 63 + signatures[:1]}
    by = {"kid": keys[0]["kid"]}
    assert (await post("/jws/verify", {**by, "jws": many}))["valid"]
    more = {**jws, "signatures": signatures[1:2] * 64 + signatures[:1]}
    assert (await post("/jws/verify", {**by, "jws": more})) == NOT_A_JWS


NOT_A_JWS = {"valid": False, "header": None, "payload": None}
# Changes of a JWS in the general and in the flattened form; None takes a member away.
UNSIGNED = {
    "disclosures": ({"header": {"disclosures": ["x"], "kb_jwt": "y"}}, True),
    "kid twice": ({"header": {"kid": "x"}}, False),
    "no unprotected header": ({"header": {}}, True),
    "alg": ({"header": {"alg": "EdDSA"}}, False),
    "crit": ({"header": {"crit": ["exp"]}}, False),
    "b64": ({"header": {"b64": False}}, False),
    "a member twice": ({"header": {"typ": "JWT"}}, False),
    "a list": ({"header": []}, False),
    "null": ({"header": None}, False),
    "no protected header": ({"protected": None, "header": {"alg": "EdDSA"}}, False),
    "a number": ({"signature": 1}, False),
}


@pytest.mark.parametrize("name", UNSIGNED)
async def test_the_unprotected_header_is_not_trusted(post, generate, name):
    change, valid = UNSIGNED[name]
    kid = (await generate())["kid"]
    body = {"kid": kid, "payload": b64(PAYLOAD), "header": {"typ": "JWT"}}
    flattened = (await post("/jws/sign", {**body, "serialization": "flattened"}))["jws"]
    header = json.loads(raw(flattened["protected"]))
    one = {name: value for name, value in flattened.items() if name != "payload"} | change
    one = {name: value for name, value in one.items() if value is not None or name == "header"}
    payload = {"payload": flattened["payload"]}
    for jws in ({**payload, **one}, {**payload, "signatures": [one]}):
        verified = await post("/jws/verify", {"kid": kid, "jws": jws})
        good = {"valid": True, "header": header, "payload": b64(PAYLOAD)}
        assert verified == (good if valid else NOT_A_JWS)


async def test_objects_that_are_no_jws(post, generate):
    kid = (await generate())["kid"]
    body = {"kid": kid, "payload": b64(PAYLOAD), "serialization": "flattened"}
    good = (await post("/jws/sign", body))["jws"]
    for jws in (
        {},
        {"payload": good["payload"]},
        {**good, "payload": None},
        {**good, "payload": good["payload"] + "="},
        {**good, "signatures": [good]},
        {"payload": good["payload"], "signatures": []},
        {"payload": good["payload"], "signatures": good},
        {"payload": good["payload"], "signatures": ["x"]},
        {"payload": good["payload"], "signatures": [good, {}]},
        {**good, "protected": good["protected"] + "."},
    ):
        assert await post("/jws/verify", {"kid": kid, "jws": jws}) == NOT_A_JWS, jws


async def test_joserfc_agrees_on_the_json_forms(post, get, generate):
    made = await generate("p256", exportable=True)
    kid, key = made["kid"], import_key((await get(f"/key/{made['kid']}/export"))["jwk"])
    for form in ("flattened", "general"):
        body = {"kid": kid, "payload": b64(PAYLOAD), "serialization": form}
        ours = (await post("/jws/sign", body))["jws"]
        assert joserfc.jws.deserialize_json(ours, key).payload == PAYLOAD
        member = {"protected": {"alg": "ES256"}, "header": {"kid": "x"}}
        members = member if form == "flattened" else [member]
        theirs = joserfc.jws.serialize_json(members, PAYLOAD, key)
        verified = await post("/jws/verify", {"kid": kid, "jws": theirs})
        assert verified == {"valid": True, "header": {"alg": "ES256"}, "payload": b64(PAYLOAD)}


async def test_the_signature_of_a_detached_jws_is_over_the_payload_as_it_stands(post, generate):
    kid = (await generate("ed25519"))["kid"]
    body = {"kid": kid, "payload": b64(PAYLOAD), "detached": True}
    protected, _, signature = (await post("/jws/sign", body))["jws"].split(".")
    message = {"kid": kid, "data": b64(protected.encode() + b"." + PAYLOAD)}
    assert raw((await post("/sign", message))["sig"]) == raw(signature)


async def test_a_jws_has_the_requested_alg(refuses, post, generate):
    kid = (await generate("rsa2048"))["kid"]
    jws = (await post("/jws/sign", {"kid": kid, "payload": "", "alg": "PS384"}))["jws"]
    assert header_of(jws)["alg"] == "PS384"
    assert (await post("/jws/verify", {"kid": kid, "jws": jws}))["valid"]
    for alg in ("ES256", "none", "", "HS256"):
        body = {"kid": kid, "payload": "", "alg": alg}
        await refuses("/jws/sign", body, 422, "unsupported-option")


async def test_the_alg_of_a_jwk_binds_it(post, generate):
    key = await generate("rsa2048")
    jws = (await post("/jws/sign", {"kid": key["kid"], "payload": "", "alg": "PS384"}))["jws"]
    for alg, valid in (("PS384", True), ("RS256", False), ("ES256", False)):
        given = {"jws": jws, "jwk": key["jwk"] | {"alg": alg}}
        assert (await post("/jws/verify", given))["valid"] is valid


@pytest.mark.parametrize("name", ["alg", "kid", "b64", "crit"])
async def test_reserved_header_members_are_refused(refuses, generate, name):
    kid = (await generate())["kid"]
    body = {"kid": kid, "payload": "", "header": {name: "x"}}
    problem = await refuses("/jws/sign", body, 422, "validation-failed")
    assert problem["errors"][0]["pointer"] == "#/header"
    for header in (None, [], "text"):
        body["header"] = header
        await refuses("/jws/sign", body, 422, "validation-failed")


async def test_headers_that_never_verify(post, generate):
    kid = (await generate("ed25519"))["kid"]

    async def signed(header, payload=PAYLOAD, plain=False):
        message = part(header).encode() + b"." + (payload if plain else part(payload).encode())
        sig = (await post("/sign", {"kid": kid, "data": b64(message)}))["sig"]
        middle = payload.decode() if plain else part(payload)
        return f"{part(header)}.{middle}.{sig.rstrip('=')}"

    async def valid(jws, **more):
        result = await post("/jws/verify", {"kid": kid, "jws": jws, **more})
        assert (result["payload"] is not None) is result["valid"]
        return result["valid"]

    assert await valid(await signed({"alg": "EdDSA"}))
    assert await valid(await signed({"alg": "Ed25519", "kid": "whatever"}))
    # RFC 7797: an unencoded payload may stay in the JWS if it has no full stop.
    plain = {"alg": "EdDSA", "b64": False, "crit": ["b64"]}
    assert await valid(await signed(plain, b"$02", plain=True))
    encoded = {"alg": "EdDSA", "b64": True, "crit": ["b64"]}
    assert await valid(await signed(encoded))
    for header in (
        {},
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES256"},
        {"alg": ["EdDSA"]},
        {"alg": None},
        {"alg": "EdDSA", "crit": []},
        {"alg": "EdDSA", "crit": "b64"},
        {"alg": "EdDSA", "crit": None},
        {"alg": "EdDSA", "crit": ["exp"], "exp": 1},
        {"alg": "EdDSA", "crit": ["b64"]},
        {"alg": "EdDSA", "crit": ["b64", "b64"], "b64": True},
        {"alg": "EdDSA", "crit": ["b64", "exp"], "b64": True, "exp": 1},
        {"alg": "EdDSA", "crit": ["b64"], "b64": "false"},
        {"alg": "EdDSA", "b64": True},
    ):
        assert not await valid(await signed(header)), header
    assert not await valid(await signed({"alg": "EdDSA", "b64": False}, b"$02", plain=True))
    assert not await valid(await signed({"alg": "none"}) + "")
    good = await signed({"alg": "EdDSA"})
    assert not await valid(good, payload=b64(b"other"))


@pytest.mark.parametrize(
    "jws",
    ["", ".", "..", "...", "a.b.c", "e30..", "e30.AA", "e30.AA.AA.AA", "bnVsbA.AA.AA", "W10.AA.AA",
     "e30=.AA.AA", "e30.AA==.AA", "e30.A A.AA", "é.AA.AA", "eyJhIjoi\u0000In0.AA.AA", "=.=.="],
)  # fmt: skip
async def test_a_malformed_jws_is_not_valid(post, generate, jws):
    for alg in ("ed25519", "hs256"):
        kid = (await generate(alg))["kid"]
        result = await post("/jws/verify", {"kid": kid, "jws": jws})
        assert (result["valid"], result["payload"]) == (False, None)


async def test_a_mac_key_and_a_public_key_are_not_confused(post, generate):
    """The oldest trick: an HS256 code made with the public key's bytes."""
    key = await generate("p256")
    secret = b64(json.dumps(key["jwk"]).encode())
    mac = (await post("/key/import", {"alg": "hs256", "secret": secret}))["kid"]
    jws = (await post("/jws/sign", {"kid": mac, "payload": ""}))["jws"]
    for by in ({"kid": key["kid"]}, {"jwk": key["jwk"]}):
        assert (await post("/jws/verify", {"jws": jws, **by}))["valid"] is False


@pytest.mark.parametrize("alg", ["ed25519", "hs256"])
@pytest.mark.parametrize("detached", [False, True])
async def test_the_kid_of_the_header(post, generate, alg, detached):
    key = await generate(alg, alias="did:example:1#k")
    by_alias = {"alias": "did:example:1#k", "payload": "", "detached": detached}
    by_kid = {**by_alias, "kid": key["kid"]}
    del by_kid["alias"]
    for body, kid_header, expected in (
        (by_alias, {}, "did:example:1#k"),
        (by_alias, {"kid_header": "alias"}, "did:example:1#k"),
        (by_alias, {"kid_header": "kid"}, key["kid"]),
        (by_kid, {}, key["kid"]),
        (by_kid, {"kid_header": "alias"}, key["kid"]),
        (by_kid, {"kid_header": "kid"}, key["kid"]),
        (by_alias, {"kid_header": "none"}, None),
        (by_kid, {"kid_header": "none"}, None),
    ):
        jws = (await post("/jws/sign", {**body, **kid_header}))["jws"]
        assert header_of(jws).get("kid") == expected
        assert ("kid" in header_of(jws)) is (expected is not None)
        assert (await post("/jws/verify", {"jws": jws, "kid": key["kid"], "payload": ""}))["valid"]


async def test_a_header_is_as_long_as_one_that_verifies(post, refuses, generate):
    kid = (await generate("ed25519"))["kid"]
    body = {"kid": kid, "payload": "", "kid_header": "none"}
    bare = len('{"alg":"EdDSA","cty":""}')
    for size, fits in ((49_152, True), (49_153, False)):  # 65,536 characters in base64url
        own = body | {"header": {"cty": "x" * (size - bare)}}
        if fits:
            jws = (await post("/jws/sign", own))["jws"]
            assert len(jws.partition(".")[0]) == 65_536
            assert (await post("/jws/verify", {"kid": kid, "jws": jws}))["valid"]
        else:
            found = await refuses("/jws/sign", own, 422, "validation-failed")
            assert found["errors"][0]["pointer"] == "#/header"


@pytest.mark.parametrize("value", ["", "KID", None, True, "jwk"])
async def test_an_unknown_kid_header_is_refused(refuses, generate, value):
    await generate(alias="a")
    body = {"alias": "a", "payload": "", "kid_header": value}
    found = await refuses("/jws/sign", body, 422, "validation-failed")
    assert [each["pointer"] for each in found["errors"]] == ["#/kid_header"]
