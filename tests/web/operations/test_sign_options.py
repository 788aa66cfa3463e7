"""JOSE names, DER, digests, verification by a public JWK, and batches."""

import hashlib

import pytest
from algorithm_facts import ECDSA, FACTS, RSA_NAMES, named, using
from base64url import b64, raw
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from problems import refused

pytestmark = pytest.mark.shared_service

BITS = (256, 384, 512)
DIGESTS = {name: f"sha{name[2:]}" for name in RSA_NAMES} | {
    FACTS[alg].signing[0]: FACTS[alg].hash.name for alg in ECDSA
}
MESSAGE = b"hello"


@pytest.mark.parametrize("alg", using("sign"))
async def test_each_jose_name_signs_and_verifies(refuses, post, generate, alg):
    jose, size = FACTS[alg].signing, FACTS[alg].signature
    key = await generate(alg)
    kid = key["kid"]
    default = await post("/sign", {"kid": kid, "data": b64(MESSAGE)})
    assert (default["alg"], default["kid"]) == (jose[0], kid)
    for name in jose:
        signed = await post("/sign", {"kid": kid, "data": b64(MESSAGE), "alg": name})
        assert signed["alg"] == name
        assert len(raw(signed["sig"])) == size
        for by in ({"kid": kid}, {"jwk": key["jwk"]}):
            body = {"data": b64(MESSAGE), "sig": signed["sig"], "alg": name, **by}
            assert await post("/verify", body) == {"valid": True}
            assert await post("/verify", body | {"data": b64(b"other")}) == {"valid": False}
    for name in ("none", "HS256", "ES256" if alg != "p256" else "ES384", ""):
        for path, more in (("/sign", {}), ("/verify", {"sig": ""})):
            body = {"kid": kid, "data": "", "alg": name, **more}
            await refuses(path, body, 422, "unsupported-option")


async def test_rsa_names_are_not_interchangeable(post, generate):
    kid = (await generate("rsa2048"))["kid"]
    signed = await post("/sign", {"kid": kid, "data": "", "alg": "PS256"})
    for name, valid in (("PS256", True), ("RS256", False), ("PS384", False)):
        body = {"kid": kid, "data": "", "alg": name, "sig": signed["sig"]}
        assert await post("/verify", body) == {"valid": valid}


async def test_rsa_agrees_with_pyca(post, generate):
    key = await generate("rsa2048")
    n, e = (int.from_bytes(raw(key["jwk"][name]), "big") for name in "ne")
    public = rsa.RSAPublicNumbers(e, n).public_key()
    for bits in BITS:
        digest = getattr(hashes, f"SHA{bits}")()
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        for name, scheme in ((f"RS{bits}", padding.PKCS1v15()), (f"PS{bits}", pss)):
            signed = await post("/sign", {"kid": key["kid"], "data": b64(MESSAGE), "alg": name})
            public.verify(raw(signed["sig"]), MESSAGE, scheme, digest)


@pytest.mark.parametrize("alg", ECDSA)
async def test_der_has_the_same_numbers(post, generate, alg):
    key = await generate(alg)
    body = {"kid": key["kid"], "data": b64(MESSAGE)}
    plain = raw((await post("/sign", body))["sig"])
    der = raw((await post("/sign", body | {"encoding": "der"}))["sig"])
    half = len(plain) // 2
    # The nonce is RFC 6979's, so that both are the same numbers.
    assert utils.decode_dss_signature(der) == (
        int.from_bytes(plain[:half], "big"),
        int.from_bytes(plain[half:], "big"),
    )
    for encoding, sig, valid in (
        ("der", der, True),
        ("raw", plain, True),
        ("der", plain, False),
        ("raw", der, False),
        ("der", b"", False),
        ("der", der + b"\0", False),
        ("der", utils.encode_dss_signature(1 << 600, 1), False),
    ):
        given = body | {"encoding": encoding, "sig": b64(sig)}
        assert await post("/verify", given) == {"valid": valid}


@pytest.mark.parametrize("alg", [name for name in using("sign") if name not in ECDSA])
async def test_der_is_for_ecdsa(refuses, generate, alg):
    body = {"kid": (await generate(alg))["kid"], "data": "", "encoding": "der"}
    await refuses("/sign", body, 422, "unsupported-option")
    body |= {"sig": ""}
    await refuses("/verify", body, 422, "unsupported-option")
    body |= {"encoding": "hex"}
    await refuses("/verify", body, 422, "validation-failed")


@pytest.mark.parametrize("alg", named(lambda facts: facts.prehashed))
async def test_digests_are_signed_like_their_messages(client, post, generate, alg):
    kid = (await generate(alg))["kid"]
    for name in FACTS[alg].signing:
        await prehashed(client, post, kid, name)


async def prehashed(client, post, kid, name):
    hashed = hashlib.new(DIGESTS[name], MESSAGE).digest()
    body = {"kid": kid, "data": b64(hashed), "alg": name, "prehashed": True}
    sig = (await post("/sign", body))["sig"]
    assert await post("/verify", body | {"sig": sig}) == {"valid": True}
    whole = {"kid": kid, "data": b64(MESSAGE), "alg": name, "sig": sig}
    assert await post("/verify", whole) == {"valid": True}
    for data in (hashed[:-1], hashed + b"\0", b"", MESSAGE):
        given = body | {"data": b64(data)}
        await refused(await client.post("/sign", json=given), 422, "validation-failed")
        given |= {"sig": sig}
        await refused(await client.post("/verify", json=given), 422, "validation-failed")


@pytest.mark.parametrize("alg", ["mldsa44", "mldsa65", "mldsa87"])
async def test_ml_dsa_signs_an_external_mu(refuses, post, generate, alg):
    """FIPS 204 sections 5.2 and 6.2: mu of the empty context, by a library of hashes alone."""
    key = await generate(alg)
    public = raw(key["jwk"]["pub"])
    of_key = hashlib.shake_256(public).digest(64)
    mu = hashlib.shake_256(of_key + b"\0\0" + MESSAGE).digest(64)
    body = {"kid": key["kid"], "data": b64(mu), "prehashed": True}
    whole = {"kid": key["kid"], "data": b64(MESSAGE)}
    sig = (await post("/sign", body))["sig"]
    for given in (body, whole):
        assert await post("/verify", given | {"sig": sig}) == {"valid": True}
    sig = (await post("/sign", whole))["sig"]
    assert await post("/verify", body | {"sig": sig}) == {"valid": True}
    other = body | {"data": b64(bytes(64))}
    assert await post("/verify", other | {"sig": sig}) == {"valid": False}
    assert await post("/verify", body | {"sig": b64(b"short")}) == {"valid": False}
    for data in (mu[:-1], mu + b"\0", b"", MESSAGE):
        given = body | {"data": b64(data)}
        await refuses("/sign", given, 422, "validation-failed")
        given |= {"sig": sig}
        await refuses("/verify", given, 422, "validation-failed")


@pytest.mark.parametrize("alg", ["ed25519", "ed448"])
async def test_pure_algorithms_refuse_digests(refuses, generate, alg):
    body = {"kid": (await generate(alg))["kid"], "data": b64(bytes(64)), "prehashed": True}
    await refuses("/sign", body, 422, "unsupported-option")
    body |= {"sig": ""}
    await refuses("/verify", body, 422, "unsupported-option")
    for flag in (1, "true", None):
        given = body | {"prehashed": flag}
        await refuses("/verify", given, 422, "validation-failed")


async def test_k256_signs_low_s_and_verifies_high_s(post, generate):
    order = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
    kid = (await generate("k256"))["kid"]
    for number in range(50):
        body = {"kid": kid, "data": b64(bytes([number]))}
        sig = raw((await post("/sign", body))["sig"])
        s = int.from_bytes(sig[32:], "big")
        assert s <= order // 2
        high = sig[:32] + (order - s).to_bytes(32, "big")
        assert await post("/verify", body | {"sig": b64(high)}) == {"valid": True}


async def test_verify_by_a_public_jwk(client, refuses, post, generate):
    private = ec.generate_private_key(ec.SECP256R1())
    numbers = private.public_key().public_numbers()
    x, y = (b64(n.to_bytes(32, "big")).rstrip("=") for n in (numbers.x, numbers.y))
    jwk = {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    sig = b64(private.sign(MESSAGE, ec.ECDSA(hashes.SHA256())))
    body = {"data": b64(MESSAGE), "sig": sig, "encoding": "der"}
    # A key that nobody stored, with the members that JWKs usually have besides.
    for more in ({}, {"kid": "k", "use": "sig", "key_ops": ["verify"], "alg": "ES256"}):
        assert await post("/verify", body | {"jwk": jwk | more}) == {"valid": True}
    bound = body | {"jwk": jwk | {"alg": "ES384"}}
    await refuses("/verify", bound, 422, "unsupported-option")
    bound = body | {"jwk": jwk | {"alg": "ES256"}, "alg": "ES384"}
    await refuses("/verify", bound, 422, "unsupported-option")
    secret = private.private_numbers().private_value.to_bytes(32, "big")
    bad = [{}, {"kty": "EC"}, jwk | {"d": b64(secret)}, jwk | {"y": x}, jwk | {"crv": "P-384"}]
    bad += [{"kty": "oct", "alg": "HS256", "k": b64(secret)}, {"kty": ["EC"]}]
    for given in bad:
        response = await client.post("/verify", json=body | {"jwk": given})
        assert b64(secret) not in await response.text()
        await refused(response, 422, "invalid-key")
    cannot = {"kty": "OKP", "crv": "X25519", "x": b64(bytes(31) + b"\1")}
    await refuses(
        "/verify", body | {"jwk": cannot, "encoding": "raw"}, 422, "unsupported-operation"
    )
    kid = (await generate("p256"))["kid"]
    both = body | {"jwk": jwk, "kid": kid}
    await refuses("/verify", both, 422, "validation-failed")
    both = body | {"jwk": "text"}
    await refuses("/verify", both, 422, "validation-failed")


@pytest.mark.parametrize("alg", ["ed25519", "rsa2048", "mldsa44", "k256"])
async def test_a_batch_signs_each_of_its_items(client, post, generate, alg):
    key = await generate(alg, alias="batch")
    items = [{"data": b64(bytes([number]))} for number in range(20)]
    results = (await post("/sign/batch", {"alias": "batch", "items": items}))["results"]
    assert len(results) == 20
    for item, result in zip(items, results, strict=True):
        body = {"kid": key["kid"], **item, **result}
        assert await post("/verify", body) == {"valid": True}
    pairs = [item | result for item, result in zip(items, results, strict=True)]
    pairs[3], pairs[7] = pairs[3] | {"sig": pairs[7]["sig"]}, pairs[7] | {"sig": ""}
    for by in ({"kid": key["kid"]}, {"alias": "batch"}, {"jwk": key["jwk"]}):
        checked = (await post("/verify/batch", {**by, "items": pairs}))["results"]
        assert [result["valid"] for result in checked] == [n not in (3, 7) for n in range(20)]


async def test_a_bad_item_of_a_batch_has_its_own_problem(post, generate):
    kid = (await generate("p256"))["kid"]
    good = b64(bytes(32))
    body = {"kid": kid, "prehashed": True, "encoding": "der"}
    items = [{"data": data} for data in (good, "!!!!", b64(bytes(31)), good)]
    results = (await post("/sign/batch", body | {"items": items}))["results"]
    assert [list(result) for result in results] == [["sig"], ["problem"], ["problem"], ["sig"]]
    for result in results[1:3]:
        problem = result["problem"]
        assert problem["type"].endswith(":validation-failed")
        assert problem["errors"][0]["pointer"] == "#/data"
    # Of messages that can all be read, one that cannot be signed is no more than its own problem.
    read = [items[0], items[2], items[3]]
    again = (await post("/sign/batch", body | {"items": read}))["results"]
    assert [list(result) for result in again] == [["sig"], ["problem"], ["sig"]]
    pairs = [{"data": good, "sig": results[0]["sig"]}]
    pairs += [{"data": "!", "sig": ""}, {"data": good, "sig": "!"}, {"data": "AA", "sig": ""}]
    results = (await post("/verify/batch", body | {"items": pairs}))["results"]
    assert results[0] == {"valid": True}
    assert [result["problem"]["status"] for result in results[1:]] == [422] * 3


async def test_the_size_of_a_batch(refuses, post, generate):
    kid = (await generate("ed25519"))["kid"]
    for path, item in (("/sign/batch", {"data": ""}), ("/verify/batch", {"data": "", "sig": ""})):
        assert len((await post(path, {"kid": kid, "items": [item] * 1000}))["results"]) == 1000
        for items in ([], [item] * 1001, None, {}, [{}], [item | {"more": 1}], ["text"]):
            body = {"kid": kid, "items": items}
            await refuses(path, body, 422, "validation-failed")
        body = {"kid": kid, "items": [item, item | {"data": 7}]}
        problem = await refuses(path, body, 422, "validation-failed")
        assert [error["pointer"] for error in problem["errors"]] == ["#/items/1/data"]
        body = {"kid": kid, "items": [item], "alg": "ES256"}
        await refuses(path, body, 422, "unsupported-option")
