"""Opt-in operations: a key has only those that were requested."""

import os

import pytest
from algorithm_facts import FACTS, named
from base64url import b64, raw
from nacl import bindings as sodium
from problems import refused

pytestmark = pytest.mark.shared_service

# A secret, and the same as a JWK (RFC 8037 appendix A.1).
X = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
D = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
JWK = {"kty": "OKP", "crv": "Ed25519", "x": X, "d": D}
PEER = {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}


async def test_the_listing_says_which_are_opt_in(get):
    listed = {entry["name"]: entry for entry in await get("/algorithms")}
    assert "derive" in listed["ed25519"]["opt_in"]
    for name, facts in FACTS.items():
        entry = listed[name]
        assert entry["opt_in"] == [*facts.opt_in]
        assert set(entry["opt_in"]) <= set(entry["operations"])


@pytest.mark.parametrize("alg", named(lambda facts: facts.opt_in))
async def test_a_key_has_them_only_when_asked(client, post, get, generate, alg):
    facts = FACTS[alg]
    usual = [name for name in facts.uses if name not in facts.opt_in]
    assert (await generate(alg))["operations"] == usual
    assert (await generate(alg, operations=usual))["operations"] == usual
    asked = [*facts.opt_in]
    key = await generate(alg, operations=[*asked, usual[0]], alias="a")
    everything = [name for name in facts.uses if name in (*asked, usual[0])]
    assert key["operations"] == everything
    async with client.post(f"/key/{key['kid']}/rotate") as response:
        assert (await response.json())["operations"] == everything
    assert (await get("/key?alias=a"))["operations"] == everything
    batch = {"alg": alg, "count": 2, "operations": asked}
    assert [key["operations"] for key in (await post("/key/generate/batch", batch))["keys"]] == [
        asked
    ] * 2


@pytest.mark.parametrize("source", [{"jwk": JWK}, {"alg": "ed25519", "seed": D}])
async def test_an_imported_key_has_them_only_when_asked(client, refuses, get, post, source):
    key = await post("/key/import", source)
    assert key["operations"] == ["sign", "verify"]
    use = {"kid": key["kid"], "peer": PEER}
    await refuses("/derive", use, 422, "unsupported-operation")
    # Nothing adds one later.
    change = await client.patch(f"/key/{key['kid']}", json={"operations": ["derive"]})
    await refused(change, 422, "validation-failed")
    again = source | {"operations": ["derive"]}
    await refuses("/key/import", again, 409, "key-exists")
    assert (await get(f"/key/{key['kid']}"))["operations"] == ["sign", "verify"]
    await client.delete(f"/key/{key['kid']}")
    assert (await post("/key/import", again))["operations"] == ["derive"]
    await post("/derive", use)


async def test_a_public_key_alone_has_none(refuses, post):
    public = {name: JWK[name] for name in ("kty", "crv", "x")}
    body = {"jwk": public, "operations": ["verify", "derive"]}
    await refuses("/key/import", body, 422, "unsupported-operation")
    assert (await post("/key/import", {"jwk": public}))["operations"] == ["verify"]


async def test_an_ed25519_key_derives_as_x25519(post):
    """By PyNaCl's conversions of both keys."""
    seed, peer_seed = os.urandom(32), os.urandom(32)
    key = await post(
        "/key/import", {"alg": "ed25519", "seed": b64(seed), "operations": ["sign", "derive"]}
    )
    _, secret = sodium.crypto_sign_seed_keypair(seed)
    theirs, _ = sodium.crypto_sign_seed_keypair(peer_seed)
    converted = sodium.crypto_sign_ed25519_pk_to_curve25519(theirs)
    agreed = sodium.crypto_scalarmult(
        sodium.crypto_sign_ed25519_sk_to_curve25519(secret), converted
    )
    for crv, x in (("Ed25519", theirs), ("X25519", converted)):
        peer = {"kty": "OKP", "crv": crv, "x": b64(x).rstrip("=")}
        answer = await post("/derive", {"kid": key["kid"], "peer": peer})
        assert answer == {"secret": b64(agreed)}
    # As the X25519 key of the same JWK family sees it.
    other = await post("/key/import", {"alg": "x25519", "secret": b64(
        sodium.crypto_sign_ed25519_sk_to_curve25519(sodium.crypto_sign_seed_keypair(peer_seed)[1])
    )})  # fmt: skip
    ours = sodium.crypto_sign_ed25519_pk_to_curve25519(raw(key["jwk"]["x"]))
    jwk = {"kty": "OKP", "crv": "X25519", "x": b64(ours).rstrip("=")}
    answer = await post("/derive", {"kid": other["kid"], "peer": jwk})
    assert answer == {"secret": b64(agreed)}


# On the curve, of no low order, and not in the main subgroup: the base point and one of order 2.
_BASE = bytes.fromhex("58" + "66" * 31)
_ORDER_2 = (2**255 - 20).to_bytes(32, "little")
OUTSIDE = sodium.crypto_core_ed25519_add(_BASE, _ORDER_2)


@pytest.mark.parametrize(
    "peer",
    [
        {"kty": "OKP", "crv": "Ed25519", "x": b64(OUTSIDE)[:-1]},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(32))[:-1]},
        {"kty": "OKP", "crv": "X25519", "x": b64(bytes(32))[:-1]},
        {"kty": "OKP", "crv": "X448", "x": b64(bytes([9, *[0] * 55]))},
        {"kty": "OKP", "crv": 7, "x": X},
        {"kty": "EC", "crv": "Ed25519", "x": X},
        {"kty": "OKP", "crv": "Ed25519", "x": X, "d": D},
    ],
    ids=["outside", "low order", "low order of X25519", "X448", "no crv", "no kty", "private"],
)
async def test_a_peer_that_cannot_be(refuses, generate, peer):
    kid = (await generate(operations=["derive"]))["kid"]
    await refuses("/derive", {"kid": kid, "peer": peer}, 422, "invalid-key")


async def test_a_key_set_has_no_key_as_another_type(get, generate):
    """An Ed25519 JWK is not one to agree with, for a library that reads the set."""
    await generate(operations=["derive"])
    signs = await generate(operations=["sign", "derive"])
    found = [(jwk["kid"], jwk["use"]) for jwk in (await get("/jwks.json"))["keys"]]
    assert found == [(signs["kid"], "sig")]
