"""Ways around the rules of a key: none signs what the rules refuse."""

import json
import time

import cbor2
import pytest
from base64url import b64, raw
from problems import slug_of

pytestmark = pytest.mark.shared_service

ISSUER = "https://issuer.example"
EVIL = "https://evil.example"
RULES = {
    "raw": False,
    "jws": {"typ": ["dc+sd-jwt"], "claims": {"iss": [ISSUER]}, "max_lifetime": 3600},
    "cose": True,
}
HEADER = {"typ": "dc+sd-jwt"}
LATER = 10**10


def text(exp=None):
    """Allowed claims as JSON, without the closing brace."""
    return f'{{"iss":"{ISSUER}","exp":{int(time.time()) + 60 if exp is None else exp}'


# Payloads that parsers may read in several ways, or that are no JSON object.
PAYLOADS = {
    "doubled": f'{text()},"iss":"{EVIL}"}}',
    "doubled before": f'{{"iss":"{EVIL}",{text()[1:]}}}',
    "doubled with the same value": f'{text()},"iss":"{ISSUER}"}}',
    "doubled by an escape": f'{text()},"\\u0069ss":"{EVIL}"}}',
    "doubled exp": f'{text()},"exp":{LATER}}}',
    "doubled deep": f'{text()},"a":[{{"b":{{"c":1,"c":2}}}}]}}',
    "doubled empty name": f'{text()},"":1,"":2}}',
    "other case": f'{text()},"ISS":"{EVIL}"}}',
    "other width": f'{text()},"ｉss":"{EVIL}"}}',
    "dotless i": f'{text()},"ıss":"{EVIL}"}}',
    "other case of exp": f'{text()},"Exp":{LATER}}}',
    "a letter that folds to s": f'{text()},"i\u017fs":"{EVIL}"}}',
    "nan": f'{text()},"a":NaN}}',
    "infinity": f'{text()},"a":Infinity}}',
    "minus infinity": f'{text()},"a":[-Infinity]}}',
    "infinite": f'{text()},"a":1e400}}',
    "an infinite exp": f'{text("1e999")}}}',
    "a huge integer": f'{text()},"a":9007199254740993}}',
    "a huger integer": f'{text()},"a":{"9" * 40}}}',
    "a huge negative integer": f'{text()},"a":[-9223372036854775808]}}',
    "thousands of digits": f'{text()},"a":{"9" * 5000}}}',
    "exp as a fraction": f'{text("1.0")}}}',
    "exp with an exponent": f'{text("1e3")}}}',
    "exp beyond 64 bits": f'{text("18446744073709551617")}}}',
    "exp as a text": text('"1"') + "}",
    "exp as null": f'{text("null")}}}',
    "exp as a boolean": f'{text("false")}}}',
    "no exp": f'{{"iss":"{ISSUER}"}}',
    "exp in a nested object": f'{{"iss":"{ISSUER}","vc":{{"exp":1}}}}',
    "iss in a nested object": f'{{"vc":{{"iss":"{ISSUER}"}},"exp":1}}',
    "iss as a list": f'{{"iss":["{ISSUER}"],"exp":1}}',
    "iss as a list of two": f'{{"iss":["{ISSUER}","{EVIL}"],"exp":1}}',
    "iss with a blank": f'{{"iss":"{ISSUER} ","exp":1}}',
    "iss with NUL": f'{{"iss":"{ISSUER}\\u0000","exp":1}}',
    "iss in other case": f'{{"iss":"{ISSUER.upper()}","exp":1}}',
    "NUL before a name": f'{text()},"\\u0000iss":"{EVIL}"}}',
    "NUL in a name": f'{text()},"i\\u0000ss":"{EVIL}"}}',
    "NUL in a name and after it": f'{text()},"e\\u0000xp\\u0000":{LATER}}}',
    "the name of iss with NUL": f'{{"iss\\u0000":"{ISSUER}","exp":1}}',
    "no text": "",
    "blank": " ",
    "null": "null",
    "a text": '"iss"',
    "a number": "1",
    "a list": f"[{text()}}}]",
    "two objects": f"{text()}}}{text()}}}",
    "more after the object": f"{text()}}}x",
    "NUL after the object": f"{text()}}}\x00",
    "a comment": f"{text()}/* */}}",
    "a comma at the end": f"{text()},}}",
    "single quotes": text().replace('"', "'") + "}",
    "no quotes": f'{{iss:"{ISSUER}","exp":1}}',
    "a control character": f'{text()},"a":"\x01"}}',
    "a line feed in a text": f'{text()},"a":"\n"}}',
    "a leading zero": f'{text("01")}}}',
    "a plus": f'{text("+1")}}}',
    "a wrong escape": f'{text()},"a":"\\x41"}}',
    "half a surrogate pair": f'{text()},"a":"\\ud800"}}',
    "half a surrogate pair in a name": f'{text()},"\\udc00":1}}',
    "a byte order mark": f"\ufeff{text()}}}",
    "not utf-8": f'{text()},"a":"'.encode() + b'\xff"}',
    "overlong utf-8": f'{text()},"a":"'.encode() + b'\xc0\xa2"}',
    "a surrogate in utf-8": f'{text()},"a":"'.encode() + b'\xed\xa0\x80"}',
    "utf-16": f"{text()}}}".encode("utf-16"),
    "utf-16 without a mark": f"{text()}}}".encode("utf-16-le"),
    "utf-32": f"{text()}}}".encode("utf-32-be"),
    "base64url of the claims": b64(f"{text()}}}".encode()),
    "a jws of the claims": f"e30.{b64(text().encode())}.",
    "deep": f'{text()},"a":{"[" * 900}{"]" * 900}}}',
    "deeper": f'{text()},"a":{"[" * 100_000}{"]" * 100_000}}}',
    "deep objects": text() + ',"a":' + '{"a":' * 500 + "1" + "}" * 501,
    "cbor": cbor2.dumps({1: ISSUER, 4: 1}),
}  # fmt: skip


@pytest.fixture
async def kid(generate):
    return (await generate("p256", rules=RULES, alias="issuer"))["kid"]


@pytest.mark.parametrize("form", ["compact", "general"])
@pytest.mark.parametrize("name", PAYLOADS)
async def test_no_payload_that_verifiers_may_read_otherwise_is_signed(client, kid, name, form):
    payload = PAYLOADS[name]
    data = payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else payload
    body = {"kid": kid, "payload": b64(data), "header": HEADER, "serialization": form}
    assert await slug_of(await client.post("/jws/sign", json=body)) == "rule-violated"


HEADERS = [
    {},
    {"typ": "JWT"},
    {"typ": "Dc+sd-jwt"},
    {"typ": "dc+sd-jwt "},
    {"typ": "dc+sd-jwt\u0000"},
    {"typ": "application/dc+sd-jwt"},
    {"Typ": "dc+sd-jwt"},
    {"typ": "dc+sd-jwt", "TYP": "JWT"},
    {"typ": "dc+sd-jwt", "zip": "DEF"},
    {"typ": "dc+sd-jwt", "ZIP": "DEF"},
    {"typ": "JWT", "cty": "dc+sd-jwt"},
    *(
        {"typ": "dc+sd-jwt", name: "JWT"}
        for telling in ("alg", "typ", "b64", "crit", "zip")
        for name in (telling.upper(), telling[0] + "\0" + telling[1:], telling + "\u0301")
    ),
]
# Headers that no JWS has, whatever the rules.
INVALID = [
    {"typ": ["dc+sd-jwt"]},
    {"typ": None},
    {"typ": 1},
    {"typ": "dc+sd-jwt", "b64": False},
    {"typ": "dc+sd-jwt", "crit": ["typ"]},
    {"typ": "dc+sd-jwt", "alg": "none"},
    {"typ": "dc+sd-jwt", "kid": "x"},
]


@pytest.mark.parametrize("header", HEADERS + INVALID, ids=str)
async def test_no_header_of_another_type_is_signed(client, kid, header):
    body = {"kid": kid, "payload": b64(f"{text()}}}".encode()), "header": header}
    slug = "validation-failed" if header in INVALID else "rule-violated"
    assert await slug_of(await client.post("/jws/sign", json=body)) == slug


async def test_a_header_with_the_type_twice_is_signed_as_it_was_checked(client, kid, post):
    """The service writes the header itself, with one type: the one that it checked."""
    body = json.dumps({"kid": kid, "payload": b64(f"{text()}}}".encode()), "header": HEADER})
    evil = body.replace('{"typ": "dc+sd-jwt"}', '{"typ": "dc+sd-jwt", "typ": "JWT"}')
    assert evil != body
    head = {"Content-Type": "application/json"}
    assert await slug_of(await client.post("/jws/sign", data=evil, headers=head)) in (
        "rule-violated",
        "malformed-json",
    )
    good = body.replace('{"typ": "dc+sd-jwt"}', '{"typ": "JWT", "typ": "dc+sd-jwt"}')
    async with client.post("/jws/sign", data=good, headers=head) as answer:
        if answer.status == 200:
            protected = raw((await answer.json())["jws"].split(".")[0])
            assert protected.count(b"typ") == 1
            assert json.loads(protected)["typ"] == "dc+sd-jwt"


async def test_no_other_call_signs_the_text_of_a_jws(client, kid, generate):
    """Each call that makes a signature or a code with a private key, over a text of our own."""
    header = b64(json.dumps({"alg": "ES256", "typ": "dc+sd-jwt"}).encode()).rstrip("=")
    evil = f"{header}.{b64(json.dumps({'iss': EVIL}).encode()).rstrip('=')}".encode()
    other = await generate("p256")
    calls = [
        ("/sign", {"data": b64(evil)}),
        ("/sign", {"data": b64(evil), "alg": "ES256"}),
        ("/sign", {"data": b64(bytes(32)), "prehashed": True}),
        ("/sign", {"data": b64(evil), "encoding": "der"}),
        ("/sign/batch", {"items": [{"data": b64(evil)}]}),
        ("/sign/batch", {"items": [{"data": b64(bytes(32))}], "prehashed": True}),
        ("/derive", {"peer": other["jwk"]}),
        ("/jws/sign", {"payload": b64(evil), "header": HEADER}),
        ("/cose/sign", {"payload": b64(evil)}),
        ("/cose/sign", {"payload": b64(evil), "typ": "dc+sd-jwt"}),
        ("/cose/sign", {"payload": b64(evil), "typ": "dc+sd-jwt", "external_aad": b64(evil)}),
        ("/key-attestation", {"keys": [other["kid"]]}),
        ("/certificate", {"profile": "client", "subject": "CN=a", "days": 1, "key": other["kid"]}),
    ]
    for path, body in calls:
        for by in ({"kid": kid}, {"alias": "issuer"}):
            slug = await slug_of(await client.post(path, json={**by, **body}))
            assert slug == "rule-violated", path
    assert await slug_of(await client.post("/mac", json={"kid": kid, "data": ""})) == (
        "unsupported-operation"
    )


async def test_no_secret_of_a_kem_is_given(client, generate, post):
    """The secret makes codes, like the secret of `/derive`."""
    key = await generate("mlkem768")
    sent = await post("/encapsulate", {"to": key["jwk"]})
    body = {"kid": key["kid"], "ciphertext": sent["ciphertext"]}
    assert (await client.post("/decapsulate", json=body)).status == 200
    change = {"rules": {"raw": False}}
    assert (await client.patch(f"/key/{key['kid']}", json=change)).status == 200
    assert await slug_of(await client.post("/decapsulate", json=body)) == "rule-violated"


CHANGES = [
    {"rules": {}},
    {"rules": {"raw": True}},
    {"rules": {"raw": False}},
    {"rules": {"jws": {}}},
    {"rules": {"jws": {"typ": ["dc+sd-jwt"]}}},
    {"rules": {**RULES, "jws": {**RULES["jws"], "max_lifetime": 3601}}},
    {"rules": {**RULES, "jws": {**RULES["jws"], "typ": ["dc+sd-jwt", "JWT"]}}},
    {"rules": {**RULES, "jws": {**RULES["jws"], "claims": {"iss": [ISSUER, EVIL]}}}},
    {"rules": {**RULES, "jws": {**RULES["jws"], "claims": {"iss": [EVIL]}}}},
    {"rules": {**RULES, "jws": {**RULES["jws"], "claims": {"ISS": [ISSUER]}}}},
    {"rules": "sd-jwt-vc"},
    {"rules": None},
    {"rules": []},
    {"rules": "none"},
    {"rules": {**RULES, "jws": {**RULES["jws"], "disclosures": "all"}}},
    {"rules": {"raw": False, "JWS": None}},
    {"crit": []},
    {"unknown": {}},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
async def test_no_change_loosens_the_rules(client, kid, get, change):
    slug = await slug_of(await client.patch(f"/key/{kid}", json=change))
    assert slug in ("rules-loosened", "validation-failed")
    assert (await get(f"/key/{kid}"))["rules"] == RULES


async def test_no_life_of_a_key_ends_its_rules(client, kid, post):
    """States, aliases, labels, certificates, a rotation and a cancelled deletion keep them."""
    changes = [
        ("patch", f"/key/{kid}", {"state": "disabled"}),
        ("patch", f"/key/{kid}", {"state": "enabled", "labels": {"rules": "{}"}}),
        ("post", f"/key/{kid}/associate", {"alias": "second"}),
        ("delete", f"/key/{kid}?after=7d", None),
        ("post", f"/key/{kid}/restore", None),
        ("post", f"/key/{kid}/rotate", None),
        ("patch", f"/key/{kid}", {"state": "enabled"}),
    ]
    for method, path, body in changes:
        assert (await getattr(client, method)(path, json=body)).status == 200, path
        for by in ({"kid": kid}, {"alias": "issuer"}, {"alias": "second"}):
            answer = await client.post("/sign", json={**by, "data": ""})
            assert await slug_of(answer) in (
                "rule-violated",
                "key-not-usable",
                "alias-not-found",
            )


IMPORTS = [{}, {"rules": {"raw": True}}, {"rules": {}}, {"rules": {"per_day": 9}}]


@pytest.mark.parametrize("options", IMPORTS, ids=str)
@pytest.mark.parametrize("if_exists", ["keep", "refuse"])
async def test_an_import_does_not_loosen_the_key_that_exists(
    client, get, post, generate, options, if_exists
):
    kid = (await generate("p256", exportable=True))["kid"]
    jwk = (await get(f"/key/{kid}/export"))["jwk"]
    assert (await client.patch(f"/key/{kid}", json={"rules": RULES})).status == 200
    bodies = [
        {"jwk": jwk},
        {"jwk": {**jwk, "kid": "x", "key_ops": ["sign"], "rules": {}}},
        {"jwk": {name: value for name, value in jwk.items() if name != "d"}},
        {"alg": "p256", "secret": jwk["d"]},
    ]
    for body in bodies:
        sent = {**body, **options, "if_exists": if_exists, "alias": "again"}
        await client.post("/key/import", json=sent)
        assert (await get(f"/key/{kid}"))["rules"] == RULES
        assert await slug_of(await client.post("/sign", json={"kid": kid, "data": ""})) == (
            "rule-violated"
        )


async def test_another_profile_has_no_key_of_ours(client, kid):
    await client.post("/profile", json={"name": "thief"})
    headers = {"X-Profile": "thief"}
    answer = await client.post("/sign", json={"kid": kid, "data": ""}, headers=headers)
    assert await slug_of(answer) == "key-not-found"


async def test_a_long_payload_is_read_as_strictly(client, kid):
    filler = json.dumps({f"a{n}": n for n in range(20_000)})[1:-1]
    good = f"{text()},{filler}}}"
    body = {"kid": kid, "header": HEADER}
    assert (
        await client.post("/jws/sign", json={**body, "payload": b64(good.encode())})
    ).status == 200
    evil = f'{good[:-1]},"iss":"{EVIL}"}}'
    answer = await client.post("/jws/sign", json={**body, "payload": b64(evil.encode())})
    assert await slug_of(answer) == "rule-violated"
