"""A key that replaces another: what moves, what stays, and what still verifies."""

import asyncio

import pytest
from problems import refused

pytestmark = pytest.mark.shared_service

DATA = "aGVsbG8="


@pytest.fixture
def rotate(client):
    """Rotate a key, and give the new one."""

    async def call(kid):
        async with client.post(f"/key/{kid}/rotate") as response:
            assert response.status == 200, await response.text()
            return await response.json()

    return call


@pytest.fixture
def get(client):
    async def call(kid):
        found = await (await client.get(f"/key/{kid}")).json()
        del found["cose_key"]  # which only this call gives
        found.pop("predecessors", None)
        return found

    return call


async def patch(client, kid, **body):
    assert (await client.patch(f"/key/{kid}", json=body)).status == 200


@pytest.mark.each_store
@pytest.mark.parametrize("alg", ["ed25519", "p256", "p521", "hs256", "a256gcm", "bls12381g1"])
async def test_a_rotation_moves_aliases_and_keeps_the_old_key(client, generate, rotate, get, alg):
    made = await generate(
        alg, alias="a", labels={"n": "1"}, exportable=True, expires="2150-01-01T00:00:00Z"
    )
    await client.post(f"/key/{made['kid']}/associate", json={"alias": "b"})
    old = await get(made["kid"])
    new = await rotate(old["kid"])
    own = ("kid", "jwk", "b58", "multikey", "did", "created")
    assert new == old | {name: new[name] for name in own} | {"expires": None}
    assert new["kid"] != old["kid"]
    assert await get(new["kid"]) == new
    assert await get(old["kid"]) == old | {"aliases": [], "state": "verify-only"}
    for alias in ("a", "b"):
        named = await (await client.get(f"/key?alias={alias}")).json()
        own = {"cose_key": named["cose_key"], "predecessors": [old["kid"]]}
        assert named == new | own
    assert [key["kid"] for key in await (await client.get("/keys")).json()] == [
        old["kid"],
        new["kid"],
    ]


async def test_a_key_names_the_keys_before_it(client, generate, rotate):
    kids = [(await generate(alias="a"))["kid"]]
    for number in range(18):
        kids.append((await rotate(kids[-1]))["kid"])
        if number == 9:
            body = {"alias": "b"}
            assert (await client.post(f"/key/{kids[-1]}/associate", json=body)).status == 200

    async def before(query):
        key = await (await client.get(query)).json()
        return key.get("predecessors")

    newest_first = kids[::-1]
    for query in (f"/key/{kids[-1]}", "/key?alias=a", "/key?alias=b"):
        assert await before(query) == newest_first[1:17]
    assert await before(f"/key/{kids[0]}") is None
    assert await before(f"/key/{kids[-2]}") is None  # they are the next key's
    await client.delete(f"/key/{kids[-1]}/associate?alias=a")
    assert await before(f"/key/{kids[-1]}") == newest_first[1:9]


async def test_a_rotated_key_keeps_its_operations(generate, rotate):
    key = await generate("p256", operations=["verify", "sign"])
    assert (await rotate(key["kid"]))["operations"] == ["sign", "verify"]


@pytest.mark.each_store
async def test_both_are_in_the_jwk_set(client, generate, rotate):
    old = await generate(alias="a")
    new = await rotate(old["kid"])
    listed = (await (await client.get("/jwks.json")).json())["keys"]
    assert [(key["kid"], key["x"]) for key in listed] == [
        (old["kid"], old["jwk"]["x"]),
        (new["kid"], new["jwk"]["x"]),
        ("a", new["jwk"]["x"]),
    ]


async def evidence(post, kinds=("sig", "mac", "jws", "jws mac")):
    """Sign and authenticate `DATA` by both aliases, in the form for checking."""
    made = {
        "sig": ("/verify", "signs", {"data": DATA, "sig": (await sign(post))["sig"]}),
        "mac": (
            "/mac/verify",
            "macs",
            {"data": DATA, **await post("/mac", {"alias": "macs", "data": DATA})},
        ),
        "jws": (
            "/jws/verify",
            "signs",
            await post("/jws/sign", {"alias": "signs", "payload": DATA}),
        ),
        "jws mac": (
            "/jws/verify",
            "macs",
            await post("/jws/sign", {"alias": "macs", "payload": DATA}),
        ),
    }
    return [made[kind] for kind in kinds]


async def sign(post):
    return await post("/sign", {"alias": "signs", "data": DATA})


async def valid(post, made, **by):
    return [
        (await post(path, (by or {"alias": alias}) | body))["valid"] for path, alias, body in made
    ]


@pytest.mark.each_store
async def test_an_alias_verifies_signatures_of_its_older_keys(client, generate, post, rotate):
    keys = [await generate("p256", alias="signs"), await generate("hs256", alias="macs")]
    made = [await evidence(post)]
    for _ in range(3):
        keys = [await rotate(key["kid"]) for key in keys]
        made.append(await evidence(post))
    for one in made:
        assert await valid(post, one) == [True] * 4
    # A kid is that key alone.
    assert await valid(post, made[0][::2], kid=keys[0]["kid"]) == [False, False]
    assert await valid(post, made[3][::2], kid=keys[0]["kid"]) == [True, True]
    assert await valid(post, made[0][1::2], kid=keys[1]["kid"]) == [False, False]
    # A signature by another key does not verify under the alias either.
    other = await generate("p256")
    sig = (await post("/sign", {"kid": other["kid"], "data": DATA}))["sig"]
    assert await valid(post, [("/verify", "signs", {"data": DATA, "sig": sig})]) == [False]


async def test_a_batch_by_alias(generate, post, rotate):
    kid = (await generate("p256", alias="signs"))["kid"]
    sigs = []
    for _ in range(3):
        sigs.append((await sign(post))["sig"])
        kid = (await rotate(kid))["kid"]
    items = [{"data": DATA, "sig": sig} for sig in [*sigs, "AAAA", *reversed(sigs)]]
    items.insert(2, {"data": "!", "sig": ""})
    results = (await post("/verify/batch", {"alias": "signs", "items": items}))["results"]
    assert [one.get("valid", "problem") for one in results] == [
        *(True, True, "problem", True, False, True, True, True)
    ]
    results = (await post("/verify/batch", {"kid": kid, "items": items}))["results"]
    assert [one.get("valid", "problem") for one in results] == [
        *(False, False, "problem", False, False, False, False, False)
    ]


@pytest.mark.each_store
async def test_predecessors_that_are_disabled_or_gone(client, generate, post, rotate):
    signing, macing = (
        await generate("ed25519", alias="signs"),
        await generate("hs256", alias="macs"),
    )
    made = await evidence(post)
    for key in (signing, macing):
        newer = await rotate(key["kid"])
        await rotate(newer["kid"])
        await client.delete(f"/key/{newer['kid']}")
    assert await valid(post, made) == [True] * 4
    for key in (signing, macing):
        await patch(client, key["kid"], state="disabled")
    assert await valid(post, made) == [False] * 4
    for key in (signing, macing):
        await patch(client, key["kid"], state="enabled")
    assert await valid(post, made) == [True] * 4
    for key in (signing, macing):
        assert (await client.delete(f"/key/{key['kid']}?after=1d")).status == 200
    assert await valid(post, made) == [False] * 4
    for key in (signing, macing):
        assert (await client.delete(f"/key/{key['kid']}")).status == 200
    assert await valid(post, made) == [False] * 4


@pytest.mark.each_store
async def test_binding_the_alias_to_another_forgets(client, generate, post, rotate):
    first = await generate(alias="signs")
    await client.post(f"/key/{first['kid']}/associate", json={"alias": "stays"})
    data = {"data": DATA, "sig": (await sign(post))["sig"]}
    second = await rotate(first["kid"])
    # Once more to the key that it names already: nothing changes.
    await client.post(f"/key/{second['kid']}/associate", json={"alias": "signs"})
    assert (await post("/verify", {"alias": "signs", **data}))["valid"]
    other = await generate()
    for kid in (other["kid"], second["kid"]):
        await client.post(f"/key/{kid}/associate", json={"alias": "signs"})
        assert not (await post("/verify", {"alias": "signs", **data}))["valid"]
    assert (await post("/verify", {"alias": "stays", **data}))["valid"]
    # An alias that came later never named the first.
    await client.post(f"/key/{second['kid']}/associate", json={"alias": "new"})
    assert not (await post("/verify", {"alias": "new", **data}))["valid"]


@pytest.mark.each_store
async def test_so_many_are_remembered(generate, post, rotate):
    kid = (await generate(alias="signs"))["kid"]
    sigs = []
    for _ in range(18):
        sigs.append({"data": DATA, "sig": (await sign(post))["sig"]})
        kid = (await rotate(kid))["kid"]
    results = (await post("/verify/batch", {"alias": "signs", "items": sigs}))["results"]
    assert [one["valid"] for one in results] == [False] * 2 + [True] * 16


@pytest.mark.each_store
async def test_which_keys_are_rotated(client, generate, post, rotate):
    kid = (await generate(alias="a"))["kid"]
    path = f"/key/{kid}/rotate"
    for state in ("verify-only", "disabled"):
        await patch(client, kid, state=state)
        problem = await refused(await client.post(path), 409, "key-not-usable")
        assert state in problem["detail"]
    await patch(client, kid, state="enabled")
    assert (await client.delete(f"/key/{kid}?after=1h")).status == 200
    await refused(await client.post(path), 409, "key-not-usable")
    assert (await client.post(f"/key/{kid}/restore")).status == 200
    await refused(await client.post("/key/unknown/rotate"), 404, "key-not-found")
    await client.post("/profile", json={"name": "other"})
    there = {"X-Profile": "other"}
    await refused(await client.post(path, headers=there), 404, "key-not-found")
    jwk = (await generate("p256"))["jwk"]
    response = await client.post("/key/import", json={"jwk": jwk}, headers=there)
    public = f"/key/{(await response.json())['kid']}/rotate"
    await refused(await client.post(public, headers=there), 422, "unsupported-operation")
    # An expired key has to be replaced.
    await patch(client, kid, expires="2001-01-01T00:00:00Z")
    new = await rotate(kid)
    assert (new["state"], new["aliases"], new["expires"]) == ("enabled", ["a"], None)
    await refused(await client.post(path), 409, "key-not-usable")


async def test_other_keys_are_made_while_a_slow_one_is(generate, rotate):
    old = await generate("rsa4096")
    rotation = asyncio.create_task(rotate(old["kid"]))
    await generate()
    assert not rotation.done()
    assert (await rotation)["alg"] == "rsa4096"


@pytest.mark.parametrize("call", ["rotate", "restore"])
async def test_a_call_without_a_body(client, generate, call):
    path = f"/key/{(await generate())['kid']}/{call}"
    for origin in ("https://example.com", "null", f"http://example.com.{client.host}"):
        response = await client.post(path, headers={"Origin": origin})
        await refused(response, 415, "unsupported-media-type")
    page = {"Origin": "https://example.com"}
    await refused(
        await client.post(path, data="{}", headers=page | {"Content-Type": "text/plain"}),
        415,
        "unsupported-media-type",
    )
    await refused(await client.post(path, json={"alg": "p256"}), 422, "validation-failed")
    await refused(await client.post(path, json=[]), 422, "validation-failed")
    await refused(
        await client.post(path, data="{", headers={"Content-Type": "application/json"}),
        400,
        "malformed-json",
    )
    assert len(await (await client.get("/keys")).json()) == 1
    assert (await client.post(path, json={})).status == 200


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/json"}])
async def test_a_call_without_a_body_from_the_documents_page(client, generate, headers):
    path = f"/key/{(await generate())['kid']}/rotate"
    origin = f"http://{client.host}:{client.port}"
    async with client.post(path, headers={"Origin": origin, **headers}) as response:
        assert response.status == 200
