"""COSE messages of one signature or code (RFC 9052), and public keys as COSE_Key."""

import hashlib

import cbor2
import pytest
from algorithm_facts import FACTS, using
from base64url import b64, raw
from issued_certificates import MIDDLE, ROOT, der, pem, public_key

pytestmark = pytest.mark.shared_service

PAYLOAD = b"This is the content."
# RFC 9053 section 2, RFC 8812, RFC 9864, RFC 9964.
NUMBERS = {
    **{"ES256": -7, "ES384": -35, "ES512": -36, "ES256K": -47},
    **{"EdDSA": -8, "Ed25519": -19, "Ed448": -53},
    **{"PS256": -37, "PS384": -38, "PS512": -39, "RS256": -257, "RS384": -258, "RS512": -259},
    **{"ML-DSA-44": -48, "ML-DSA-65": -49, "ML-DSA-87": -50},
    **{"HS256": 5, "HS384": 6, "HS512": 7},
}
ALGS = using("sign", "mac")


def cbor(value):
    return b64(cbor2.dumps(value))


def parts(cose):
    """The items of a message, with its protected header parsed."""
    message = raw(cose)
    protected, *others = cbor2.loads(message[message[0] >> 5 == 6 :])  # without its tag
    return [cbor2.loads(protected), *others]


@pytest.fixture
def signed(generate, post):
    """Sign PAYLOAD as COSE with a new key; gives the names of the key, and the message."""

    async def make(key="ed25519", **body):
        by = {"kid": (await generate(key))["kid"]}
        return by, (await post("/cose/sign", {**by, "payload": b64(PAYLOAD), **body}))["cose"]

    return make


@pytest.mark.parametrize("alg", ALGS)
async def test_a_message_verifies_by_its_key_alone(post, generate, alg):
    key = await generate(alg, alias="did:example:1#k")
    cose = (await post("/cose/sign", {"kid": key["kid"], "payload": b64(PAYLOAD)}))["cose"]
    message = cbor2.loads(raw(cose))
    assert message.tag == (18 if key["jwk"] else 17)
    assert raw(cose).startswith(b"\xd2\x84" if key["jwk"] else b"\xd1\x84")
    protected, unprotected, payload, _ = parts(cose)
    assert protected == {1: NUMBERS[FACTS[alg].signing[0]]}
    assert (unprotected, payload) == ({4: key["kid"].encode()}, PAYLOAD)
    good = {
        "valid": True,
        "payload": b64(PAYLOAD),
        "protected": cbor(protected),
        "unprotected": cbor(unprotected),
    }
    ways = [{"kid": key["kid"]}, {"alias": "did:example:1#k"}]
    ways += [{"jwk": key["jwk"]}] if key["jwk"] else []
    for by in ways:
        assert await post("/cose/verify", {"cose": cose, **by}) == good
    bad = good | {"valid": False, "payload": None}
    other = (await generate(alg))["kid"]
    assert await post("/cose/verify", {"cose": cose, "kid": other}) == bad
    changed = raw(cose).replace(PAYLOAD, PAYLOAD.upper())
    assert await post("/cose/verify", {"cose": b64(changed), "kid": key["kid"]}) == bad


@pytest.mark.parametrize("alg", ALGS)
async def test_each_jose_name_has_its_number(post, signed, refuses, alg):
    for name in FACTS[alg].signing:
        by, cose = await signed(alg, alg=name)
        assert parts(cose)[0] == {1: NUMBERS[name]}
        assert (await post("/cose/verify", {**by, "cose": cose}))["valid"]
    for name in ("none", "", "ES256" if FACTS[alg].signing[0] != "ES256" else "ES384", "ESP256"):
        body = {**by, "payload": "", "alg": name}
        await refuses("/cose/sign", body, 422, "unsupported-option")


@pytest.mark.parametrize(("alg", "number"), [("p256", -9), ("p384", -51), ("p521", -52)])
async def test_numbers_that_name_the_curve_verify(post, generate, alg, number):
    kid = (await generate(alg))["kid"]
    protected = cbor2.dumps({1: number})
    message = cbor2.dumps(["Signature1", protected, b"", PAYLOAD])
    sig = raw((await post("/sign", {"kid": kid, "data": b64(message)}))["sig"])
    body = {"kid": kid, "cose": cbor([protected, {}, PAYLOAD, sig])}
    assert (await post("/cose/verify", body))["valid"]
    other = cbor2.dumps({1: -999})
    body["cose"] = cbor([other, {}, PAYLOAD, sig])
    assert not (await post("/cose/verify", body))["valid"]


async def test_the_alg_of_a_jwk_binds_it(post, generate):
    key = await generate("rsa2048")
    body = {"kid": key["kid"], "payload": "", "alg": "PS384"}
    cose = (await post("/cose/sign", body))["cose"]
    for alg, valid in (("PS384", True), ("RS256", False), ("ES256", False)):
        given = {"cose": cose, "jwk": key["jwk"] | {"alg": alg}}
        assert (await post("/cose/verify", given))["valid"] is valid


@pytest.mark.parametrize("alg", ["p256", "hs512"])
async def test_a_detached_message_verifies_with_its_payload(post, signed, refuses, alg):
    by, cose = await signed(alg, detached=True)
    assert parts(cose)[2] is None
    body = {**by, "cose": cose}
    found = await refuses("/cose/verify", body, 422, "validation-failed")
    assert found["errors"][0]["pointer"] == "#/payload"
    result = await post("/cose/verify", {**body, "payload": b64(PAYLOAD)})
    assert (result["valid"], result["payload"]) == (True, b64(PAYLOAD))
    for other in ("", b64(PAYLOAD + b"\0")):
        result = await post("/cose/verify", {**body, "payload": other})
        assert (result["valid"], result["payload"]) == (False, None)


async def test_a_payload_that_is_there_must_be_the_one_that_is_given(post, signed):
    by, cose = await signed()
    for payload, valid in ((PAYLOAD, True), (b"other", False)):
        body = {**by, "cose": cose, "payload": b64(payload)}
        assert (await post("/cose/verify", body))["valid"] is valid


async def test_no_other_payload_comes_with_a_signed_one(post, signed):
    """A caller that reads the message would take the attached one for signed."""
    by, cose = await signed()
    forged = raw(cose).replace(PAYLOAD, PAYLOAD[::-1])
    assert parts(b64(forged))[2] == PAYLOAD[::-1]
    result = await post("/cose/verify", {**by, "cose": b64(forged), "payload": b64(PAYLOAD)})
    assert (result["valid"], result["payload"]) == (False, None)


async def test_external_data_is_signed_and_left_out(post, signed):
    by, cose = await signed(external_aad=b64(b"session"))
    assert b"session" not in raw(cose)
    for aad, valid in ({"external_aad": b64(b"session")}, True), ({}, False):
        assert (await post("/cose/verify", {**by, "cose": cose, **aad}))["valid"] is valid


async def test_a_message_without_tag(post, signed, generate, refuses):
    by, cose = await signed("p256", tagged=False)
    assert raw(cose).startswith(b"\x84")
    assert (await post("/cose/verify", {**by, "cose": cose}))["valid"]
    mac = {"kid": (await generate("hs256"))["kid"]}
    for tag, key in ((17, by), (18, mac), (98, by), (61, by)):
        wrong = b64(cbor2.dumps(cbor2.CBORTag(tag, cbor2.loads(raw(cose)))))
        await refuses("/cose/verify", {**key, "cose": wrong}, 422, "invalid-cose")


async def test_the_header_parameters_of_a_caller(post, signed):
    own = {-70000: "x", 15: {1: "issuer"}, "text": [1.5, None, cbor2.CBORTag(32, "urn:x")]}
    by, cose = await signed(
        content_type="application/cbor",
        typ=60,
        protected=cbor(own),
        unprotected=cbor({33: b"certificate"}),
    )
    protected, unprotected, *_ = parts(cose)
    assert protected == {1: -8, 3: "application/cbor", 16: 60, **own}
    assert unprotected == {4: by["kid"].encode(), 33: b"certificate"}
    # In the order of RFC 8949 section 4.2.1, whatever the caller's.
    labels = [cbor2.dumps(label) for label in protected]
    assert labels == sorted(labels)
    result = await post("/cose/verify", {**by, "cose": cose})
    assert result["valid"]
    assert cbor2.loads(raw(result["protected"])) == protected
    assert cbor2.loads(raw(result["unprotected"])) == unprotected


async def test_the_values_of_a_caller_stay_as_they_are_encoded(signed):
    # A float and a length that are longer than they have to be.
    value = bytes.fromhex("fb3ff8000000000000")
    own = b"\xa1\x18\x64" + b"\x9b" + (1).to_bytes(8, "big") + value
    _, cose = await signed(protected=b64(own))
    assert cbor2.loads(raw(cose)).value[0] == b"\xa2\x01\x27" + own[1:]


async def test_the_kid_of_a_message(post, generate):
    kid = (await generate("p256", alias="did:example:1#é"))["kid"]
    named = {"alias": "did:example:1#é"}, {"kid": kid}
    for by, option, value in (
        (named[0], {}, {4: kid.encode()}),
        (named[0], {"kid_header": "kid"}, {4: kid.encode()}),
        (named[0], {"kid_header": "alias"}, {4: "did:example:1#é".encode()}),
        (named[1], {"kid_header": "alias"}, {4: kid.encode()}),
        (named[1], {"kid_header": "none"}, {}),
        (named[1], {"kid_header": "none", "protected": cbor({4: b"own"})}, {}),
    ):
        cose = (await post("/cose/sign", {**by, "payload": "", **option}))["cose"]
        assert parts(cose)[1] == value


async def test_the_certificate_of_a_key_in_its_messages(client, post, refuses, generate):
    key = await generate("p256")
    leaf = MIDDLE.issue(public_key(key))
    body = {"kid": key["kid"], "payload": "", "kid_header": "none"}
    for name in ("x5chain", "x5t"):
        with_it = body | {"certificate_header": name}
        await refuses("/cose/sign", with_it, 422, "unsupported-option")
    for chain, value in (
        ([leaf], der(leaf)),
        ([leaf, MIDDLE.certificate, ROOT.certificate], [der(leaf), der(MIDDLE.certificate)]),
    ):
        path = f"/key/{key['kid']}/certificates"
        async with client.put(path, json={"certificates": pem(*chain)}) as response:
            assert response.status == 200
        cose = (await post("/cose/sign", body | {"certificate_header": "x5chain"}))["cose"]
        assert parts(cose)[:2] == [{1: -7}, {33: value}]
        assert (await post("/cose/verify", {"kid": key["kid"], "cose": cose}))["valid"]
    cose = await post("/cose/sign", {**body, "kid_header": "kid", "certificate_header": "x5t"})
    digest = hashlib.sha256(der(leaf)).digest()
    assert parts(cose["cose"])[1] == {4: key["kid"].encode(), 34: [-16, digest]}
    own = {"certificate_header": "x5t", "unprotected": cbor({34: [-16, digest]})}
    await refuses("/cose/sign", body | own, 422, "invalid-cose")
    assert parts((await post("/cose/sign", body))["cose"])[1] == {}


@pytest.mark.parametrize("bucket", ["protected", "unprotected"])
@pytest.mark.parametrize(("label", "value"), [(1, -8), (2, [100]), (4, b"x")])
async def test_labels_of_the_service_are_refused(refuses, post, generate, bucket, label, value):
    """Their values are right, so that the labels alone are wrong."""
    body = {"kid": (await generate())["kid"], "payload": ""}
    await post("/cose/sign", body | {bucket: cbor({100: 1})})
    body[bucket] = cbor({label: value, 100: 1})
    found = await refuses("/cose/sign", body, 422, "invalid-cose")
    assert found["errors"][0]["pointer"] == f"#/{bucket}"


@pytest.mark.parametrize(("length", "fits"), [(65_000, True), (65_600, False)])
async def test_a_header_map_that_is_read_has_a_bound(refuses, post, signed, length, fits):
    by, cose = await signed()
    for place, form in ((0, cbor2.dumps), (1, lambda value: value)):
        items = cbor2.loads(raw(cose)[1:])
        items[place] = form({100: bytes(length)})
        body = {**by, "cose": cbor(items)}
        if fits:
            await post("/cose/verify", body)
        else:
            await refuses("/cose/verify", body, 422, "invalid-cose")


@pytest.mark.parametrize(
    "own",
    [
        {"typ": "x", "protected": cbor({16: "y"})},
        {"content_type": 0, "unprotected": cbor({3: "y"})},
        {"protected": cbor({100: 1}), "unprotected": cbor({100: 1})},
    ],
)
async def test_a_label_is_in_a_message_once(refuses, generate, own):
    body = {"kid": (await generate())["kid"], "payload": "", **own}
    await refuses("/cose/sign", body, 422, "invalid-cose")


@pytest.mark.parametrize(
    "own",
    [
        *(b"", b"\x80", b"\xa0\x00", b"\xa1\x01", b"\xbf\xff", b"\xa1\x18\x64"),
        cbor2.dumps({1.5: 1}),
        cbor2.dumps({b"x": 1}),
        b"\xa2\x18\x64\x01\x18\x64\x01",  # the same label twice
        b"\xa2\x18\x64\x01\x19\x00\x64\x01",  # and written in two ways
        b"\xa1\x18\x64\xa2\x01\x01\x01\x01",  # within a value
        b"\xa1\x18\x64\xa2\x01\x01\x18\x01\x01",
        b"\xa1\x18\x64\xa2\x20\x01\x38\x00\x01",
        b"\xa1\x18\x64\xa2\x61x\x01\x78\x01x\x01",
        b"\xa1\x18\x64\x81\xa2\x41x\x01\x58\x01x\x01",
        b"\xa1\x18\x64\x61\xff",
        b"\xa1\x18\x64\xa1\x61\xff\x01",
        b"\xa1\xc2\x41\x01\x01",  # a bignum as label
        b"\xa1\x18\x64\xf8\x01",  # a simple value that is not well-formed
        b"\xa1\x18\x64\x1c",
        b"\xa1\x18\x64\x5f\x41\x00\xff",
        b"\xa1\x61\xff\x01",
        cbor2.dumps({3: b"x"}),
        b"\xa1\x18\x64" + b"\x81" * 15 + b"\x01",
        b"\xa1\x18\x64\x9b" + b"\xff" * 8,
        b"\xa1\x18\x64\x5b" + b"\xff" * 8,
        cbor2.dumps({100: list(range(5000))}),
        cbor2.dumps({100: bytes(66_000)}),
    ],
)
async def test_bytes_that_are_not_a_map_of_parameters(refuses, generate, own):
    body = {"kid": (await generate())["kid"], "payload": "", "protected": b64(own)}
    found = await refuses("/cose/sign", body, 422, "invalid-cose")
    assert found["errors"][0]["pointer"] == "#/protected"


async def test_keys_of_maps_that_differ_in_their_type_alone(post, generate):
    kid = (await generate("ed25519"))["kid"]
    value = b"\xa1\x18\x64\xa6" + b"".join(
        key + b"\x01" for key in (b"\x01", b"\x20", b"\x61\x01", b"\x41\x01", b"\x81\x01", b"\x80")
    )
    body = {"kid": kid, "payload": "", "protected": b64(value)}
    cose = (await post("/cose/sign", body))["cose"]
    assert (await post("/cose/verify", {"kid": kid, "cose": cose}))["valid"]


async def test_a_label_in_a_problem_is_cut(refuses, generate):
    own = cbor({"x" * 60_000: 1})
    body = {"kid": (await generate())["kid"], "payload": "", "protected": own, "unprotected": own}
    found = await refuses("/cose/sign", body, 422, "invalid-cose")
    assert len(found["errors"][0]["detail"]) < 200


@pytest.mark.parametrize(
    ("own", "name"),
    [
        # Each fits alone, but not beside the parameters of the service.
        ({"protected": cbor({100: bytes(65_528)})}, "protected"),
        ({"protected": cbor({100: [0] * 4_093})}, "protected"),
        ({"unprotected": cbor({100: bytes(65_528)})}, "unprotected"),
        ({"unprotected": cbor({100: [0] * 4_093})}, "unprotected"),
    ],
)
async def test_a_header_that_is_too_large_is_not_signed(refuses, post, generate, own, name):
    body = {"kid": (await generate("ed25519"))["kid"], "payload": "", "typ": "x" * 9, **own}
    found = await refuses("/cose/sign", body, 422, "invalid-cose")
    assert found["errors"][0]["pointer"] == f"#/{name}"
    fits = cbor({100: bytes(65_400)}), cbor({100: [0] * 4_080})
    for value in fits:
        body = {"kid": body["kid"], "payload": "", name: value}
        cose = (await post("/cose/sign", body))["cose"]
        assert (await post("/cose/verify", {"kid": body["kid"], "cose": cose}))["valid"]


async def test_parameters_nest_sixteen_deep(post, generate, refuses):
    kid = (await generate("ed25519"))["kid"]
    # The message and its map of parameters are two levels.
    for levels, fits in ((14, True), (15, False)):
        value = {100: []}
        for _ in range(levels - 1):
            value = {100: [value[100]]}
        protected = cbor2.dumps({1: -8})
        message = cbor([protected, value, b"", b""])
        body = {"kid": kid, "payload": "", "unprotected": cbor(value)}
        verify = {"kid": kid, "cose": message}
        if fits:
            await post("/cose/sign", body)
            assert not (await post("/cose/verify", verify))["valid"]
        else:
            await refuses("/cose/sign", body, 422, "invalid-cose")
            await refuses("/cose/verify", verify, 422, "invalid-cose")


GOOD = cbor2.dumps({1: -8})


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\x00",
        b"\xd2\xd2" + cbor2.dumps([GOOD, {}, b"", b""]),
        cbor2.dumps([GOOD, {}, b""]),
        cbor2.dumps([GOOD, {}, b"", b"", b""]),
        cbor2.dumps([GOOD, {}, b"", b""]) + b"\0",
        cbor2.dumps([GOOD, {}, b"", b""])[:-1],
        cbor2.dumps([GOOD, {}, "text", b""]),
        cbor2.dumps([GOOD, {}, b"", None]),
        cbor2.dumps([{1: -8}, {}, b"", b""]),
        cbor2.dumps([GOOD, [], b"", b""]),
        cbor2.dumps([b"\x80", {}, b"", b""]),
        cbor2.dumps([GOOD + b"\0", {}, b"", b""]),
        cbor2.dumps([GOOD, {1: -8}, b"", b""]),  # a label in both maps
        cbor2.dumps([GOOD, {2: [1]}, b"", b""]),
        cbor2.dumps([GOOD, {4: "a text"}, b"", b""]),
        cbor2.dumps([GOOD, {1.0: 1}, b"", b""]),
        cbor2.dumps([cbor2.dumps({1: -8, 2: []}), {}, b"", b""]),
        cbor2.dumps([cbor2.dumps({1: -8, 2: [100]}), {}, b"", b""]),
        cbor2.dumps([cbor2.dumps({1: -8, 2: [100], 100: 1}), {}, b"", b""]),
        cbor2.dumps([cbor2.dumps({1: -8, 2: [3]}), {}, b"", b""]),
        cbor2.dumps([cbor2.dumps({1: -8, 2: [[1]]}), {}, b"", b""]),
        cbor2.dumps([cbor2.dumps({1: 1.5}), {}, b"", b""]),
        cbor2.dumps([cbor2.dumps({1: cbor2.CBORTag(2, b"\1")}), {}, b"", b""]),
        b"\x9f\x43\xa1\x01\x27\xa0\x40\x40\xff",  # indefinite lengths
        b"\x84\x5f\x43\xa1\x01\x27\xff\xa0\x40\x40",
        b"\x84\x43\xa1\x01\x27\xbf\xff\x40\x40",
        b"\x84\x43\xa1\x01\x27\xa0\x5f\xff\x40",
    ],
)
async def test_bytes_that_are_not_a_message(refuses, generate, message):
    body = {"kid": (await generate("ed25519"))["kid"], "cose": b64(message)}
    await refuses("/cose/verify", body, 422, "invalid-cose")


async def test_messages_that_never_verify(post, generate):
    kid = (await generate("ed25519"))["kid"]

    async def valid(protected, unprotected):
        head = cbor2.dumps(protected)
        message = cbor2.dumps(["Signature1", head, b"", PAYLOAD])
        sig = raw((await post("/sign", {"kid": kid, "data": b64(message)}))["sig"])
        body = {"kid": kid, "cose": cbor([head, unprotected, PAYLOAD, sig])}
        result = await post("/cose/verify", body)
        assert (result["payload"] is not None) is result["valid"]
        return result["valid"]

    assert await valid({1: -8}, {})
    assert await valid({1: -19, 2: [3], 3: 0}, {4: b"whatever", 7: [b"", {}, b""]})
    assert not await valid({1: -7}, {})
    assert not await valid({1: "EdDSA"}, {})
    assert not await valid({}, {})
    assert not await valid({}, {1: -8})  # an algorithm that is not protected


async def test_a_message_of_before_a_rotation_verifies_by_the_alias(client, post, generate):
    kid = (await generate("p256", alias="issuer"))["kid"]
    cose = (await post("/cose/sign", {"alias": "issuer", "payload": b64(PAYLOAD)}))["cose"]
    async with client.post(f"/key/{kid}/rotate") as response:
        assert response.status == 200
    assert (await post("/cose/verify", {"alias": "issuer", "cose": cose}))["valid"]


@pytest.mark.parametrize(
    ("alg", "members"),
    [
        ("p256", {1: 2, -1: 1, -2: "x", -3: "y"}),
        ("p384", {1: 2, -1: 2, -2: "x", -3: "y"}),
        ("p521", {1: 2, -1: 3, -2: "x", -3: "y"}),
        ("k256", {1: 2, -1: 8, -2: "x", -3: "y"}),
        ("x25519", {1: 1, -1: 4, -2: "x"}),
        ("x448", {1: 1, -1: 5, -2: "x"}),
        ("ed25519", {1: 1, -1: 6, -2: "x"}),
        ("ed448", {1: 1, -1: 7, -2: "x"}),
        ("rsa2048", {1: 3, -1: "n", -2: "e"}),
        ("mldsa44", {1: 7, 3: -48, -1: "pub"}),
        ("mlkem768", None),
        ("bls12381g2", None),
        ("hs256", None),
    ],
)
async def test_the_cose_key_of_a_key(get, generate, alg, members):
    made = await generate(alg, alias="a")
    assert "cose_key" not in made
    jwk = made["jwk"]
    for found in (await get(f"/key/{made['kid']}"), await get("/key?alias=a")):
        if members is None:
            assert found["cose_key"] is None
            continue
        values = {
            label: raw(jwk[value]) if isinstance(value, str) else value
            for label, value in members.items()
        }
        assert cbor2.loads(raw(found["cose_key"])) == values
        assert raw(found["cose_key"]) == cbor2.dumps(values, canonical=True)
