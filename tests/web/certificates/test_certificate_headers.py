"""The certificate of a key in the headers of its JWS and COSE messages, and no other one."""

import asyncio
import base64
import hashlib
import json

import cbor2
import pytest
from base64url import b64, part, raw
from cryptography import x509
from issued_certificates import MIDDLE, ROOT, der, pem, public_key, x5t

pytestmark = pytest.mark.shared_service

PAYLOAD = b"a credential"
X5CHAIN, X5T = 33, 34
# COSE numbers of hashes (RFC 9054 section 3.1).
HASHES = {-16: hashlib.sha256, -43: hashlib.sha384, -44: hashlib.sha512}


@pytest.fixture
def certified(client, generate):
    """Make a key with a certificate below MIDDLE; give the key and its certificate."""

    async def make(**options):
        key = await generate("p256", **options)
        leaf = MIDDLE.issue(public_key(key))
        chain = pem(leaf, MIDDLE.certificate, ROOT.certificate)
        path = f"/key/{key['kid']}/certificates"
        async with client.put(path, json={"certificates": chain}) as response:
            assert response.status == 200
        return key, leaf

    return make


def base64_of(*certificates):
    return [base64.b64encode(der(each)).decode() for each in certificates]


def header_of(jws):
    return json.loads(raw(jws.partition(".")[0]))


def headers_of(cose):
    protected, unprotected, *_ = cbor2.loads(raw(cose)[1:])
    return cbor2.loads(protected), unprotected


def thumbprint(certificate, alg=-16):
    return [alg, HASHES[alg](der(certificate)).digest()]


def both(certificate):
    """A JWS header as a library makes it from the certificate of a key."""
    return {"x5c": base64_of(certificate, MIDDLE.certificate), "x5t#S256": x5t(certificate)}


def cbor(value):
    return b64(cbor2.dumps(value))


@pytest.mark.parametrize(
    ("wanted", "members"),
    [
        ("none", set()),
        ("x5c", {"x5c"}),
        (["x5t#S256"], {"x5t#S256"}),
        (["x5c", "x5t#S256"], {"x5c", "x5t#S256"}),
        (["x5t#S256", "x5c"], {"x5c", "x5t#S256"}),
    ],
)
async def test_a_jws_has_the_members_of_a_list(certified, post, wanted, members):
    key, leaf = await certified()
    body = {"kid": key["kid"], "payload": b64(PAYLOAD), "kid_header": "none"}
    jws = (await post("/jws/sign", {**body, "certificate_header": wanted}))["jws"]
    own = both(leaf)
    assert header_of(jws) == {"alg": "ES256"} | {name: own[name] for name in members}
    assert (await post("/jws/verify", {"kid": key["kid"], "jws": jws}))["valid"]


async def test_a_key_attestation_has_the_members_of_a_list(certified, post, generate):
    key, leaf = await certified()
    body = {"kid": key["kid"], "keys": [(await generate("p256"))["kid"]]}
    for wanted in (["x5c", "x5t#S256"], ["x5c"], ["x5t#S256"]):
        header = header_of(
            (await post("/key-attestation", body | {"certificate_header": wanted}))["jwt"]
        )
        own = both(leaf)
        assert {name: header.get(name) for name in own} == {
            name: own[name] if name in wanted else None for name in own
        }
        # A chain or a kid (OpenID4VCI 1.0, appendix F.1).
        assert ("kid" in header) is ("x5c" not in wanted)


@pytest.mark.parametrize(
    ("wanted", "protected", "unprotected"),
    [
        (["x5chain", "x5t"], (), (X5CHAIN, X5T)),
        ("x5chain-protected", (X5CHAIN,), ()),
        ("x5t-protected", (X5T,), ()),
        (["x5chain-protected", "x5t-protected"], (X5CHAIN, X5T), ()),
        (["x5t-protected", "x5chain"], (X5T,), (X5CHAIN,)),
        (["x5chain-protected", "x5t"], (X5CHAIN,), (X5T,)),
    ],
)
async def test_a_cose_message_has_the_parameters_of_a_list(
    certified, post, wanted, protected, unprotected
):
    key, leaf = await certified()
    own = {X5CHAIN: [der(leaf), der(MIDDLE.certificate)], X5T: thumbprint(leaf)}
    body = {"kid": key["kid"], "payload": b64(PAYLOAD), "kid_header": "none"}
    body |= {"certificate_header": wanted, "typ": "application/example"}
    cose = (await post("/cose/sign", {**body, "protected": cbor({15: {6: 1}})}))["cose"]
    signed, rest = headers_of(cose)
    assert signed == {1: -7, 15: {6: 1}, 16: "application/example"} | {
        label: own[label] for label in protected
    }
    assert rest == {label: own[label] for label in unprotected}
    # In the order of RFC 8949 section 4.2.1.
    for labels in (signed, rest):
        assert list(labels) == sorted(labels, key=cbor2.dumps)
    assert (await post("/cose/verify", {"kid": key["kid"], "cose": cose}))["valid"]


@pytest.mark.parametrize(
    "wanted",
    [[], ["none"], ["x5c", "x5c"], ["x5c", "x5u"], ["x5c", 1], [["x5c"]], "x5u", 1, None, {}],
)
async def test_another_list_of_members_is_refused(certified, refuses, wanted):
    body = {"kid": (await certified())[0]["kid"], "payload": "", "certificate_header": wanted}
    found = await refuses("/jws/sign", body, 422, "validation-failed")
    assert [each["pointer"] for each in found["errors"]] == ["#/certificate_header"]


@pytest.mark.parametrize(
    "wanted",
    [
        [],
        ["x5t", "x5t"],
        ["x5t", "x5t-protected"],
        ["x5chain-protected", "x5t", "x5chain"],
        ["x5c"],
        "x5t-unprotected",
    ],
)
async def test_another_list_of_parameters_is_refused(certified, refuses, wanted):
    body = {"kid": (await certified())[0]["kid"], "payload": "", "certificate_header": wanted}
    found = await refuses("/cose/sign", body, 422, "validation-failed")
    assert [each["pointer"] for each in found["errors"]] == ["#/certificate_header"]


async def test_a_label_is_set_by_the_call_or_by_the_service(certified, refuses):
    key, leaf = await certified()
    body = {"kid": key["kid"], "payload": ""}
    for wanted in ("x5t", "x5t-protected"):
        for place in ("protected", "unprotected"):
            own = {place: cbor({X5T: thumbprint(leaf)}), "certificate_header": wanted}
            found = await refuses("/cose/sign", body | own, 422, "invalid-cose")
            assert found["errors"][0]["pointer"] == f"#/{place}"
    twice = {"header": both(leaf), "certificate_header": ["x5c", "x5t#S256"]}
    await refuses("/jws/sign", body | twice, 422, "validation-failed")


def given(pointer, header):
    """The path and the body with a caller's header at the place that a problem names."""
    match pointer:
        case "#/header":
            return "/jws/sign", {"payload": b64(PAYLOAD), "header": header}
        case "#/signing_input":
            return "/jws/sign", {"signing_input": f"{part({'alg': 'ES256', **header})}.e30"}
        case "#/sig_structure":
            protected = cbor2.dumps({1: -7, **header})
            return "/cose/sign", {"sig_structure": cbor(["Signature1", protected, b"", PAYLOAD])}
        case _:
            return "/cose/sign", {"payload": b64(PAYLOAD), pointer[2:]: cbor(header)}


OF_JWS = ("#/header", "#/signing_input")
OF_COSE = ("#/protected", "#/unprotected", "#/sig_structure")


@pytest.mark.parametrize("pointer", OF_JWS)
async def test_a_jws_header_with_another_certificate_is_refused(
    certified, post, refuses, generate, pointer
):
    key, leaf = await certified()
    _, other = await certified()
    own, others = both(leaf), both(other)
    for header in (
        own,
        {"x5c": own["x5c"]},
        {"x5c": own["x5c"][:1]},
        {"x5t#S256": own["x5t#S256"]},
        {"x5u": "https://issuer.example/chain", "iat": 1},
    ):
        path, body = given(pointer, header)
        await post(path, body | {"kid": key["kid"]})
    for header in (
        others,
        own | {"x5c": others["x5c"]},
        own | {"x5t#S256": others["x5t#S256"]},
        {"x5c": []},
        {"x5c": own["x5c"][::-1]},
        {"x5c": [own["x5c"][0] + "\n"]},
        {"x5t#S256": ""},
        {"x5t#S256": own["x5t#S256"] + "="},
    ):
        path, body = given(pointer, header)
        found = await refuses(path, body | {"kid": key["kid"]}, 422, "validation-failed")
        assert [each["pointer"] for each in found["errors"]] == [pointer]
    # The service may not know the certificate of a key.
    path, body = given(pointer, others)
    await post(path, body | {"kid": (await generate("p256"))["kid"]})


@pytest.mark.parametrize("pointer", OF_COSE)
async def test_a_cose_header_with_another_certificate_is_refused(
    certified, post, refuses, generate, pointer
):
    key, leaf = await certified()
    _, other = await certified()
    chain = [der(leaf), der(MIDDLE.certificate)]
    for header in (
        {X5CHAIN: der(leaf)},
        {X5CHAIN: chain, X5T: thumbprint(leaf)},
        *({X5T: thumbprint(leaf, alg)} for alg in HASHES),
        {32: der(other), 35: cbor2.CBORTag(32, "https://issuer.example/chain")},
    ):
        path, body = given(pointer, header)
        await post(path, body | {"kid": key["kid"]})
    for header in (
        {X5CHAIN: der(other)},
        {X5CHAIN: chain[::-1]},
        {X5CHAIN: []},
        {X5CHAIN: [b64(der(leaf))]},
        {X5CHAIN: 1},
        {X5CHAIN: der(leaf), X5T: thumbprint(other)},
        {X5CHAIN: der(other), X5T: thumbprint(leaf)},
        *({X5T: thumbprint(other, alg)} for alg in HASHES),
        {X5T: [-16, thumbprint(leaf, -43)[1]]},
        {X5T: [-15, thumbprint(leaf)[1][:8]]},
        {X5T: ["SHA-256", thumbprint(leaf)[1]]},
        {X5T: thumbprint(leaf)[1]},
        {X5T: [*thumbprint(leaf), 0]},
    ):
        path, body = given(pointer, header)
        found = await refuses(path, body | {"kid": key["kid"]}, 422, "validation-failed")
        assert [each["pointer"] for each in found["errors"]] == [pointer]
    path, body = given(pointer, {X5CHAIN: der(other), X5T: [-15, b"12345678"]})
    await post(path, body | {"kid": (await generate("p256"))["kid"]})


@pytest.mark.parametrize("pointer", [*OF_JWS, *OF_COSE])
async def test_a_header_from_before_the_alias_moved_is_refused(
    client, certified, post, refuses, pointer
):
    """As in docs/mdoc.md, the alias moves to the next signer once that is ready."""
    _, old = await certified(alias="signer")
    next_key, new = await certified()
    header = {X5T: thumbprint(old)} if pointer in OF_COSE else {"x5t#S256": x5t(old)}
    path, body = given(pointer, header)
    signed = body | {"alias": "signer"}
    await post(path, signed)
    moved = await client.post(f"/key/{next_key['kid']}/associate", json={"alias": "signer"})
    assert moved.status == 200
    found = await refuses(path, signed, 422, "validation-failed")
    assert [each["pointer"] for each in found["errors"]] == [pointer]
    if pointer in ("#/header", "#/protected", "#/unprotected"):
        # The service would add the new chain beside the old thumbprint.
        chain = "x5c" if pointer in OF_JWS else "x5chain"
        wanted = signed | {"certificate_header": chain}
        await refuses(path, wanted, 422, "validation-failed")
    header = {X5T: thumbprint(new)} if pointer in OF_COSE else {"x5t#S256": x5t(new)}
    path, body = given(pointer, header)
    await post(path, body | {"alias": "signer"})


async def test_a_list_is_of_the_key_that_signs_while_the_alias_moves(client, certified, post):
    made = [await certified(alias="signer") for _ in range(2)]
    jws = {"alias": "signer", "payload": b64(PAYLOAD), "certificate_header": ["x5c", "x5t#S256"]}
    cose = jws | {"certificate_header": ["x5chain", "x5t-protected"]}

    async def sign(path, body, name):
        found = []

        async def move():
            for turn in range(20):
                there = f"/key/{made[turn % 2][0]['kid']}/associate"
                async with client.post(there, json={"alias": "signer"}) as response:
                    assert response.status == 200
                found.append(await post(path, body))

        moving = asyncio.create_task(move())
        while not moving.done():
            found += await asyncio.gather(*(post(path, body) for _ in range(4)))
        await moving
        return [each[name] for each in found]

    tokens = await sign("/jws/sign", jws, "jws")
    messages = await sign("/cose/sign", cose, "cose")
    signers = set()
    for token in tokens:
        header = header_of(token)
        leaf = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0]))
        [kid] = [key["kid"] for key, own in made if own == leaf]
        signers.add(kid)
        assert header["x5t#S256"] == x5t(leaf)
        assert (await post("/jws/verify", {"kid": kid, "jws": token}))["valid"]
    for message in messages:
        protected, unprotected = headers_of(message)
        leaf = x509.load_der_x509_certificate(unprotected[X5CHAIN][0])
        [kid] = [key["kid"] for key, own in made if own == leaf]
        assert protected[X5T] == thumbprint(leaf)
        assert (await post("/cose/verify", {"kid": kid, "cose": message}))["valid"]
    assert len(signers) == 2
