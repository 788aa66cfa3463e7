"""Keys that come from elsewhere, and keys that may leave."""

import pytest
from algorithm_facts import ECDSA, KEY_PAIRS, named
from base64url import b64, part, raw
from built_in_algorithms import on_stores
from problems import refused

from minikms.key_bounds import MAX_LABELS

pytestmark = pytest.mark.shared_service

# RFC 8037 appendix A.1.
ED25519 = {
    "kty": "OKP",
    "crv": "Ed25519",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "k", "priv"}
# The operations of a public key alone.
PUBLIC = {"verify", "encrypt"}


@pytest.fixture
def export(get):
    async def call(kid):
        return (await get(f"/key/{kid}/export"))["jwk"]

    return call


@on_stores(named(lambda facts: "jwk" in facts.imports, every_size=True))
async def test_an_exported_key_is_imported_elsewhere(client, get, post, generate, export, alg):
    key = await generate(alg, exportable=True, labels={"a": "b"})
    assert key["exportable"] is True
    jwk = await export(key["kid"])
    assert PRIVATE & jwk.keys()
    await client.post("/profile", json={"name": "elsewhere"})
    headers = {"X-Profile": "elsewhere"}
    body = {"jwk": jwk, "exportable": True}
    async with client.post("/key/import", json=body, headers=headers) as response:
        there = await response.json()
        assert response.status == 200
    same = ("alg", "kty", "jwk", "b58", "multikey", "did", "operations", "exportable")
    assert {name: there[name] for name in same} == {name: key[name] for name in same}
    assert (there["kid"] == key["kid"]) is (key["jwk"] is not None)
    assert (await get(f"/key/{there['kid']}/export", headers=headers))["jwk"] == jwk


@pytest.mark.parametrize("alg", ["ed25519", "a256gcm", "rsa2048", "mldsa44", "bls12381g1"])
async def test_not_exportable_unless_said(client, post, generate, alg):
    key = await generate(alg)
    assert key["exportable"] is False
    await refused(await client.get(f"/key/{key['kid']}/export"), 403, "not-exportable")


async def test_keys_that_are_not_exportable_or_not_there_are_not_exported(client, post, generate):
    kid = (await generate(exportable=True))["kid"]
    await client.post("/profile", json={"name": "other"})
    there = {"X-Profile": "other"}
    await refused(await client.get(f"/key/{kid}/export", headers=there), 404, "key-not-found")
    await refused(await client.get("/key/unknown/export"), 404, "key-not-found")
    public = {name: value for name, value in ED25519.items() if name != "d"}
    kid = (await post("/key/import", {"jwk": public}))["kid"]
    await refused(await client.get(f"/key/{kid}/export"), 403, "not-exportable")


async def test_import_of_the_key_of_rfc_8037(client, refuses, post):
    options = {"alias": "did:example:1#k", "labels": {"from": "rfc"}, "operations": ["sign"]}
    key = await post("/key/import", {"jwk": ED25519, **options})
    assert key["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"  # appendix A.3
    assert key["jwk"] == {name: value for name, value in ED25519.items() if name != "d"}
    assert key["aliases"] == ["did:example:1#k"]
    assert (key["labels"], key["operations"]) == ({"from": "rfc"}, ["sign"])
    assert (await client.get(f"/key/{key['kid']}")).status == 200
    await refuses("/key/import", {"jwk": ED25519}, 409, "key-exists")
    seed = {"alg": "ed25519", "seed": ED25519["d"], "alias": "elsewhere"}
    await refuses("/key/import", seed, 409, "key-exists")
    # Nothing of the second one was stored: its alias neither.
    await refused(await client.get("/key?alias=elsewhere"), 404, "alias-not-found")


@pytest.mark.parametrize("alg", named(lambda facts: "seed" in facts.imports))
async def test_a_seed_is_the_secret_of_its_key(refuses, post, export, alg):
    """The seed is the secret itself: Askar's own `from_seed` would hash it."""
    length = 64 if alg.startswith("mlkem") else 32
    seed = bytes(range(length))
    key = await post("/key/import", {"alg": alg, "seed": b64(seed), "exportable": True})
    jwk = await export(key["kid"])
    assert raw(jwk.get("d") or jwk["priv"]) == seed
    for size in (0, length - 1, length + 1, 2 * length):
        body = {"alg": alg, "seed": b64(bytes(size))}
        await refuses("/key/import", body, 422, "invalid-key")


@pytest.mark.parametrize("alg", named(lambda facts: "seed" not in facts.imports))
async def test_no_seed_where_the_algorithm_has_none(refuses, alg):
    body = {"alg": alg, "seed": b64(bytes(range(32)))}
    await refuses("/key/import", body, 422, "unsupported-operation")


# The secret of a Mac is of any length, and in the JWK of a BLS key Askar has the bytes backwards.
@pytest.mark.parametrize(
    "alg", named(lambda facts: "secret" in facts.imports and facts.uses and "mac" not in facts.uses)
)
async def test_a_secret_of_the_right_length_is_imported(refuses, post, generate, export, alg):
    generated = await export((await generate(alg, exportable=True))["kid"])
    length = len(raw(generated.get("d") or generated["k"]))
    secret = bytes(length - 1) + b"\1"
    key = await post("/key/import", {"alg": alg, "secret": b64(secret), "exportable": True})
    jwk = await export(key["kid"])
    assert raw(jwk.get("d") or jwk["k"]) == secret
    for size in (0, length - 1, length + 1):
        body = {"alg": alg, "secret": b64(b"\1" * size)}
        await refuses("/key/import", body, 422, "invalid-key")


@pytest.mark.parametrize("alg", ECDSA)
async def test_a_scalar_out_of_range(refuses, generate, alg):
    size = len(raw((await generate(alg))["jwk"]["x"]))
    for secret in (bytes(size), b"\xff" * size):
        body = {"alg": alg, "secret": b64(secret)}
        await refuses("/key/import", body, 422, "invalid-key")


@pytest.mark.parametrize("alg", named(lambda facts: "secret" not in facts.imports))
async def test_no_secret_where_the_algorithm_has_none(refuses, alg):
    body = {"alg": alg, "secret": b64(bytes(range(32)))}
    await refuses("/key/import", body, 422, "unsupported-operation")


@pytest.mark.parametrize("alg", named(lambda facts: "mac" in facts.uses))
async def test_a_secret_of_a_mac_has_a_bound(refuses, post, alg):
    """Each code hashes all of it."""
    await post("/key/import", {"alg": alg, "secret": b64(bytes(4096))})
    body = {"alg": alg, "secret": b64(bytes(4097))}
    await refuses("/key/import", body, 422, "invalid-key")


async def test_a_wrapped_secret_is_imported(client, refuses, post, generate, export):
    kek = (await generate("a256kw"))["kid"]
    secret = bytes(range(32))
    wrapped = (await post("/wrap", {"kid": kek, "key": b64(secret)}))["wrapped"]
    body = {"alg": "p256", "wrapped": wrapped, "unwrap_kid": kek}
    key = await post("/key/import", body | {"exportable": True})
    assert raw((await export(key["kid"]))["d"]) == secret

    async def check(change, status, slug):
        await refuses("/key/import", body | change, status, slug)

    await check({"wrapped": b64(bytes(40))}, 422, "decryption-failed")
    await check({"alg": "a128gcm"}, 422, "invalid-key")
    await check({"alg": "rsa2048"}, 422, "unsupported-operation")
    await check({"unwrap_kid": "unknown"}, 404, "key-not-found")
    await check({"unwrap_kid": key["kid"]}, 422, "unsupported-operation")
    wrap_only = (await generate("a256kw", operations=["wrap"]))["kid"]
    await check({"unwrap_kid": wrap_only}, 422, "unsupported-operation")
    await client.post("/profile", json={"name": "other"})
    response = await client.post("/key/import", json=body, headers={"X-Profile": "other"})
    await refused(response, 404, "key-not-found")


@on_stores(KEY_PAIRS)
async def test_a_public_key_alone(client, post, generate, alg):
    key = await generate(alg)
    await client.post("/profile", json={"name": "there"})
    headers = {"X-Profile": "there"}
    async with client.post("/key/import", json={"jwk": key["jwk"]}, headers=headers) as response:
        there = await response.json()
    same = ("kid", "alg", "kty", "jwk", "b58", "multikey", "did")
    assert {name: there[name] for name in same} == {name: key[name] for name in same}
    assert there["operations"] == [op for op in key["operations"] if op in PUBLIC]
    sign = {"kid": key["kid"], "data": "aGVsbG8="}
    if "sign" in key["operations"]:
        signed = await post("/sign", sign)
        body = sign | {"sig": signed["sig"]}
        async with client.post("/verify", json=body, headers=headers) as response:
            assert await response.json() == {"valid": True}
    response = await client.post("/sign", json=sign, headers=headers)
    await refused(response, 422, "unsupported-operation")
    response = await client.delete(f"/key/{key['kid']}", headers=headers)
    assert response.status == 200
    await refused(await client.get(f"/key/{key['kid']}", headers=headers), 404, "key-not-found")


async def test_a_public_key_import_cannot_sign_derive_or_export(client, generate):
    jwk = (await generate("p256"))["jwk"]
    await client.post("/profile", json={"name": "there"})

    async def check(options, slug):
        body = {"jwk": jwk, **options}
        response = await client.post("/key/import", json=body, headers={"X-Profile": "there"})
        await refused(response, 422, slug)

    await check({"operations": ["sign"]}, "unsupported-operation")
    await check({"operations": ["derive"]}, "unsupported-operation")
    await check({"exportable": True}, "unsupported-option")


BAD_JWKS = [
    {},
    {"kty": "OKP"},
    {"kty": "none", "x": "AA"},
    {"kty": ["OKP"], "crv": {"a": 1}},
    {**ED25519, "crv": "Ed448"},
    {**ED25519, "crv": "P-256"},
    {**ED25519, "kty": "EC"},
    {**ED25519, "d": ED25519["x"]},
    {**ED25519, "x": ED25519["d"]},
    {**ED25519, "d": ED25519["d"][:-2]},
    {**ED25519, "d": ED25519["d"] + "AA"},
    {**ED25519, "d": "!"},
    {**ED25519, "d": 1},
    {**ED25519, "d": None},
    {name: value for name, value in ED25519.items() if name != "x"},
    {"kty": "oct", "k": "AAAA"},
    {"kty": "oct", "alg": "A256GCM"},
    {"kty": "oct", "alg": "A256GCM", "k": "AAAA"},
    {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    {"kty": "RSA", "n": "A" * 100_000, "e": "AQAB", "d": "A" * 100_000},
    {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"},
    {"kty": "AKP", "alg": "ML-DSA-45", "pub": "AAAA"},
]


@pytest.mark.parametrize("jwk", BAD_JWKS)
async def test_a_jwk_that_is_no_key(refuses, jwk):
    await refuses("/key/import", {"jwk": jwk}, 422, "invalid-key")


@pytest.mark.parametrize("alg", KEY_PAIRS)
async def test_each_part_of_a_jwk_must_fit_the_others(client, generate, export, alg):
    one = await export((await generate(alg, exportable=True))["kid"])
    other = await export((await generate(alg, exportable=True))["kid"])
    await client.post("/profile", json={"name": "there"})
    for name in one.keys() - {"kty", "crv", "alg", "e"}:
        for value in (other[name], one[name][:-4], ""):
            body = {"jwk": one | {name: value}}
            response = await client.post("/key/import", json=body, headers={"X-Profile": "there"})
            await refused(response, 422, "invalid-key")


async def test_rsa_with_less_and_with_more(client, refuses, post, generate, export):
    jwk = await export((await generate("rsa2048", exportable=True))["kid"])
    await client.delete("/key/" + (await (await client.get("/keys")).json())[0]["kid"])
    short = {name: jwk[name] for name in ("kty", "n", "e", "d")}
    key = await post("/key/import", {"jwk": short, "exportable": True})
    primes = await export(key["kid"])
    assert {primes["p"], primes["q"]} == {jwk["p"], jwk["q"]}
    await client.delete(f"/key/{key['kid']}")
    zeros = [{name: part(b"\0" + raw(jwk[name]))} for name in ("n", "e", "d", "p", "qi")]
    wrong = ({"oth": []}, {"e": "Aw"}, {"e": ""}, {"p": ""}, {"p": "AQ"}, {"d": "AQ"})
    for change in (*wrong, *zeros):
        body = {"jwk": jwk | change}
        await refuses("/key/import", body, 422, "invalid-key")
    half = {name: value for name, value in jwk.items() if name not in ("p", "q", "dp", "dq", "qi")}
    await refused(
        await client.post("/key/import", json={"jwk": half | {"d": jwk["n"]}}), 422, "invalid-key"
    )


async def test_an_oct_jwk_tells_its_algorithm_or_is_told(refuses, post):
    k = b64(bytes(range(32)))
    assert (await post("/key/import", {"jwk": {"kty": "oct", "alg": "A256KW", "k": k}}))[
        "alg"
    ] == "a256kw"
    assert (await post("/key/import", {"jwk": {"kty": "oct", "k": k}, "alg": "XC20P"}))[
        "alg"
    ] == "xc20p"
    for jwk in ({"kty": "oct", "alg": "A256KW", "k": k}, {"kty": "OKP", "k": k}, ED25519):
        body = {"jwk": jwk, "alg": "a256gcm"}
        await refuses("/key/import", body, 422, "invalid-key")


GOOD = {"alg": "a256gcm", "secret": b64(bytes(32))}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "#/jwk"),
        ({"alg": "a256gcm"}, "#/jwk"),
        ({"secret": b64(bytes(32))}, "#/alg"),
        ({"seed": b64(bytes(32))}, "#/alg"),
        ({"alg": "p256", "wrapped": "AAAA"}, "#/unwrap_kid"),
        ({"unwrap_kid": "k", "wrapped": "AAAA"}, "#/alg"),
        (GOOD | {"unwrap_kid": "k"}, "#/unwrap_kid"),
        (GOOD | {"jwk": ED25519}, "#/jwk"),
        (GOOD | {"seed": b64(bytes(32))}, "#/jwk"),
        (GOOD | {"secret": "!"}, "#/secret"),
        (GOOD | {"secret": None}, "#/secret"),
        ({"jwk": "text"}, "#/jwk"),
        ({"jwk": None}, "#/jwk"),
        (GOOD | {"alias": ""}, "#/alias"),
        (GOOD | {"alias": "a\u0000b"}, "#/alias"),
        (GOOD | {"labels": []}, "#/labels"),
        (GOOD | {"labels": {"a": 1}}, "#/labels"),
        (GOOD | {"labels": {"a:b": "c"}}, "#/labels"),
        (GOOD | {"labels": {str(n): "" for n in range(MAX_LABELS + 1)}}, "#/labels"),
        (GOOD | {"exportable": "yes"}, "#/exportable"),
        (GOOD | {"exportable": 1}, "#/exportable"),
        (GOOD | {"operations": []}, "#/operations"),
        (GOOD | {"operations": ["sign", "fly"]}, "#/operations/1"),
        (GOOD | {"operations": "sign"}, "#/operations"),
        (GOOD | {"surplus": 1}, "#/surplus"),
    ],
)
async def test_a_body_that_is_not_valid(refuses, body, pointer):
    problem = await refuses("/key/import", body, 422, "validation-failed")
    assert pointer in [error["pointer"] for error in problem["errors"]]


async def test_refusals_of_an_import(client, refuses):
    for body, slug in (
        (GOOD | {"alg": "unknown"}, "unsupported-algorithm"),
        (GOOD | {"operations": ["sign"]}, "unsupported-operation"),
    ):
        await refuses("/key/import", body, 422, slug)
    headers = {"X-Profile": "nobody"}
    response = await client.post("/key/import", json=GOOD, headers=headers)
    await refused(response, 404, "profile-not-found")


async def test_operations_that_the_algorithm_has_not(client, refuses, generate):
    for alg, operations in (("x25519", ["sign"]), ("ed448", ["sign", "derive"])):
        body = {"alg": alg, "operations": operations}
        await refuses("/key/generate", body, 422, "unsupported-operation")
    assert await (await client.get("/keys")).json() == []
    key = await generate("p256", operations=["derive", "sign", "sign"])
    assert key["operations"] == ["sign", "derive"]


async def test_the_former_name_of_secp256k1(client, refuses, post, generate, export):
    key = await generate("k256", exportable=True)
    private = await export(key["kid"]) | {"crv": "P-256K"}
    public = key["jwk"] | {"crv": "P-256K"}
    signed = await post("/sign", {"kid": key["kid"], "data": "AA"})
    jws = await post("/jws/sign", {"kid": key["kid"], "payload": "AA"})
    for jwk in (public, public | {"alg": "ES256K"}):
        verified = {"jwk": jwk, "data": "AA", "sig": signed["sig"]}
        assert await post("/verify", verified) == {"valid": True}
        assert (await post("/jws/verify", {"jwk": jwk, **jws}))["valid"] is True
    other = await generate("k256")
    agreed = {"kid": other["kid"], "peer": public}
    assert await post("/derive", agreed) == await post("/derive", agreed | {"peer": key["jwk"]})
    for jwk in (private, private | {"alg": "ES256K"}, public):
        await client.delete(f"/key/{key['kid']}")
        imported = await post("/key/import", {"jwk": jwk})
        assert (imported["kid"], imported["alg"]) == (key["kid"], "k256")
        assert imported["jwk"] == key["jwk"]  # by its present name
    for jwk in (private | {"crv": "p-256k"}, private | {"kty": "OKP"}, private | {"crv": "P-256"}):
        await refuses("/key/import", {"jwk": jwk}, 422, "invalid-key")
