"""The same key imported again: refused, or kept as it is."""

import pytest
from algorithm_facts import named
from problems import refused

from minikms.key_requests import KeyRef
from minikms.web.state import STORE

pytestmark = pytest.mark.shared_service

ED25519 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
PRIVATE = {**ED25519, "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}
KEEP = {"if_exists": "keep"}


@pytest.fixture
def again(client):
    """Import a key; if it exists, keep it."""

    async def call(body=None, **options):
        return await client.post(
            "/key/import", json={**(body or {"jwk": PRIVATE}), **KEEP, **options}
        )

    return call


@pytest.mark.each_store
async def test_an_existing_key_is_refused_unless_it_may_be_kept(refuses, post, again, all_keys):
    options = {"alias": "a", "labels": {"n": "1"}, "operations": ["sign"], "exportable": True}
    first = await (await again(**options)).json()  # a key that does not exist is stored
    assert (first["aliases"], first["exportable"]) == (["a"], True)
    for body in ({"jwk": PRIVATE}, {"jwk": PRIVATE, "if_exists": "refuse", "alias": "b"}):
        await refuses("/key/import", body, 409, "key-exists")
    for _ in range(2):
        assert await (await again(**options)).json() == first
    # Only its alias changes.
    other = {"labels": {}, "operations": ["verify"], "exportable": False}
    other["expires"] = "2030-01-01T00:00:00Z"
    assert await (await again(**other)).json() == first
    assert await (await again(**other, alias="b")).json() == first | {"aliases": ["a", "b"]}
    assert await all_keys() == [first | {"aliases": ["a", "b"]}]
    assert (await post("/sign", {"alias": "b", "data": ""}))["kid"] == first["kid"]


@pytest.mark.parametrize("alg", named(lambda facts: "jwk" in facts.imports))
async def test_every_algorithm_and_form_is_imported_again(client, generate, again, all_keys, alg):
    key = await generate(alg, exportable=True)
    jwk = (await (await client.get(f"/key/{key['kid']}/export")).json())["jwk"]
    if key["jwk"] is None:  # a random kid: it is another key each time
        kids = {(await (await again({"jwk": jwk, "alg": alg})).json())["kid"] for _ in range(2)}
        assert len(kids | {key["kid"]}) == 3
        return
    unused = {"last_used": None}  # the export was a use
    assert await (await again({"jwk": jwk})).json() | unused == key
    public = await (await again({"jwk": key["jwk"]})).json()
    assert public | unused == key
    assert [each | unused for each in await all_keys()] == [key]


async def test_a_key_is_kept_if_imported_in_another_form(post, generate, again, all_keys):
    kek = await generate("a256kw")
    wrapped = (await post("/wrap", {"kid": kek["kid"], "key": PRIVATE["d"]}))["wrapped"]
    key = await (await again()).json()
    for form in (
        {"secret": PRIVATE["d"]},
        {"seed": PRIVATE["d"]},
        {"wrapped": wrapped, "unwrap_kid": kek["kid"]},
    ):
        assert await (await again({"alg": "ed25519", **form})).json() == key
    assert [each | {"last_used": None} for each in await all_keys()] == [kek, key]


async def test_an_invalid_key_is_refused_before_if_exists_counts(again):
    await again()
    wrong = PRIVATE | {"d": "A" * 43}
    await refused(await again({"jwk": wrong}), 422, "invalid-key")


@pytest.mark.each_store
async def test_a_public_key_alone_is_not_kept_for_a_private_one(again, all_keys, client):
    public = await (await again({"jwk": ED25519})).json()
    assert await (await again({"jwk": ED25519})).json() == public
    await refused(await again(alias="a"), 409, "key-exists")
    assert await all_keys() == [public]
    await client.delete(f"/key/{public['kid']}")
    assert (await (await again(alias="a")).json())["operations"] == ["sign", "verify"]


@pytest.mark.each_store
async def test_an_alias_that_is_taken(again, generate, all_keys):
    other = await generate(alias="taken")
    key = await (await again()).json()
    refuse = {"alias": "taken", "alias_taken": "refuse"}
    await refused(await again(**refuse), 409, "alias-exists")
    assert await all_keys() == [other, key]
    assert (await (await again(alias="taken")).json())["aliases"] == ["taken"]
    assert (await (await again(**refuse)).json())["aliases"] == ["taken"]
    assert [each["aliases"] for each in await all_keys()] == [[], ["taken"]]


@pytest.mark.each_store
async def test_a_key_that_is_out_of_use_stays_so(client, profile, again, all_keys):
    kid = (await (await again()).json())["kid"]
    await client.patch(f"/key/{kid}", json={"state": "disabled"})
    key = await (await again(alias="a")).json()
    assert (key["state"], key["aliases"]) == ("disabled", ["a"])
    await client.delete(f"/key/{kid}?after=1d")
    key = await (await again(alias="b")).json()
    assert (key["state"], key["aliases"]) == ("disabled", ["a", "b"])
    assert key["deletes"] is not None
    # One whose deletion is due is no longer there.
    await client.app[STORE].deletions.schedule(profile, KeyRef(kid), 1)
    key = await (await again(alias="c")).json()
    assert (key["state"], key["aliases"], key["deletes"]) == ("enabled", ["c"], None)
    assert await all_keys() == [key]


async def test_importing_again_bounds_aliases(with_aliases, again):
    kid = await with_aliases(999, PRIVATE)
    assert (await (await again(alias="last")).json())["kid"] == kid
    await refused(await again(alias="one more"), 422, "too-many-aliases")
    assert (await again(alias="a7")).status == 200


@pytest.mark.parametrize("value", ["", "KEEP", None, True, "move"])
async def test_an_unknown_value_of_if_exists_is_refused(client, again, value):
    body = await refused(await again(if_exists=value), 422, "validation-failed")
    assert [each["pointer"] for each in body["errors"]] == ["#/if_exists"]
