"""The JWK Set of a profile."""

import pytest
from algorithm_facts import ECDSA, FACTS, KEY_PAIRS, named, using
from jwcrypto import jwk
from problems import refused
from stored import fill

from minikms.maintenance.write import StoreWriter
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.web.state import STORE

USE = {name: "sig" if FACTS[name].signing else "enc" for name in KEY_PAIRS if FACTS[name].uses}
# The JOSE names of algorithms that have only one.
ONLY = {name: FACTS[name].signing[0] for name in USE if len(FACTS[name].signing) == 1} | {
    name: FACTS[name].jose[0] for name in using("decapsulate")
}
KEMS = {*using("decapsulate")}


async def jwks(client, query=""):
    async with client.get("/jwks.json" + query) as response:
        assert response.status == 200
        return (await response.json())["keys"]


async def test_public_keys_and_nothing_else(client, generate):
    made = {alg: await generate(alg) for alg in named()}
    found = {key["kid"]: key for key in await jwks(client, "?use=sig&use=enc")}
    assert found.keys() == {made[alg]["kid"] for alg in USE}
    for alg, use in USE.items():
        key = made[alg]
        expected = {**key["jwk"], "kid": key["kid"], "use": use}
        if alg in ONLY:
            expected["alg"] = ONLY[alg]
        assert found[key["kid"]] == expected


async def test_the_default_set_is_read_by_jwcrypto(client, generate):
    """jwcrypto refuses a whole set for one key that it does not know, as of ML-KEM."""
    known = [alg for alg in USE if "jwcrypto" in FACTS[alg].libraries]
    made = {alg: await generate(alg, alias=alg) for alg in (*known, *KEMS)}
    for query in ("", "?profile=default"):
        async with client.get("/jwks.json" + query) as response:
            etag, text = response.headers["ETag"], await response.text()
        read = {key.thumbprint() for key in jwk.JWKSet.from_json(text)["keys"]}
        assert read == {made[alg]["kid"] for alg in known}
    await client.delete("/key?alias=mlkem768")  # a key that is not in the set
    async with client.get("/jwks.json", headers={"If-None-Match": etag}) as response:
        assert response.status == 304


@pytest.mark.each_store
async def test_one_for_each_alias(client, generate):
    key = await generate("p256", alias="did:example:1#k")
    await client.post(f"/key/{key['kid']}/associate", json={"alias": "also"})
    found = await jwks(client)
    assert [one["kid"] for one in found] == [key["kid"], "did:example:1#k", "also"]
    assert all(one["x"] == key["jwk"]["x"] for one in found)


async def test_use_follows_the_operations_of_the_key(client, generate):
    await generate("p256", operations=["derive"])
    assert [(key["use"], "alg" in key) for key in await jwks(client)] == [("enc", False)]


async def test_a_key_that_only_verifies_is_in_the_set(client, generate, post):
    jwk_of = (await generate("ed25519", profile="default", exportable=True))["jwk"]
    made = await generate("p256", operations=["verify"])
    await client.delete(f"/key/{(await jwks(client))[0]['kid']}")
    imported = await post("/key/import", {"jwk": jwk_of})
    assert imported["operations"] == ["verify"]
    found = {key["kid"]: key["use"] for key in await jwks(client)}
    assert found == {made["kid"]: "sig", imported["kid"]: "sig"}


@pytest.mark.each_store
async def test_the_query_names_the_profile_of_the_set(client, get, generate):
    await client.post("/profile", json={"name": "alice"})
    kid = (await generate(profile="alice"))["kid"]
    assert await jwks(client) == await jwks(client, "?profile=default") == []
    assert [key["kid"] for key in await jwks(client, "?profile=alice")] == [kid]
    assert [
        key["kid"] for key in (await get("/jwks.json", headers={"X-Profile": "alice"}))["keys"]
    ] == [kid]
    both = await client.get("/jwks.json?profile=alice", headers={"X-Profile": ""})
    await refused(both, 422, "validation-failed")
    await refused(await client.get("/jwks.json?profile=nobody"), 404, "profile-not-found")
    for query in ("?profile=", "?profile=a%20b", "?profile=a&profile=b", "?profile=a%0A"):
        await refused(await client.get("/jwks.json" + query), 422, "validation-failed")


@pytest.mark.each_store
async def test_more_than_a_page(client):
    # Store few keys in each transaction: a service cancels a transaction after five seconds.
    writer = StoreWriter(client.app[STORE].database)
    kids = await fill(writer, DEFAULT_PROFILE, 0, 1003, batch=50)
    assert [key["kid"] for key in await jwks(client)] == kids


async def test_a_set_has_only_the_requested_keys(client, generate):
    for alg in USE:
        await generate(alg, alias=alg)
    await generate("p256", operations=["derive"], alias="p256 agrees")
    whole = await jwks(client, "?use=sig&use=enc")

    async def found(query):
        members = await jwks(client, query)
        assert members == [member for member in whole if member in members]  # in their order
        return {member["kid"] for member in members if len(member["kid"]) < 43}

    ec = {*ECDSA}
    assert await found("?kty=EC") == ec | {"p256 agrees"}
    assert await found("?kty=EC&use=sig") == ec
    assert await found("?kty=EC&use=enc") == {"p256 agrees"}
    mldsa = {"mldsa44", "mldsa65", "mldsa87"}
    assert await found("?kty=AKP") == mldsa | KEMS
    assert await found("?kty=AKP&use=enc") == KEMS
    assert await found("") == {*USE, "p256 agrees"} - KEMS
    assert await found("?alg=ML-KEM-1024&alg=ML-DSA-44") == {"mlkem1024", "mldsa44"}
    assert await found("?kty=RSA&kty=AKP&use=sig") == {"rsa2048", *mldsa}
    assert await found("?alg=ES256") == {"p256"}
    assert await found("?alg=ES256&alg=ES512&profile=default") == {"p256", "p521"}
    # A key with several JOSE names has no `alg` in the set, and is found by each name.
    assert await found("?alg=EdDSA") == {"ed25519", "ed448"}
    assert await found("?alg=Ed25519") == {"ed25519"}
    assert await found("?alg=PS384&alg=HS256") == {"rsa2048"}
    for alg in ("ECDH-ES", "ECDH-ES%2BA256KW", "ECDH-1PU"):
        assert await found(f"?alg={alg}") == {"x25519", "x448", "p256 agrees"}
    assert await found("?use=sig&use=enc") == {*USE, "p256 agrees"}
    for nothing in ("?kty=oct", "?alg=none", "?kty=EC&alg=EdDSA", "?kty=ec", "?use=enc&kty=RSA"):
        assert await jwks(client, nothing) == []
    for wrong in (
        "?use=",
        "?use=SIG",
        "?kty=",
        "?kty=EC,RSA",
        "?alg=a%20b",
        "?alg=a&alg=",
        "?use=a",
    ):
        body = await refused(await client.get(f"/jwks.json{wrong}"), 422, "validation-failed")
        assert [each["pointer"] for each in body["errors"]] == [f"#/{wrong[1:4]}"]
    many = "&".join(["kty=EC"] * 65)
    await refused(await client.get(f"/jwks.json?{many}"), 422, "validation-failed")
