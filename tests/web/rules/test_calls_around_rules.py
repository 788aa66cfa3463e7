"""Further ways around the rules of a key, each a single call, or two at once."""

import asyncio
import json
import time

import cbor2
import pytest
from base64url import b64
from problems import slug_of

pytestmark = pytest.mark.shared_service

ISSUER = "https://issuer.example"
EVIL = "https://evil.example"
JWS = {"typ": ["dc+sd-jwt"], "claims": {"iss": [ISSUER]}, "max_lifetime": 3600}
RULES = {"raw": False, "jws": JWS, "cose": True}
TYPED = {"typ": "dc+sd-jwt"}
LATER = 10**10


def claims(more="", exp=""):
    """Allowed claims as JSON, with more members after them."""
    return f'{{"iss":"{ISSUER}","exp":{exp or int(time.time()) + 60}{more}}}'


def evil(text=f'{{"iss":"{EVIL}","exp":{LATER}}}'):
    return b64(text.encode())


def jws(payload="", **more):
    return "/jws/sign", {"payload": b64((payload or claims()).encode()), "header": TYPED, **more}


def cose(payload=None, **more):
    document = {1: ISSUER, 4: 1} if payload is None else payload
    sent = document if isinstance(document, bytes) else cbor2.dumps(document)
    return "/cose/sign", {"payload": b64(sent), "typ": "dc+sd-jwt", **more}


def header(**members):
    return b64(cbor2.dumps({int(name[1:]): value for name, value in members.items()}))


# Calls that the rules refuse.
REFUSED = {
    # JSON
    "doubled among white space": jws(claims(f' ,\n\t"iss" : "{EVIL}" ')),
    "doubled with an escaped solidus": jws(claims(f',"iss":"{EVIL}"').replace("/", "\\/")),
    "doubled by capital escapes": jws(claims(f',"\\u0069\\u0073\\u0073":"{EVIL}"')),
    "doubled by an escape of a pair": jws(claims(',"\\ud83d\\ude00":1,"\U0001f600":2')),
    "doubled with a blank kept apart": jws(claims(',"a b":1,"ab":2,"a b":3')),
    "doubled in a list of lists": jws(claims(',"a":[[[{"b":1,"\\u0062":2}]]]')),
    "doubled cnf": jws(claims(',"cnf":{"jwk":{}},"cnf":{"jwk":{"kty":"EC"}}')),
    "doubled with a longer number": jws(claims(',"a":1e15,"a":1000000000000000.0')),
    "the name in full capitals": jws(claims(f',"\\u0049SS":"{EVIL}"')),
    "exp in capitals": jws(claims(f',"EXP":{LATER}')),
    "the name up to a NUL": jws(claims(f',"iss\\u0000":"{EVIL}"')),
    "the name up to a NUL, in capitals": jws(claims(f',"ISS\\u0000x":"{EVIL}"')),
    "exp up to a NUL": jws(claims(f',"exp\\u0000":{LATER}')),
    "the name with a dotted capital": jws(claims(f',"\u0130SS":"{EVIL}"')),
    "the name with a dotted capital, escaped": jws(claims(f',"\\u0130ss":"{EVIL}"')),
    "the name in mathematical letters": jws(claims(f',"\U0001d422\U0001d42c\U0001d42c":"{EVIL}"')),
    "the name with long letters and a dotless one": jws(claims(f',"\u0131\u017f\u017f":"{EVIL}"')),
    "the name with an invisible character": jws(claims(f',"i\u200bss":"{EVIL}"')),
    "the name with a soft hyphen": jws(claims(f',"i\\u00adss":"{EVIL}"')),
    "the name with a selector of a variation": jws(claims(f',"iss\ufe0f":"{EVIL}"')),
    "the name with a mark": jws(claims(f',"\u00edss":"{EVIL}"')),
    "the name with a sharp s": jws(claims(f',"i\u00df":"{EVIL}"')),
    "the name with a backspace": jws(claims(f',"iss\\b":"{EVIL}"')),
    "the name with a form feed": jws(claims(f',"i\\fss":"{EVIL}"')),
    "the name after a blank": jws(claims(f'," iss":"{EVIL}"')),
    "the name with an enclosing mark": jws(claims(f',"iss\u20dd":"{EVIL}"')),
    "the name with a spacing mark": jws(claims(f',"iss\U0001d165":"{EVIL}"')),
    "the name with a filler": jws(claims(f',"is\u3164s":"{EVIL}"')),
    "the name with a mark that is a letter": jws(claims(f',"\u0365ss":"{EVIL}"')),
    "the name with a mark that folds to a letter": jws(claims(f',"iss\u0345":"{EVIL}"')),
    "the name in circled letters": jws(claims(f',"\U0001f158\U0001f162\U0001f162":"{EVIL}"')),
    "the name with a character of no version": jws(claims(f',"\U0003fffdss":"{EVIL}"')),
    "exp with a control": jws(claims(f',"exp\\u0085":{LATER}')),
    "exp with a mark": jws(claims(f',"exp\u0301":{LATER}')),
    "exp as true": jws(claims(exp="true")),
    "exp with a capital exponent": jws(claims(exp="1E+1")),
    "exp with a negative exponent": jws(claims(exp="10e-1")),
    "exp as a list": jws(claims(exp="[1]")),
    "exp as an object": jws(claims(exp='{"a":1}')),
    "exp as an empty text": jws(claims(exp='""')),
    "exp as a huge float": jws(claims(exp="1e308")),
    "exp as a negative float": jws(claims(exp="-1.5")),
    "exp as a hexadecimal": jws(claims(exp="0x1")),
    "exp as minus zero, as a float": jws(claims(exp="-0.0")),
    "exp with underscores": jws(claims(exp="1_0")),
    "exp of 2**53": jws(claims(exp=str(2**53))),
    "exp in milliseconds": jws(claims(exp=str(int(time.time() * 1000)))),
    # C reads a number below 0 without its sign as a huge one.
    "exp below 0": jws(claims(exp="-1")),
    "exp far below": jws(claims(exp=str(-(2**63)))),
    "iss as an object": jws(f'{{"iss":{{"a":"{ISSUER}"}},"exp":1}}'),
    "the claims of a prototype": jws(f'{{"__proto__":{{"iss":"{ISSUER}","exp":1}}}}'),
    "the claims in a list": jws(f'[{{"iss":"{ISSUER}","exp":1}}]'),
    "iss as its prefix": jws(f'{{"iss":"{ISSUER[:-1]}","exp":1}}'),
    "iss with a slash": jws(f'{{"iss":"{ISSUER}/","exp":1}}'),
    "iss with a user": jws('{"iss":"https://issuer.example@evil.example","exp":1}'),
    "iss with a soft hyphen": jws(f'{{"iss":"{ISSUER}\\u00ad","exp":1}}'),
    "iss in wide letters": jws('{"iss":"https://\uff49ssuer.example","exp":1}'),
    "the name of iss with a blank": jws(f'{{"iss ":"{ISSUER}","exp":1}}'),
    "the name of iss in wide letters": jws(f'{{"\uff49ss":"{ISSUER}","exp":1}}'),
    "a vertical tab for white space": jws(f"\x0b{claims()}"),
    "a wide blank for white space": jws(f"\u00a0{claims()}"),
    "a text sequence": jws(f"\x1e{claims()}\n"),
    "lines of JSON": jws(f"{claims()}\n{claims()}"),
    "JSON in JSON": jws(json.dumps(claims())),
    "JSON of JavaScript": jws(f"{claims()};"),
    "a guard before the object": jws(f")]}}'\n{claims()}"),
    # Headers of a JWS
    "typ of a media type": jws(header={"typ": "application/dc+sd-jwt"}),
    "typ with a parameter": jws(header={"typ": "dc+sd-jwt;v=1"}),
    "typ in wide letters": jws(header={"typ": "\uff44c+sd-jwt"}),
    "typ under a name in wide letters": jws(header={"\uff54yp": "dc+sd-jwt"}),
    "typ in the payload": jws(claims(',"typ":"dc+sd-jwt"'), header={}),
    "claims in the header": jws("{}", header={**TYPED, "iss": ISSUER, "exp": 1}),
    "zip of another case": jws(header={**TYPED, "zIp": "DEF"}),
    "typ with a control": jws(header={**TYPED, "typ\b": "JWT"}),
    "typ up to a NUL": jws(header={**TYPED, "typ\0": "JWT"}),
    "zip up to a NUL": jws(header={**TYPED, "ZIP\0x": "DEF"}),
    "zip with a dotted capital": jws(header={**TYPED, "Z\u0130P": "DEF"}),
    "detached": jws(detached=True),
    "detached in an object": jws(detached=True, serialization="flattened"),
    "of another typ, in an object": jws(header={"typ": "JWT"}, serialization="general"),
    "kid left out": jws(header={}, kid_header="none"),
    # COSE
    "a CWT with text names": cose({"iss": ISSUER, "exp": 1}),
    "a CWT with both names": cose({1: ISSUER, 4: 1, "iss": EVIL}),
    "a CWT with exp as a text": cose({1: ISSUER, 4: "1"}),
    "a CWT with exp as a float": cose({1: ISSUER, 4: 1.0}),
    "a CWT with exp as a huge number": cose(b"\xa2\x01" + cbor2.dumps(ISSUER) + b"\x04\x1b"
                                            + b"\xff" * 8),
    "a CWT with exp as a tagged time": cose({1: ISSUER, 4: cbor2.CBORTag(1, 1)}),
    "a CWT with exp as null": cose({1: ISSUER, 4: None}),
    "a CWT with a label in a longer form": cose(b"\xa3\x01" + cbor2.dumps(ISSUER)
                                                + b"\x04\x01\x19\x00\x01\x61x"),
    "a CWT with a label of another type": cose({1: ISSUER, 4: 1, b"\x01": EVIL}),
    "a CWT with a label as a float": cose(b"\xa3\x01" + cbor2.dumps(ISSUER)
                                          + b"\x04\x01\xf9\x3c\x00\x61x"),
    "a CWT with both names of exp": cose({1: ISSUER, 4: 1, "exp": LATER}),
    "a CWT with exp beyond 64 bits": cose({1: ISSUER, 4: 2**64}),
    "a CWT with exp below 0": cose({1: ISSUER, 4: -1}),
    # -1 - n overflows in C.
    "a CWT with exp just below 63 bits": cose({1: ISSUER, 4: -(2**63) - 1}),
    "a CWT with exp of the least number": cose({1: ISSUER, 4: -(2**64)}),
    "a CWT with exp below 64 bits": cose({1: ISSUER, 4: -(2**64) - 1}),
    "a CWT with exp again in a longer form": cose(b"\xa3\x01" + cbor2.dumps(ISSUER)
                                                  + b"\x04\x01\x18\x04\x1a\x7f\xff\xff\xff"),
    "a CWT with exp again as a long number": cose(b"\xa3\x01" + cbor2.dumps(ISSUER)
                                                  + b"\x04\x01\xc2\x41\x04\x1a\x7f\xff\xff\xff"),
    "a CWT with iss again as true": cose(b"\xa3\x01" + cbor2.dumps(ISSUER)
                                         + b"\x04\x01\xf5\x61x"),
    "a CWT to be shared": cose(cbor2.CBORTag(28, {1: ISSUER, 4: 1})),
    "a CWT with a shared iss": cose({1: cbor2.CBORTag(28, ISSUER), 4: 1}),
    "a CWT with NUL in iss": cose({1: f"{ISSUER}\0", 4: 1}),
    "a CWT in a list": cose([{1: ISSUER, 4: 1}]),
    "a CWT in a tag": cose(cbor2.CBORTag(61, {1: ISSUER, 4: 1})),
    "a CWT described by itself": cose(cbor2.CBORTag(55799, {1: ISSUER, 4: 1})),
    "a CWT in bytes": cose(cbor2.dumps(cbor2.dumps({1: ISSUER, 4: 1}))),
    "a CWT and more": cose(cbor2.dumps({1: ISSUER, 4: 1}) + b"\x00"),
    "a CWT cut short": cose(cbor2.dumps({1: ISSUER, 4: 1})[:-1]),
    "a CWT of no end": cose(b"\xbf\x01\x61x\xff"),
    "an iss in parts": cose(b"\xa2\x01\x7f\x61x\xff\x04\x01"),
    "an iss that is not UTF-8": cose(b"\xa2\x01\x61\xff\x04\x01"),
    "JSON in COSE": cose(f'{{"iss":"{ISSUER}","exp":1}}'.encode()),
    "claims in the protected header": cose(protected=header(_15={1: EVIL})),
    "claims in the unprotected header": cose(unprotected=header(_15={1: EVIL})),
    "typ of COSE with NUL": cose(typ="dc+sd-jwt\0"),
    "typ of COSE as a media type": cose(typ="application/dc+sd-jwt"),
    "typ of COSE in capitals": cose(typ="DC+SD-JWT"),
    "typ unprotected": cose(typ=None, unprotected=header(_16="dc+sd-jwt")),
    "typ as a number": cose(typ=16),
    "typ as a content type": cose(typ=None, content_type="dc+sd-jwt"),
    "a content type besides": cose({1: EVIL, 4: 1}, content_type="application/cwt"),
    "the claims as external data": cose(b"", external_aad=b64(cbor2.dumps({1: ISSUER, 4: 1}))),
    "COSE detached": cose({1: EVIL, 4: 1}, detached=True),
    "COSE without a tag": cose({1: EVIL, 4: 1}, tagged=False),
    # Other calls
    "a digest": ("/sign", {"data": b64(bytes(32)), "prehashed": True}),
    "the bytes of a COSE message": ("/sign", {"data": b64(cbor2.dumps(["Signature1", b"", b"",
                                                                       b""]))}),
    "an empty attestation": ("/key-attestation", {"keys": ["SELF"], "expires_in": 60}),
    "an attestation with a nonce of JSON": ("/key-attestation", {"keys": ["SELF"],
                                                                "nonce": f'","iss":"{ISSUER}'}),
    "a certificate of a client": ("/certificate", {"profile": "client", "subject": "CN=a",
                                                   "days": 1, "key": "SELF"}),
    "a revocation list": ("/crl", {"number": 1, "days": 1, "revoked": []}),
}  # fmt: skip


@pytest.fixture
async def kid(generate):
    return (await generate("p256", rules=RULES))["kid"]


@pytest.mark.parametrize(("path", "body"), [jws(), jws(serialization="general"), cose()])
async def test_the_call_that_the_ways_change_is_allowed(client, kid, path, body):
    assert (await client.post(path, json={"kid": kid, **body})).status == 200


@pytest.mark.parametrize("name", REFUSED)
async def test_a_way_around_is_refused(client, kid, name):
    path, body = REFUSED[name]
    sent = {key: value for key, value in body.items() if value is not None}
    if sent.get("keys"):
        sent["keys"] = [kid]
    if "key" in sent:
        sent["key"] = kid
    assert await slug_of(await client.post(path, json={"kid": kid, **sent})) == "rule-violated"


INVALID = {
    "crit": jws(header={**TYPED, "crit": ["b64"]}),
    "b64": jws(header={**TYPED, "b64": True}),
    "alg none": jws(alg="none"),
    "alg of a secret": jws(alg="HS256"),
    "alg of another curve": jws(alg="ES384"),
    "an unprotected header": jws(unprotected={"typ": "JWT"}),
    "several signatures": jws(signatures=[{"protected": TYPED}]),
    "rules of the call": jws(rules={"raw": True}),
    "crit in COSE": cose(protected=header(_2=[16])),
    "typ as bytes": ("/cose/sign", {"payload": "oA==", "protected": header(_16=b"dc+sd-jwt")}),
    "typ in a tag": ("/cose/sign", {"payload": "oA==", "protected": header(
        _16=cbor2.CBORTag(0, "dc+sd-jwt"))}),
    "typ twice in one header": ("/cose/sign", {"payload": "oA==", "protected": b64(
        b"\xa2\x10" + cbor2.dumps("dc+sd-jwt") + b"\x18\x10" + cbor2.dumps("JWT"))}),
    "typ in a header of no end": ("/cose/sign", {"payload": "oA==", "protected": b64(
        b"\xbf\x10" + cbor2.dumps("dc+sd-jwt") + b"\xff")}),
    "typ twice": cose(protected=header(_16="JWT")),
    "typ in both headers": cose(unprotected=header(_16="JWT")),
    "alg twice": cose(protected=header(_1=-8)),
    "a certificate of another key": ("/certificate", {"profile": "self-signed", "subject": "CN=a",
                                                      "days": 1, "key": "OTHER"}),
}  # fmt: skip


@pytest.mark.parametrize("name", INVALID)
async def test_a_way_around_is_not_valid(client, kid, generate, name):
    path, body = INVALID[name]
    if "key" in body:
        body = {**body, "key": (await generate("p256"))["kid"]}
    answer = await client.post(path, json={"kid": kid, **body})
    assert answer.status == 422, await answer.text()


FAULTY = [
    None,
    True,
    0,
    "",
    "SD-JWT-VC",
    "sd\u2010jwt\u2010vc",
    [RULES],
    {"raw": None},
    {"raw": 0},
    {"raw": True, "jws": JWS},
    {"algs": None},
    {"algs": []},
    {"algs": "ES256"},
    {"algs": [""]},
    {"algs": ["ES256", 1]},
    {"jws": None},
    {"jws": []},
    {"jws": {**JWS, "typ": None}},
    {"jws": {**JWS, "typ": []}},
    {"jws": {**JWS, "typ": "dc+sd-jwt"}},
    {"jws": {**JWS, "claims": None}},
    {"jws": {**JWS, "claims": {"iss": []}}},
    {"jws": {**JWS, "claims": {"iss": ISSUER}}},
    {"jws": {**JWS, "claims": [["iss", [ISSUER]]]}},
    # If a payload has both names, a program in Go reads the second as the first.
    {"jws": {**JWS, "claims": {"iss": [ISSUER], "ISS": [EVIL]}}},
    {"jws": {**JWS, "claims": {"iss": [ISSUER], "\uff49ss": [EVIL]}}},
    {"jws": {**JWS, "claims": {"iss": [ISSUER], "EXP": ["x"]}}},
    {"jws": {**JWS, "max_lifetime": 0}},
    {"jws": {**JWS, "max_lifetime": -1}},
    {"jws": {**JWS, "max_lifetime": True}},
    {"jws": {**JWS, "max_lifetime": 3600.0}},
    {"jws": {**JWS, "max_lifetime": 2**31}},
    {"jws": JWS, "per_minute": 0},
    {"jws": JWS, "per_minute": -1},
    {"jws": JWS, "per_day": 10**9 + 1},
    {"jws": JWS, "per_day": "1"},
]
LOOSER = [
    {},
    {"jws": {}},
    {"jws": {**JWS, "typ": ["dc+sd-jwt", "dc+sd-jwt "]}},
    {"jws": {**JWS, "typ": ["DC+SD-JWT"]}},
    {"jws": {**JWS, "claims": {}}},
    {"jws": {**JWS, "claims": {"iss": [f"{ISSUER}/"]}}},
    {"jws": {**JWS, "claims": {"iss ": [ISSUER]}}},
    {"jws": {"typ": ["dc+sd-jwt"], "claims": {"iss": [ISSUER]}}},
    {"jws": {"typ": ["dc+sd-jwt"], "claims": {"iss": [ISSUER]}}, "cose": False},
    "status-list",
]


@pytest.mark.parametrize("rules", FAULTY, ids=str)
async def test_faulty_rules_replace_none(client, kid, get, rules):
    answer = await client.patch(f"/key/{kid}", json={"rules": rules})
    assert await slug_of(answer) == "validation-failed"
    assert (await get(f"/key/{kid}"))["rules"] == RULES


@pytest.mark.parametrize("rules", LOOSER, ids=str)
async def test_looser_rules_replace_none(client, kid, get, rules):
    answer = await client.patch(f"/key/{kid}", json={"rules": rules})
    assert await slug_of(answer) == "rules-loosened"
    assert (await get(f"/key/{kid}"))["rules"] == RULES


async def test_a_name_of_a_rule_in_another_normal_form_is_refused(client, generate):
    name, other = "caf\u00e9", "cafe\u0301"
    kid = (await generate("p256", rules={"jws": {"claims": {name: ["x"]}}}))["kid"]

    async def sign(*members):
        text = ",".join(f'"{member}":"{value}"' for member, value in members)
        body = {"kid": kid, "payload": b64(f"{{{text}}}".encode())}
        return await slug_of(await client.post("/jws/sign", json=body))

    assert await sign((name, "x")) == ""
    for allowed in ([], [(name, "x")]):
        for again in (other, name.upper()):
            assert await sign(*allowed, (again, "y")) == "rule-violated"


async def test_rules_that_stand_twice_in_a_body_are_not_looser(client, kid, get):
    tight, loose = json.dumps({"rules": RULES}), '{"rules": {"raw": true}}'
    head = {"Content-Type": "application/json"}
    for first, second in ((tight, loose), (loose, tight)):
        body = f"{first[:-1]},{second[1:]}"
        await client.patch(f"/key/{kid}", data=body, headers=head)
        assert (await get(f"/key/{kid}"))["rules"] == RULES


async def test_of_two_changes_at_once_the_second_one_is_no_looser(client, generate, get):
    """Each is tighter than the rules before, and neither is tighter than the other one."""
    kid = (await generate("p256", rules={"raw": False}))["kid"]
    changes = [{"raw": False, "per_day": 5}, {"raw": False, "per_minute": 5}]
    answers = await asyncio.gather(
        *(client.patch(f"/key/{kid}", json={"rules": rules}) for rules in changes)
    )
    slugs = [await slug_of(answer) for answer in answers]
    assert sorted(slugs) == ["", "rules-loosened"]
    assert (await get(f"/key/{kid}"))["rules"] == changes[slugs.index("")]


async def test_a_rotation_and_a_change_at_once_lose_no_rules(client, generate, get):
    kid = (await generate("p256", alias="a"))["kid"]
    patched, rotated = await asyncio.gather(
        client.patch(f"/key/{kid}", json={"rules": {"raw": False}}),
        client.post(f"/key/{kid}/rotate"),
    )
    new = await rotated.json()
    assert (patched.status, rotated.status) == (200, 200)
    assert (await get(f"/key/{kid}"))["rules"] == {"raw": False}
    # The rotation came before the change, or took over its rules.
    assert new.get("rules") in (None, {"raw": False})


async def test_another_algorithm_does_not_import_the_same_key(client, generate, get):
    """A P-256 scalar makes another key on each curve, and one key pair has one kid."""
    made = await generate("p256", exportable=True, rules=RULES)
    jwk = (await get(f"/key/{made['kid']}/export"))["jwk"]
    bodies = [
        {"jwk": {**jwk, "alg": "ES256", "use": "sig", "kid": "other"}},
        {"jwk": {**jwk, "d": jwk["d"] + "="}},
        {"jwk": {**jwk, "rules": None}, "rules": {}},
        {"alg": "p256", "secret": jwk["d"], "operations": ["sign"]},
        {"alg": "p384", "jwk": jwk},
        {"alg": "p256", "jwk": jwk, "labels": {"rules": ""}},
    ]
    for body in bodies:
        await client.post("/key/import", json=body)
        same = [key for key in await get("/keys") if key["jwk"]["x"] == jwk["x"]]
        assert [key["rules"] for key in same] == [RULES]


async def test_a_batch_of_refused_calls_signs_none(client, generate):
    kid = (await generate("p256", rules={"algs": ["ES256"], "per_minute": 3}))["kid"]
    items = [{"data": ""}] * 3
    assert (await client.post("/sign", json={"kid": kid, "data": ""})).status == 200
    answer = await client.post("/sign/batch", json={"kid": kid, "items": items})
    assert await slug_of(answer) == "over-rate"
    # A batch that does not fit leaves the rate as it was.
    answer = await client.post("/sign/batch", json={"kid": kid, "items": items[1:]})
    assert answer.status == 200


async def test_refused_payloads_are_bounded_too(client, generate):
    """A refused payload takes time to read, so it counts for the rate."""
    kid = (await generate("p256", rules={"jws": JWS, "per_minute": 2}))["kid"]
    path, refused = REFUSED["zip of another case"]
    slugs = [await slug_of(await client.post(path, json={"kid": kid, **refused})) for _ in range(3)]
    assert slugs == ["rule-violated", "rule-violated", "over-rate"]


async def test_a_tighter_rate_counts_the_uses_before(client, generate):
    kid = (await generate("p256", rules={"per_minute": 3, "per_day": 9}))["kid"]
    body = {"kid": kid, "data": ""}
    assert (await client.post("/sign", json=body)).status == 200
    change = {"rules": {"per_minute": 1, "per_day": 9}}
    assert (await client.patch(f"/key/{kid}", json=change)).status == 200
    assert await slug_of(await client.post("/sign", json=body)) == "over-rate"


async def test_an_alias_that_moves_during_calls_gives_no_key_the_rules_of_another(client, generate):
    free, ruled = (await generate("p256", alias="a"), await generate("p256", rules={"raw": False}))
    signed = []

    async def move():
        for turn in range(30):
            path = f"/key/{(ruled, free)[turn % 2]['kid']}/associate"
            assert (await client.post(path, json={"alias": "a"})).status == 200

    async def sign():
        while not moving.done():
            async with client.post("/sign", json={"alias": "a", "data": ""}) as answer:
                signed.append((answer.status, (await answer.json()).get("kid")))

    moving = asyncio.create_task(move())
    await asyncio.gather(moving, sign(), sign())
    assert set(signed) == {(200, free["kid"]), (403, None)}


async def test_a_next_key_is_no_way_around(client, kid, post):
    """Not before the rotation, nor after it, even if the rules are tightened in between."""
    following = (await post(f"/key/{kid}/next", {}))["kid"]
    for path, body in (jws(), cose(), ("/sign", {"data": "aGk"})):
        answer = await client.post(path, json={"kid": following, **body})
        assert await slug_of(answer) == "key-not-usable"
    for rules in (RULES, {"raw": True}):
        answer = await client.patch(f"/key/{following}", json={"rules": rules})
        assert await slug_of(answer) == "key-not-usable"
    jwk = (await post(f"/key/{kid}/next", {}))["jwk"]
    for given, slug in (
        ({"rules": {"raw": True}}, "key-exists"),
        ({"alias": "mine"}, "key-not-usable"),
    ):
        answer = await client.post("/key/import", json={"jwk": jwk, "if_exists": "keep", **given})
        assert await slug_of(answer) == slug
    answer = await client.post(f"/key/{following}/associate", json={"alias": "mine"})
    assert await slug_of(answer) == "key-not-usable"
    tighter = {**RULES, "jws": {**JWS, "max_lifetime": 1800}}
    assert (await client.patch(f"/key/{kid}", json={"rules": tighter})).status == 200
    assert (await post(f"/key/{kid}/rotate", {}))["rules"] == tighter
    path, body = jws(claims(exp=str(int(time.time()) + 3000)))
    assert await slug_of(await client.post(path, json={"kid": following, **body})) == (
        "rule-violated"
    )
    path, body = jws()
    assert (await client.post(path, json={"kid": following, **body})).status == 200
