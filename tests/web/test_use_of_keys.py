"""What every use of a key has in common: how it is named, whose it is, and what it may do."""

import pytest
from problems import refused

pytestmark = pytest.mark.shared_service

DATA = "aGVsbG8="
SIXTEEN = "AAECAwQFBgcICQoLDA0ODw=="
PEER = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}

XPEER = {"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}

# path, the rest of its body, an algorithm that can, the operation, another that the same key can
USES = [
    ("/sign", {"data": DATA}, "p256", "sign", "verify"),
    ("/verify", {"data": DATA, "sig": DATA}, "p256", "verify", "sign"),
    ("/sign/batch", {"items": [{"data": DATA}]}, "p256", "sign", "derive"),
    ("/verify/batch", {"items": [{"data": DATA, "sig": DATA}]}, "p256", "verify", "derive"),
    ("/encrypt", {"plaintext": DATA}, "a256gcm", "encrypt", "decrypt"),
    (
        "/decrypt",
        {"ciphertext": DATA, "nonce": SIXTEEN, "tag": SIXTEEN},
        "a256gcm",
        "decrypt",
        "encrypt",
    ),
    ("/wrap", {"key": SIXTEEN}, "a128kw", "wrap", "unwrap"),
    ("/unwrap", {"wrapped": "A" * 32}, "a128kw", "unwrap", "wrap"),
    ("/derive", {"peer": PEER}, "p256", "derive", "sign"),
    ("/box", {"to": XPEER, "plaintext": DATA}, "x25519", "box", "box-open"),
    (
        "/box/open",
        {"from": XPEER, "ciphertext": SIXTEEN, "nonce": SIXTEEN},
        "x25519",
        "box-open",
        "box",
    ),
    ("/box/seal/open", {"ciphertext": SIXTEEN}, "x25519", "box-open", "derive"),
    ("/decapsulate", {"ciphertext": "A" * 1451}, "mlkem768", "decapsulate", "hpke-open"),
    ("/hpke/open", {"enc": SIXTEEN, "ciphertext": SIXTEEN}, "p256", "hpke-open", "derive"),
    ("/hpke/open", {"enc": SIXTEEN, "ciphertext": ""}, "mlkem1024", "hpke-open", "decapsulate"),
    ("/mac", {"data": DATA}, "hs256", "mac", "mac-verify"),
    ("/mac/verify", {"data": DATA, "mac": DATA}, "hs256", "mac-verify", "mac"),
    ("/jws/sign", {"payload": DATA}, "p256", "sign", "verify"),
    ("/jws/sign", {"payload": DATA}, "hs256", "mac", "mac-verify"),
    ("/jws/verify", {"jws": "a.b.c"}, "p256", "verify", "sign"),
    ("/jws/verify", {"jws": "a.b.c"}, "hs256", "mac-verify", "mac"),
    ("/jwe/decrypt", {"jwe": "a.b.c.d.e"}, "p256", "jwe-decrypt", "derive"),
    ("/jwe/decrypt", {"jwe": "a.b.c.d.e"}, "a128kw", "jwe-decrypt", "unwrap"),
]
# These succeed only with what was made for them: see their own tests.
OPENS = ("decrypt", "unwrap", "box-open", "hpke-open", "jwe-decrypt")
PLAIN_USES = [use for use in USES if use[3] not in OPENS]


@pytest.mark.parametrize(("path", "rest", "alg", "operation", "other"), PLAIN_USES)
async def test_by_kid_and_by_alias(client, generate, path, rest, alg, operation, other):
    key = await generate(alg, alias="did:example:1#k")
    assert operation in key["operations"]
    for ref in ({"kid": key["kid"]}, {"alias": "did:example:1#k"}):
        async with client.post(path, json=ref | rest) as response:
            assert response.status == 200


@pytest.mark.parametrize(("path", "rest", "alg", "operation", "other"), USES)
async def test_each_use_refuses_bad_references_and_bodies(
    client, generate, path, rest, alg, operation, other
):
    kid = (await generate(alg, alias="here"))["kid"]
    await client.post("/profile", json={"name": "other"})

    async def check(ref, status, slug, profile=""):
        headers = {"X-Profile": profile} if profile else {}
        await refused(await client.post(path, json=ref | rest, headers=headers), status, slug)

    await check({"kid": "unknown"}, 404, "key-not-found")
    await check({"alias": "unknown"}, 404, "alias-not-found")
    await check({"kid": kid}, 404, "key-not-found", "other")
    await check({"alias": "here"}, 404, "alias-not-found", "other")
    await check({"kid": kid}, 404, "profile-not-found", "nobody")
    await check({"kid": kid, "alias": "here"}, 422, "validation-failed")
    await check({}, 422, "validation-failed")
    await check({"kid": kid, "surplus": 1}, 422, "validation-failed")
    for field in rest:
        body = {"kid": kid} | rest | {field: 7}
        await refused(await client.post(path, json=body), 422, "validation-failed")
        del body[field]
        await refused(await client.post(path, json=body), 422, "validation-failed")

    cannot = await generate("bls12381g1")
    await check({"kid": cannot["kid"]}, 422, "unsupported-operation")
    may_not = await generate(alg, operations=[other], alias="restricted")
    assert may_not["operations"] == [other]
    await check({"kid": may_not["kid"]}, 422, "unsupported-operation")
    await check({"alias": "restricted"}, 422, "unsupported-operation")
