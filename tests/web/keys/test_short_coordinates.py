"""Elliptic-curve JWKs whose members lack their leading zeros, as some libraries write them.

RFC 7518 section 6.2.1.2 wants the zeros. authlib 1.9.10 has made the keys and the JWEs of
authlib_short_coordinates.json: of each key one member is short, and of each `epk`.
"""

import json
from pathlib import Path

import pytest
from algorithm_facts import ECDSA, FACTS
from base64url import jose, raw
from problems import refused

pytestmark = pytest.mark.shared_service

VECTORS = json.loads(Path(__file__).with_name("authlib_short_coordinates.json").read_text("utf-8"))
SIZES = {FACTS[name].crv: FACTS[name].public - 1 for name in ECDSA}
NAMES = [f"{each['jwk']['crv']} {number}" for number, each in enumerate(VECTORS)]
CURVES = sorted({each["jwk"]["crv"] for each in VECTORS})


def public(jwk):
    return {name: value for name, value in jwk.items() if name != "d"}


def whole(jwk):
    """A JWK with all of its zeros."""
    size = SIZES[jwk["crv"]]
    padded = {n: jose(raw(jwk[n]).rjust(size, b"\0")) for n in "xyd" if n in jwk}
    return jwk | padded


@pytest.fixture(params=VECTORS, ids=NAMES)
def vector(request):
    assert request.param["jwk"] != whole(request.param["jwk"])
    header = json.loads(raw(request.param["jwe"].partition(".")[0]))
    assert header["epk"] != whole(header["epk"])
    return request.param


async def test_keys_and_ephemeral_keys(post, vector):
    key = await post("/key/import", {"jwk": vector["jwk"]})
    assert key["jwk"] == public(whole(vector["jwk"]))
    opened = await post("/jwe/decrypt", {"kid": key["kid"], "jwe": vector["jwe"]})
    assert opened["plaintext"] == "aGVsbG8="


async def test_keys_without_leading_zeros_are_the_same_keys(post, generate, vector):
    jwk = vector["jwk"]
    key = await post("/key/import", {"jwk": jwk})
    signature = await post("/sign", {"kid": key["kid"], "data": "aGVsbG8"})
    body = {"jwk": public(jwk), "data": "aGVsbG8", "sig": signature["sig"]}
    assert await post("/verify", body) == {"valid": True}
    peer = await generate(key["alg"])
    shared = await post("/derive", {"kid": key["kid"], "peer": peer["jwk"]})
    assert shared == await post("/derive", {"kid": peer["kid"], "peer": public(jwk)})


async def test_a_public_key_alone(post, vector):
    key = await post("/key/import", {"jwk": public(vector["jwk"])})
    assert key["jwk"] == public(whole(vector["jwk"]))


@pytest.mark.parametrize("crv", CURVES)
@pytest.mark.parametrize("member", ["x", "y", "d"])
async def test_others_are_refused_and_named(client, generate, crv, member):
    jwk = next(whole(each["jwk"]) for each in VECTORS if each["jwk"]["crv"] == crv)
    for text in ("", jose(b"\0" + raw(jwk[member])), jose(b"\0" * 5000), "*", 7, None):
        response = await client.post("/key/import", json={"jwk": jwk | {member: text}})
        problem = await refused(response, 422, "invalid-key")
        assert f"'{member}'" in problem["detail"]


@pytest.mark.parametrize("crv", CURVES)
async def test_a_peer_that_is_refused_is_named(client, refuses, post, crv):
    vector = next(each for each in VECTORS if each["jwk"]["crv"] == crv)
    kid = (await post("/key/import", {"jwk": vector["jwk"]}))["kid"]
    header, *parts = vector["jwe"].split(".")
    members = json.loads(raw(header))
    long = {**members["epk"], "y": jose(b"\0" + raw(whole(members["epk"])["y"]))}
    response = await client.post("/derive", json={"kid": kid, "peer": long})
    assert "'y'" in (await refused(response, 422, "invalid-key"))["detail"]
    jwe = ".".join([jose(json.dumps(members | {"epk": long}).encode()), *parts])
    problem = await refuses("/jwe/decrypt", {"kid": kid, "jwe": jwe}, 422, "decryption-failed")
    assert [error["pointer"] for error in problem["errors"]] == ["#/jwe"]
    assert "epk" in problem["errors"][0]["detail"]
    assert "'y'" in problem["errors"][0]["detail"]
