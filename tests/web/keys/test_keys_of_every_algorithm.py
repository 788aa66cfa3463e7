import hashlib
import json
import re

import base58
import pytest
from algorithm_facts import ECDSA, FACTS, named
from base64url import raw
from built_in_algorithms import on_stores
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from problems import refused

pytestmark = pytest.mark.shared_service

MEMBERS = {
    *("kid", "alg", "kty", "jwk", "b58", "multikey", "did"),
    *("aliases", "labels", "operations", "exportable", "state", "created", "expires", "deletes"),
    "last_used",
    "next",
}

ALIASES = [
    "did:example:123#key-1",
    "did:web:example.com%3A8443:a?service=x&relativeRef=/b#c",
    "did:key:z6Mk…",
    "ключ 鍵 🔑",
    "a+b c%20d%",
    "../../key/generate",
    "x" * 4096,
]


def names(value):
    """Every member name anywhere in a JSON value."""
    if isinstance(value, dict):
        return {*value, *(name for item in value.values() for name in names(item))}
    return {name for item in value for name in names(item)} if isinstance(value, list) else set()


@on_stores(named(every_size=True))
async def test_every_algorithm_lives_a_whole_life(client, generate, alg):
    key = await generate(alg)
    assert key.keys() == MEMBERS
    assert (key["alg"], key["aliases"], key["labels"], key["exportable"]) == (alg, [], {}, False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", key["created"])
    path = f"/key/{key['kid']}"
    named = await client.post(f"{path}/associate", json={"alias": "mine"})
    assert await named.json() == {"alias": "mine", "kid": key["kid"]}
    key["aliases"] = ["mine"]
    answers = [
        await (await client.get(path)).json(),
        await (await client.get("/key", params={"alias": "mine"})).json(),
        *await (await client.get("/keys")).json(),
    ]
    form = {"cose_key": answers[0]["cose_key"]}
    assert answers == [key | form, key | form, key]
    assert names(answers).isdisjoint({"d", "k"})
    gone = await client.delete(path)
    assert (gone.status, await gone.json()) == (200, {"message": "Key deleted", "kid": key["kid"]})
    await refused(await client.get(path), 404, "key-not-found")
    await refused(await client.get("/key", params={"alias": "mine"}), 404, "alias-not-found")
    await refused(await client.delete(path), 404, "key-not-found")
    assert await (await client.get("/keys")).json() == []


async def test_every_name_and_alias_makes_its_algorithm(client, generate):
    listing = await (await client.get("/algorithms")).json()
    assert sorted(entry["name"] for entry in listing) == sorted(FACTS)
    for entry in listing:
        for name in (entry["name"], *entry["aliases"]):
            assert (await generate(name))["alg"] == entry["name"]


@pytest.mark.parametrize(
    ("name", "alg"),
    [
        ("Ed25519", "ed25519"),
        ("ED_25519", "ed25519"),
        ("P-256", "p256"),
        ("secp256r1", "p256"),
        ("prime256v1", "p256"),
        ("secp256k1", "k256"),
        ("SECP-256K1", "k256"),
        ("bls12-381-g1", "bls12381g1"),
        ("bls12-381g2", "bls12381g2"),
        ("A128CBC-HS256", "a128cbchs256"),
        ("chacha20poly1305", "c20p"),
        ("XChaCha20-Poly1305", "xc20p"),
    ],
)
async def test_names_match_without_case_hyphens_and_underscores(generate, name, alg):
    assert (await generate(name))["alg"] == alg


@pytest.mark.parametrize("alg", named(lambda facts: facts.kty != "oct", every_size=True))
async def test_the_kid_is_the_thumbprint(generate, alg):
    key = await generate(alg)
    # RFC 7638 section 3.2, RFC 8037 section 2, RFC 9964: none of our public JWKs has others.
    members = key["jwk"]
    assert members.keys() <= {"crv", "kty", "x", "y", "n", "e", "alg", "pub"}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    assert raw(key["kid"]) == hashlib.sha256(canonical).digest()
    assert (key["kty"], "=" in key["kid"]) == (key["jwk"]["kty"], False)


@pytest.mark.parametrize("alg", named(lambda facts: facts.kty == "OKP"))
async def test_an_okp_key_shows_its_raw_bytes(generate, alg):
    key = await generate(alg)
    assert key["jwk"] == {"kty": "OKP", "crv": FACTS[alg].crv, "x": key["jwk"]["x"]}
    assert base58.b58decode(key["b58"]) == raw(key["jwk"]["x"])
    assert len(raw(key["jwk"]["x"])) == FACTS[alg].public


@pytest.mark.parametrize("alg", ECDSA)
async def test_an_ec_key_shows_its_compressed_point(generate, alg):
    key = await generate(alg)
    x, y = (raw(key["jwk"][name]) for name in "xy")
    assert len(x) == len(y) == FACTS[alg].public - 1
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), FACTS[alg].curve)
    point = numbers.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    assert base58.b58decode(key["b58"]) == point


@pytest.mark.parametrize("alg", named(lambda facts: facts.crv.startswith("BLS")))
async def test_a_bls_key_shows_its_public_bytes(generate, alg):
    assert len(base58.b58decode((await generate(alg))["b58"])) == FACTS[alg].public


@pytest.mark.parametrize("alg", named(lambda facts: facts.kty == "oct"))
async def test_a_symmetric_key_shows_nothing(generate, alg):
    one, two = await generate(alg), await generate(alg)
    assert [one[name] for name in ("jwk", "b58", "multikey", "did")] == [None] * 4
    assert one["kty"] == "oct"
    assert one["kid"] != two["kid"]
    assert len(raw(one["kid"])) == 32


@pytest.mark.each_store
@pytest.mark.parametrize("alias", ALIASES)
async def test_an_alias_is_kept_as_it_is(client, generate, alias):
    key = await generate()
    named = await client.post(f"/key/{key['kid']}/associate", json={"alias": alias})
    assert (named.status, (await named.json())["alias"]) == (200, alias)
    for params in ({"alias": alias}, {"alias": alias, "alg": "Ed25519"}):
        assert (await (await client.get("/keys", params=params)).json())[0]["aliases"] == [alias]
    found = await client.get("/key", params={"alias": alias})
    assert (await found.json())["kid"] == key["kid"]


@pytest.mark.each_store
async def test_a_key_has_many_aliases_and_each_goes_with_it(client, generate):
    key = await generate()
    for alias in (*ALIASES, ALIASES[0]):  # the first a second time: nothing changes
        await client.post(f"/key/{key['kid']}/associate", json={"alias": alias})
    assert (await (await client.get(f"/key/{key['kid']}")).json())["aliases"] == ALIASES
    await client.delete(f"/key/{key['kid']}")
    for alias in ALIASES:
        await refused(await client.get("/key", params={"alias": alias}), 404, "alias-not-found")
        assert await (await client.get("/keys", params={"alias": alias})).json() == []
    # And each is free for another key.
    other = await generate()
    await client.post(f"/key/{other['kid']}/associate", json={"alias": ALIASES[0]})
    found = await client.get("/key", params={"alias": ALIASES[0]})
    assert (await found.json())["kid"] == other["kid"]


@pytest.mark.each_store
async def test_an_alias_moves_to_another_key(client, generate):
    first, second = await generate(), await generate("a256gcm")
    for key in (first, second):
        for alias in ("stays-" + key["kid"], "moves"):
            await client.post(f"/key/{key['kid']}/associate", json={"alias": alias})
    found = await (await client.get("/key", params={"alias": "moves"})).json()
    left = await (await client.get(f"/key/{first['kid']}")).json()
    assert found["kid"] == second["kid"]
    assert found["aliases"] == ["stays-" + second["kid"], "moves"]
    assert left["aliases"] == ["stays-" + first["kid"]]


@pytest.mark.each_store
async def test_missing_keys_and_aliases_are_refused(client, refuses):
    await refused(await client.get("/key/nope"), 404, "key-not-found")
    await refused(await client.delete("/key/nope"), 404, "key-not-found")
    await refuses("/key/nope/associate", {"alias": "a"}, 404, "key-not-found")
    await refused(await client.get("/key", params={"alias": "a"}), 404, "alias-not-found")
