"""The limit of aliases, and aliases that are taken, at every call that binds one."""

import secrets

import pytest
from problems import refused
from waiting import SECONDS

from minikms.key_requests import KeyRef
from minikms.web.state import STORE

pytestmark = [pytest.mark.shared_service, pytest.mark.usefixtures("patient")]


@pytest.fixture
def patient(client, monkeypatch):
    """Let writes of a thousand aliases take as long as on a busy machine."""
    monkeypatch.setattr(client.app[STORE].database._pool, "timeout", SECONDS)


@pytest.fixture
def associate(client):
    async def call(kid, alias):
        return await client.post(f"/key/{kid}/associate", json={"alias": alias})

    return call


@pytest.fixture
def aliases_of(client):
    async def call(kid):
        return (await (await client.get(f"/key/{kid}")).json())["aliases"]

    return call


@pytest.mark.each_store
async def test_a_key_has_a_thousand_at_most(client, generate, with_aliases, associate, aliases_of):
    kid = await with_aliases(999)
    assert (await associate(kid, "last")).status == 200
    before = await aliases_of(kid)
    await refused(await associate(kid, "one more"), 422, "too-many-aliases")
    other = await generate(alias="another's")
    await refused(await associate(kid, "another's"), 422, "too-many-aliases")
    # The refused call changed nothing, and aliases that the key already has do not count again.
    assert await aliases_of(kid) == before
    assert await aliases_of(other["kid"]) == ["another's"]
    assert (await associate(kid, "a0")).status == 200
    assert (await client.delete(f"/key/{kid}/associate?alias=a0")).status == 200
    assert (await associate(kid, "one more")).status == 200


@pytest.mark.each_store
async def test_a_rotation_moves_a_thousand(client, with_aliases, aliases_of):
    kid = await with_aliases(1000)
    async with client.post(f"/key/{kid}/rotate") as response:
        assert response.status == 200
        assert len((await response.json())["aliases"]) == 1000
    assert await aliases_of(kid) == []


@pytest.mark.each_store
async def test_a_key_of_an_earlier_version_that_has_more(
    client, with_aliases, associate, aliases_of
):
    kid = await with_aliases(1002)
    await refused(await associate(kid, "one more"), 422, "too-many-aliases")
    await refused(await client.post(f"/key/{kid}/rotate"), 422, "too-many-aliases")
    assert len(await aliases_of(kid)) == 1002
    assert (await (await client.get("/key?alias=a1001")).json())["kid"] == kid
    for alias in ("a0", "a1"):
        assert (await client.delete(f"/key/{kid}/associate?alias={alias}")).status == 200
    assert (await client.post(f"/key/{kid}/rotate")).status == 200


def binding(client, alias, kid, **options):
    """Each call that binds an alias, with these options."""
    options["alias"] = alias
    return {
        "generate": lambda: client.post("/key/generate", json={"alg": "p256", **options}),
        "import": lambda: client.post(
            "/key/import", json={"alg": "a128kw", "secret": "AAECAwQFBgcICQoLDA0ODw", **options}
        ),
        "associate": lambda: client.post(f"/key/{kid}/associate", json=options),
    }


BINDING = list(binding(None, "", ""))


@pytest.mark.each_store
@pytest.mark.parametrize("call", BINDING)
async def test_an_alias_that_is_taken_moves_or_is_refused(client, generate, all_keys, call):
    await generate(alias="taken")
    other = (await generate())["kid"]
    before = await all_keys()
    refuse = binding(client, "taken", other, alias_taken="refuse")[call]
    for _ in range(2):
        await refused(await refuse(), 409, "alias-exists")
    assert await all_keys() == before
    for options in ({"alias_taken": "move"}, {}):
        assert (await binding(client, "taken", other, **options)[call]()).status == 200
        holders = [key["kid"] for key in await all_keys() if "taken" in key["aliases"]]
        found = (await (await client.get("/key?alias=taken")).json())["kid"]
        assert (holders, found == before[0]["kid"]) == ([found], False)


@pytest.mark.each_store
@pytest.mark.parametrize("call", BINDING)
async def test_an_alias_that_is_free_is_bound(client, generate, aliases_of, call):
    kid = (await generate(alias="was here"))["kid"]
    assert (await client.delete(f"/key/{kid}/associate?alias=was here")).status == 200
    for alias in ("free", "was here"):
        bind = binding(client, alias, kid, alias_taken="refuse")[call]
        assert (await bind()).status == 200
        found = await (await client.get("/key", params={"alias": alias})).json()
        assert alias in await aliases_of(found["kid"])


@pytest.mark.each_store
async def test_an_alias_is_removed_only_from_its_own_key(client, generate, aliases_of):
    """Two services may move and remove it at once."""
    kid, other = [(await generate(alias=alias))["kid"] for alias in ("mine", "another's")]
    answer = await client.delete(f"/key/{other}/associate?alias=mine")
    await refused(answer, 404, "alias-not-found")
    assert await aliases_of(kid) == ["mine"]
    assert (await (await client.get("/key?alias=mine")).json())["kid"] == kid
    assert await aliases_of(other) == ["another's"]


async def test_an_alias_of_the_key_itself_is_not_taken(client, generate, aliases_of):
    kid = (await generate(alias="mine"))["kid"]
    again = {"alias": "mine", "alias_taken": "refuse"}
    assert (await client.post(f"/key/{kid}/associate", json=again)).status == 200
    assert await aliases_of(kid) == ["mine"]


async def test_an_alias_of_another_profile_is_not_taken(client, generate):
    other = secrets.token_hex()
    assert (await client.post("/profile", json={"name": other})).status == 200
    await generate(alias="mine")
    await generate(profile=other, alias="mine", alias_taken="refuse")


@pytest.mark.parametrize("call", BINDING)
async def test_the_alias_of_a_key_that_is_out_of_use_is_taken(client, profile, generate, call):
    kid, other = [(await generate(**named))["kid"] for named in ({"alias": "taken"}, {})]
    refuse = binding(client, "taken", other, alias_taken="refuse")[call]
    await client.patch(f"/key/{kid}", json={"state": "disabled"})
    await refused(await refuse(), 409, "alias-exists")
    await client.delete(f"/key/{kid}?after=1d")
    await refused(await refuse(), 409, "alias-exists")
    await client.app[STORE].deletions.schedule(profile, KeyRef(kid), 1)  # due, and not removed yet
    assert (await refuse()).status == 200
    await refused(await client.get(f"/key/{kid}"), 404, "key-not-found")


@pytest.mark.parametrize("value", ["", "MOVE", None, True, "keep"])
async def test_an_unknown_value_of_alias_taken_is_refused(client, generate, value):
    kid = (await generate())["kid"]
    for call in binding(client, "a", kid, alias_taken=value).values():
        body = await refused(await call(), 422, "validation-failed")
        assert [each["pointer"] for each in body["errors"]] == ["#/alias_taken"]


@pytest.mark.parametrize("alias", ["unknown", "did:example:1#key", "mine's"])
async def test_the_problem_of_a_missing_alias_names_it(client, generate, alias):
    kid = (await generate("a256gcm", alias="here"))["kid"]
    jwe = {"plaintext": "AA", "enc": "A256GCM", "recipients": [{"alg": "dir", "alias": alias}]}
    for call in (
        client.get("/key", params={"alias": alias}),
        client.post("/encrypt", json={"alias": alias, "plaintext": "AA"}),
        client.post("/jwe/encrypt", json=jwe),
        client.delete("/key", params={"alias": alias}),
        client.delete(f"/key/{kid}/associate", params={"alias": alias}),
    ):
        problem = await refused(await call, 404, "alias-not-found")
        assert repr(alias) in problem["detail"]
