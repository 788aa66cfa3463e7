"""Signing inputs that a library has made are signed as they are, and the rules of the key hold."""

import hashlib
import json
import time

import cbor2
import pytest
from algorithm_facts import FACTS
from base64url import b64, jose, part, raw

pytestmark = pytest.mark.shared_service

ISSUER, EVIL = "https://issuer.example", "https://evil.example"
RULES = {
    "jws": {"typ": ["dc+sd-jwt"], "claims": {"iss": [ISSUER]}, "max_lifetime": 3600},
    "cose": True,
}
HEADER = {"alg": "ES256", "typ": "dc+sd-jwt"}
# Algorithms with a JOSE name for a signature or a code, each with its names.
SIGNING = {alg: facts.signing for alg, facts in FACTS.items() if facts.signing}
ES256 = -7


def claims(**others):
    return {"iss": ISSUER, "exp": int(time.time()) + 600, **others}


def to_sign(header=HEADER, payload=None):
    """A signing input of parts that are bytes or JSON."""
    return f"{part(header)}.{part(claims() if payload is None else payload)}"


def structure(protected, payload=b"hello", *, context="Signature1", aad=b""):
    """A Sig_structure in base64url."""
    header = protected if isinstance(protected, bytes) else cbor2.dumps(protected)
    return b64(cbor2.dumps([context, header, aad, payload]))


def cwt(**others):
    return cbor2.dumps({1: ISSUER, 4: int(time.time()) + 600, **others})


@pytest.mark.parametrize("alg", SIGNING)
async def test_the_signature_over_a_signing_input_makes_a_jws(post, generate, alg):
    kid = (await generate(alg))["kid"]
    for name in SIGNING[alg]:
        text = to_sign({"alg": name, "kid": "did:example:1#0", "jwk": {}}, b"\xff any bytes")
        signed = await post("/jws/sign", {"kid": kid, "signing_input": text})
        assert (signed.pop("alg"), signed.pop("kid")) == (name, kid)
        made = f"{text}.{jose(raw(signed.pop('sig')))}"
        assert not signed
        found = await post("/jws/verify", {"kid": kid, "jws": made})
        assert found["valid"]
        assert raw(found["payload"]) == b"\xff any bytes"


@pytest.mark.parametrize(
    ("header", "slug"),
    [
        ({"alg": "ES384"}, "unsupported-option"),
        ({"alg": "none"}, "unsupported-option"),
        ({}, "unsupported-option"),
        ({"alg": ["ES256"]}, "validation-failed"),
        ({"alg": "ES256", "kid": 1}, "validation-failed"),
        ({"alg": "ES256", "crit": ["exp"], "exp": 1}, "validation-failed"),
        ({"alg": "ES256", "crit": ["b64"], "b64": False}, "validation-failed"),
        ({"alg": "ES256", "b64": True}, "validation-failed"),
        (b'{"alg":"ES256","typ":"a","typ":"b"}', "validation-failed"),
        (b'{"alg":"ES256","a":{"b":1,"b":2}}', "validation-failed"),
        (b'{"alg":"ES256","a":1e999}', "validation-failed"),
        (b'{"alg":"ES256"}\xff', "validation-failed"),
        (b'\xef\xbb\xbf{"alg":"ES256"}', "validation-failed"),
        ([], "validation-failed"),
        (b"", "validation-failed"),
        ({"alg": "ES256", "long": "x" * 65_536}, "validation-failed"),
    ],
)
async def test_a_header_that_is_not_to_be_read_in_one_way_is_refused(
    refuses, generate, header, slug
):
    body = {"kid": (await generate("p256"))["kid"], "signing_input": to_sign(header)}
    problem = await refuses("/jws/sign", body, 422, slug)
    if slug == "validation-failed":
        assert [each["pointer"] for each in problem["errors"]] == ["#/signing_input"]


async def test_the_parts_of_a_signing_input_have_one_spelling(refuses, post, generate):
    kid = (await generate("p256"))["kid"]
    header = part({"alg": "ES256"})
    payload = part(b"four")  # its last character has four stray bits
    await post("/jws/sign", {"kid": kid, "signing_input": f"{header}.{payload}"})
    for text in (
        header,
        f"{header}.{payload}.",
        f"{header}.{payload}.{payload}",
        f"{header}.{payload}==",
        f"{header}=.{payload}",
        f"{header}.{payload[:-1]}x",
        f"{header}.{payload}\n",
        f"{header}. {payload}",
        f"{header}.{payload}\u00e9",
        f"{header}.+/+/",
        ".",
        "",
    ):
        body = {"kid": kid, "signing_input": text}
        await refuses("/jws/sign", body, 422, "validation-failed")


@pytest.mark.parametrize(
    "more", [{"payload": ""}, {"header": {}}, {"alg": "ES256"}, {"detached": False}, {"jwk": {}}]
)
async def test_a_signing_input_stands_alone(refuses, generate, more):
    body = {"kid": (await generate("p256"))["kid"], "signing_input": to_sign(), **more}
    await refuses("/jws/sign", body, 422, "validation-failed")


async def test_a_key_with_rules_signs_the_input_that_fits_them(post, generate):
    kid = (await generate("p256", rules=RULES))["kid"]
    signed = await post("/jws/sign", {"kid": kid, "signing_input": to_sign()})
    made = f"{to_sign()}.{jose(raw(signed['sig']))}"
    assert (await post("/jws/verify", {"kid": kid, "jws": made}))["valid"]


@pytest.mark.parametrize(
    ("rule", "header", "payload"),
    [
        ("jws.typ", {"alg": "ES256"}, {}),
        ("jws.typ", {**HEADER, "typ": "JWT"}, {}),
        ("jws", {**HEADER, "Typ": "JWT"}, {}),
        ("jws", {**HEADER, "zip": "DEF"}, {}),
        ("jws", {**HEADER, "ALG": "none"}, {}),
        ("jws", {**HEADER, "Crit": ["b64"]}, {}),
        ("jws", {**HEADER, "B64": False}, {}),
        ("jws.claims.iss", HEADER, {"iss": EVIL}),
        ("jws", HEADER, {"Iss": EVIL}),
        ("jws.max_lifetime", HEADER, {"exp": 2**40}),
    ],
)
async def test_a_key_with_rules_refuses_any_other_input(refuses, generate, rule, header, payload):
    kid = (await generate("p256", rules=RULES))["kid"]
    body = {"kid": kid, "signing_input": to_sign(header, claims(**payload))}
    problem = await refuses("/jws/sign", body, 403, "rule-violated")
    assert f"The rule {rule}: " in problem["detail"]


async def test_a_payload_that_parsers_read_in_two_ways_is_refused(refuses, generate):
    kid = (await generate("p256", rules=RULES))["kid"]
    doubled = json.dumps(claims())[:-1].encode() + b',"iss":"%s"}' % EVIL.encode()
    for payload in (doubled, b"", b"[]", json.dumps(claims()).encode("utf-16")):
        body = {"kid": kid, "signing_input": to_sign(HEADER, payload)}
        await refuses("/jws/sign", body, 403, "rule-violated")


async def test_the_disclosures_of_a_signing_input_are_compared(refuses, post, generate):
    rules = {"jws": {**RULES["jws"], "disclosures": "shown"}}
    kid = (await generate("p256", rules=rules))["kid"]
    shown = part(["salt", "given_name", "Ada"])
    digest = jose(hashlib.sha256(shown.encode()).digest())
    body = {"kid": kid, "signing_input": to_sign(HEADER, claims(_sd=[digest]))}
    await post("/jws/sign", {**body, "disclosures": [shown]})
    await refuses("/jws/sign", body, 403, "rule-violated")
    await refuses(
        "/jws/sign", {**body, "disclosures": [part(["s", "iss", EVIL])]}, 403, "rule-violated"
    )


# The number of each JOSE name: RFC 9053, RFC 8812, RFC 9864.
NUMBERS = {"ed25519": -8, "p256": -7, "p384": -35, "p521": -36, "k256": -47, "hs256": 5}


@pytest.mark.parametrize("alg", NUMBERS)
async def test_the_signature_over_a_structure_makes_a_cose_message(post, generate, alg):
    kid = (await generate(alg))["kid"]
    context, tag = ("MAC0", 17) if alg == "hs256" else ("Signature1", 18)
    protected = cbor2.dumps({1: NUMBERS[alg]})
    asked = structure(protected, context=context, aad=b"aad")
    signed = await post("/cose/sign", {"kid": kid, "sig_structure": asked})
    assert signed["kid"] == kid
    message = cbor2.dumps(cbor2.CBORTag(tag, [protected, {}, b"hello", raw(signed["sig"])]))
    body = {"kid": kid, "cose": b64(message), "external_aad": b64(b"aad")}
    assert (await post("/cose/verify", body))["valid"]
    assert not (await post("/cose/verify", {**body, "external_aad": ""}))["valid"]


LONG = b"\x84\x6aSignature1\x43\xa1\x01\x26\x40"  # protected: {1: -7}, no external data


@pytest.mark.parametrize(
    ("asked", "slug"),
    [
        (structure({1: -35}), "unsupported-option"),
        (structure({}), "unsupported-option"),
        (structure(b""), "unsupported-option"),
        (structure({1: ES256}, context="MAC0"), "invalid-cose"),
        (structure({1: ES256}, context="CounterSignature"), "invalid-cose"),
        (structure({1: ES256, 2: [99], 99: 0}), "invalid-cose"),
        (structure(b"\xa2\x01\x26\x01\x26"), "invalid-cose"),
        (b64(LONG + b"\x58\x05hello"), "invalid-cose"),  # a length in two bytes
        (b64(LONG + b"\x5f\x45hello\xff"), "invalid-cose"),
        (b64(LONG + b"\x45hello\x00"), "invalid-cose"),
        (b64(LONG + b"\xf6"), "invalid-cose"),
        ("", "invalid-cose"),
    ],
)
async def test_a_structure_that_verifiers_do_not_make_again_is_refused(
    refuses, post, generate, asked, slug
):
    kid = (await generate("p256"))["kid"]
    await post("/cose/sign", {"kid": kid, "sig_structure": b64(LONG + b"\x45hello")})
    await refuses("/cose/sign", {"kid": kid, "sig_structure": asked}, 422, slug)


async def test_a_structure_stands_alone(refuses, generate):
    kid = (await generate("p256"))["kid"]
    for more in ({"payload": ""}, {"alg": "ES256"}, {"protected": ""}, {"tagged": True}):
        body = {"kid": kid, "sig_structure": structure({1: ES256}), **more}
        await refuses("/cose/sign", body, 422, "validation-failed")


async def test_rules_hold_for_a_structure(refuses, post, generate):
    kid = (await generate("p256", rules=RULES))["kid"]
    typed = {1: ES256, 16: "dc+sd-jwt"}
    await post("/cose/sign", {"kid": kid, "sig_structure": structure(typed, cwt())})
    for rule, protected, payload in (
        ("jws.typ", {1: ES256}, cwt()),
        ("jws", {**typed, 15: {1: EVIL}}, cwt()),
        ("jws.claims.iss", typed, cbor2.dumps({1: EVIL, 4: int(time.time()) + 60})),
        ("jws.max_lifetime", typed, cbor2.dumps({1: ISSUER, 4: 2**40})),
        ("jws", typed, b"no map"),
    ):
        body = {"kid": kid, "sig_structure": structure(protected, payload)}
        problem = await refuses("/cose/sign", body, 403, "rule-violated")
        assert f"The rule {rule}: " in problem["detail"]
    without = (await generate("p256", rules={"jws": RULES["jws"]}))["kid"]
    body = {"kid": without, "sig_structure": structure(typed, cwt())}
    problem = await refuses("/cose/sign", body, 403, "rule-violated")
    assert "The rule cose: " in problem["detail"]
