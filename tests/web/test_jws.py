"""JWS in its compact form, attached and detached (RFC 7515, RFC 7797)."""

import json

import pytest
from algorithm_facts import FACTS, using
from encoded import b64, part, raw

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
    # RFC 7797: unencoded and yet in its place, where it has no full stop.
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
