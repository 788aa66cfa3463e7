"""Disclosures of SD-JWTs under the rule `jws.disclosures`: none, or only ones that are shown."""

import base64
import hashlib
import json

import pytest
from base64url import b64, raw
from problems import slug_of

pytestmark = pytest.mark.shared_service

ISSUER = "https://issuer.example"
EVIL = "https://evil.example"
TYPED = {"typ": "dc+sd-jwt"}
RULES = {"jws": {"typ": ["dc+sd-jwt"], "claims": {"iss": [ISSUER], "role": ["user"]}}}
CLAIMS = {"iss": ISSUER, "role": "user"}


def rules(disclosures):
    return {"jws": {**RULES["jws"], "disclosures": disclosures}}


def disclosure(*parts, salt="c2FsdA"):
    """The disclosure of a member's name and value, or of an item's value."""
    return encoded(json.dumps([salt, *parts]))


def encoded(text):
    data = text if isinstance(text, bytes) else text.encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def digest(text, name="sha256"):
    hashed = hashlib.new(name, text.encode()).digest()
    return base64.urlsafe_b64encode(hashed).decode().rstrip("=")


def sd(*disclosures):
    return {"_sd": [digest(each) for each in disclosures]}


NAME, CITY, ITEM = disclosure("given_name", "Ada"), disclosure("city", "Bonn"), disclosure("DE")
ADDRESS = disclosure("address", {"country": "DE", **sd(CITY)})

# Payloads that are signed if their disclosures are shown: the claims and the disclosures.
SHOWN = {
    "none": ({}, []),
    "an empty list": ({"_sd": []}, []),
    "a claim": (sd(NAME), [NAME]),
    "two, in another order": (sd(NAME, CITY), [CITY, NAME]),
    "a nested claim": ({"address": sd(CITY)}, [CITY]),
    "an item": ({"nationalities": ["FR", {"...": digest(ITEM)}]}, [ITEM]),
    "an item of a list in a list": ({"a": [[{"...": digest(ITEM)}]]}, [ITEM]),
    "a claim in a disclosure": (sd(ADDRESS), [CITY, ADDRESS]),
    "an item in a disclosure": (
        sd(disclosure("all", [{"...": digest(ITEM)}])),
        [ITEM, disclosure("all", [{"...": digest(ITEM)}])],
    ),
    "iss within an object": ({"a": sd(disclosure("iss", EVIL))}, [disclosure("iss", EVIL)]),
    "a claim below cnf within an object": ({"a": {"cnf": sd(CITY)}}, [CITY]),
    "claims that are plain": (
        {"cnf": {"jwk": {}}, "status": {"status_list": {"idx": 0}}, "aka_vcts": ["a"], **sd(NAME)},
        [NAME],
    ),
    "sha-256 by its name": ({"_sd_alg": "sha-256", **sd(NAME)}, [NAME]),
    "sha-512": ({"_sd_alg": "sha-512", "_sd": [digest(NAME, "sha512")]}, [NAME]),
    "sha3-384": ({"_sd_alg": "sha3-384", "_sd": [digest(NAME, "sha3_384")]}, [NAME]),
    "a null": (sd(disclosure("a", None)), [disclosure("a", None)]),
    "a claim named sd": ({"sd": 1, "a": {"SD": 1}}, []),
}


def named(*names):
    """Payloads that disclose a claim of this name at the top level."""
    made = {}
    for name in names:
        one = disclosure(name, EVIL)
        made[f"the name {name!r}"] = (sd(one), [one])
    return made


def below(*names):
    """Payloads that disclose something below a claim of this name at the top level."""
    made = {}
    for name in names:
        made[f"a member of {name}"] = ({name: {"a": [sd(CITY)]}}, [CITY])
        made[f"an item of {name}"] = ({name: [{"...": digest(ITEM)}]}, [ITEM])
    return made


def odd(text, length=3):
    """A payload with a disclosure of this text."""
    one = encoded(text)
    return (sd(one) if length == 3 else {"a": [{"...": digest(one)}]}, [one])


DEEP = json.dumps(["s", "a"])[:-1] + "," + "[" * 300 + "]" * 300 + "]"
REFUSED = {
    **named("iss", "exp", "nbf", "iat", "cnf", "vct", "status", "role"),
    **named("vct#integrity", "aka_vcts", "aka_vcts\b", "i\0ss"),
    **named("ISS", "iss\b", "i\u20ddss", "Exp", "ro\u00adle", "_sd", "...", "_sd_alg", "_SD"),
    **below("exp", "nbf", "iat", "cnf", "vct", "status", "vct#integrity", "aka_vcts", "CNF"),
    "a digest that is not shown": (sd(NAME), []),
    "a decoy": (sd(NAME, CITY), [NAME]),
    "a disclosure that is not used": (sd(NAME), [NAME, CITY]),
    "only disclosures": ({}, [NAME]),
    "the same disclosure twice": (sd(NAME), [NAME, NAME]),
    "the same digest twice": (sd(NAME, NAME), [NAME]),
    "the same digest in two places": ({**sd(NAME), "a": sd(NAME)}, [NAME]),
    "two of one name": (
        sd(NAME, disclosure("given_name", "Eve")), [NAME, disclosure("given_name", "Eve")]
    ),
    "two of one name to some": (
        sd(NAME, disclosure("Given_Name", "Eve")), [NAME, disclosure("Given_Name", "Eve")]
    ),
    "a name that is there": ({"given_name": "Eve", **sd(NAME)}, [NAME]),
    "a name that is there up to a NUL": ({"given_name\0x": "Eve", **sd(NAME)}, [NAME]),
    "a name that is there but for a NUL": ({"given\0_name": "Eve", **sd(NAME)}, [NAME]),
    "a name that is there, nested": ({"a": {"city": "Rome", **sd(CITY)}}, [CITY]),
    "a hidden claim in a disclosure": (sd(ADDRESS), [ADDRESS]),
    "the digest of another hash": ({"_sd": [digest(NAME, "sha512")]}, [NAME]),
    "the digest of another hash, named": ({"_sd_alg": "sha-512", **sd(NAME)}, [NAME]),
    "an unknown hash": ({"_sd_alg": "md5", "_sd": [digest(NAME, "md5")]}, [NAME]),
    "a hash that is no text": ({"_sd_alg": None, **sd(NAME)}, [NAME]),
    "the hash in capitals": ({"_sd_alg": "SHA-256", **sd(NAME)}, [NAME]),
    "a nested hash": ({"a": {"_sd_alg": "sha-256"}}, []),
    "digests as a text": ({"_sd": digest(NAME)}, [NAME]),
    "digests as null": ({"_sd": None}, []),
    "a digest in a list": ({"_sd": [[digest(NAME)]]}, [NAME]),
    "a digest with padding": ({"_sd": [digest(NAME) + "="]}, [NAME]),
    "_sd in capitals": ({"_SD": [digest(NAME)]}, [NAME]),
    "_sd in capitals besides": ({"_SD": [digest(CITY)], **sd(NAME)}, [NAME]),
    "_sd with a control": ({"_sd\b": [digest(NAME)]}, [NAME]),
    "_sd in a nested object, in capitals": ({"a": [{"_Sd": [digest(NAME)]}]}, [NAME]),
    "an ellipsis": ({"a": [{"\u2026": digest(ITEM)}]}, [ITEM]),
    "an item with another member": ({"a": [{"...": digest(ITEM), "b": 1}]}, [ITEM]),
    "an item whose digest is a list": ({"a": [{"...": [digest(ITEM)]}]}, [ITEM]),
    "an item outside a list": ({"a": {"...": digest(ITEM)}}, [ITEM]),
    "an item at the top": ({"...": digest(ITEM)}, [ITEM]),
    "an item as a member": (sd(ITEM), [ITEM]),
    "a member as an item": ({"a": [{"...": digest(NAME)}]}, [NAME]),
    "an item in an item": (
        {"a": [{"...": digest(disclosure({"...": digest(ITEM)}))}]},
        [ITEM, disclosure({"...": digest(ITEM)})],
    ),
    "no JSON": odd("x"),
    "an object": odd("{}"),
    "an empty disclosure": odd("[]"),
    "four parts": odd('["s","a",1,2]'),
    "a salt that is no text": odd('[1,"a",1]'),
    "a salt that is no text, of an item": odd("[1,1]", 2),
    "a name that is no text": odd('["s",["iss"],1]'),
    "a name that is null": odd('["s",null,1]'),
    "a member twice": odd('["s","a",{"b":1,"b":2}]'),
    "a huge number": odd('["s","a",1e999]'),
    "bytes that are not UTF-8": odd(b'["s","a","\xff"]'),
    "deep": odd(DEEP),
}  # fmt: skip
# Spellings of one disclosure, which lenient parsers decode to it.
SPELT = [NAME + "=", NAME + "\n", NAME[:4] + " " + NAME[4:], NAME + "é", NAME + "~", ""]


@pytest.fixture
def sign(client, generate):
    """Sign a payload under rules; gives the slug of the problem and the rule, or the JWS."""

    async def call(key_rules, payload, disclosures=None, **more):
        kid = (await generate("p256", rules=key_rules))["kid"]
        body = {"kid": kid, "header": TYPED, **more}
        body["payload"] = b64(json.dumps({**CLAIMS, **payload}).encode())
        if disclosures is not None:
            body["disclosures"] = disclosures
        answer = await client.post("/jws/sign", json=body)
        if answer.status == 200:
            return (await answer.json())["jws"]
        problem = await answer.json()
        return await slug_of(answer), problem["detail"].partition(": ")[0]

    return call


VIOLATED = ("rule-violated", "The rule jws.disclosures")


@pytest.mark.parametrize("name", SHOWN)
async def test_shown_disclosures_are_signed(sign, name):
    payload, disclosures = SHOWN[name]
    jws = await sign(rules("shown"), payload, disclosures)
    assert json.loads(raw(jws.split(".")[1])) == {**CLAIMS, **payload}
    # They are not part of the JWS.
    assert "~" not in jws


@pytest.mark.parametrize("name", REFUSED)
async def test_no_disclosure_is_hidden_or_replaces_a_claim(sign, name):
    payload, disclosures = REFUSED[name]
    assert await sign(rules("shown"), payload, disclosures) == VIOLATED
    # Without the rule, the key signs it: the rule refuses it, and nothing else.
    assert isinstance(await sign(RULES, payload, disclosures), str)


async def test_nothing_is_disclosed_below_an_issuer_that_no_rule_names(sign):
    free = {"jws": {"disclosures": "shown"}}
    for payload, disclosures in below("iss").values():
        assert await sign(free, payload, disclosures) == VIOLATED
        assert isinstance(await sign({"jws": {}}, payload, disclosures), str)


@pytest.mark.parametrize("spelt", SPELT)
async def test_a_disclosure_has_one_spelling(sign, spelt):
    assert await sign(rules("shown"), sd(spelt), [spelt]) == VIOLATED


@pytest.mark.parametrize("name", [*SHOWN, *REFUSED])
async def test_a_key_without_disclosures_signs_no_digest(sign, name):
    payload, disclosures = (SHOWN | REFUSED)[name]
    signed = await sign(rules("none"), payload, disclosures)
    if name in ("none", "a claim named sd", "only disclosures"):
        assert isinstance(signed, str)
    else:
        assert signed == VIOLATED


async def test_by_default_disclosures_are_the_callers_own(sign, generate):
    for key_rules in (RULES, rules("any"), {"raw": False}):
        for disclosures in (None, [], [NAME], ["é"]):
            assert isinstance(await sign(key_rules, sd(CITY), disclosures), str)
    made = await generate("p256", rules=rules("any"))
    assert made["rules"]["jws"] == RULES["jws"]


async def test_a_call_without_disclosures_shows_none(sign):
    assert isinstance(await sign(rules("shown"), {}), str)
    assert await sign(rules("shown"), sd(NAME)) == VIOLATED


async def test_disclosures_are_checked_in_each_form(sign):
    for form in ("flattened", "general"):
        signed = await sign(rules("shown"), sd(NAME), [NAME], serialization=form)
        assert signed["payload"]
        assert await sign(rules("shown"), sd(NAME), [], serialization=form) == VIOLATED


@pytest.mark.parametrize("number", [1024, 1025])
async def test_the_number_of_disclosures_is_bounded(sign, number):
    each = [disclosure(f"claim {n}", n) for n in range(number)]
    signed = await sign(rules("shown"), sd(*each), each)
    assert isinstance(signed, str) if number == 1024 else signed[0] == "validation-failed"


async def test_disclosures_are_tightened_alone(client, generate):
    kid = (await generate("p256", rules=RULES))["kid"]
    for disclosures, slug in (
        ("shown", ""), ("any", "rules-loosened"), ("none", ""), ("shown", "rules-loosened"),
    ):  # fmt: skip
        answer = await client.patch(f"/key/{kid}", json={"rules": rules(disclosures)})
        assert await slug_of(answer) == slug


async def test_an_attestation_has_no_disclosures(generate, post):
    for disclosures in ("none", "shown"):
        kid = (await generate("p256", rules={"jws": {"disclosures": disclosures}}))["kid"]
        assert await post("/key-attestation", {"kid": kid, "keys": [kid]})
