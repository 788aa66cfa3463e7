import pytest
from problems import refused

DEFAULT = {"X-Profile": "default"}
ALICE = {"X-Profile": "alice"}


@pytest.fixture
async def alice(client):
    """A second tenant."""
    response = await client.post("/profile", json={"name": "alice"})
    assert (response.status, await response.json()) == (200, {"name": "alice", "success": True})


async def names(client):
    return (await (await client.get("/profiles")).json())["profiles"]


async def calls(client, headers, *, kid, alias):
    """Make every call that names a key; return the status and the slug or body of each answer."""
    ref = [{"kid": kid}, {"alias": alias}]
    made = [
        client.get(f"/key/{kid}", headers=headers),
        client.get("/key", params={"alias": alias}, headers=headers),
        client.get("/keys", headers=headers),
        client.get("/keys", params={"alias": alias}, headers=headers),
        *(client.post("/sign", json={**r, "data": ""}, headers=headers) for r in ref),
        *(client.post("/verify", json={**r, "data": "", "sig": ""}, headers=headers) for r in ref),
        client.delete(f"/key/{kid}", headers=headers),
        client.post(f"/key/{kid}/associate", json={"alias": "new"}, headers=headers),
    ]
    answers = []
    for call in made:
        async with call as response:
            # Everything that a caller can tell apart, but for the time and the request's id.
            shown = {k.lower(): v for k, v in response.headers.items()}
            assert {shown.pop("date"), shown.pop("x-request-id")}
            answers.append((response.status, shown, await response.json(content_type=None)))
    return answers


@pytest.mark.each_store
async def test_another_tenants_key_is_as_unknown_as_any(client, generate, alice):
    key = await generate("ed25519", "alice")
    kid = key["kid"]
    unknown = await calls(client, {}, kid="x" * len(kid), alias="hers")
    await client.post(f"/key/{kid}/associate", json={"alias": "hers"}, headers=ALICE)
    assert await calls(client, DEFAULT, kid=kid, alias="hers") == unknown
    kept = await (await client.get("/key", params={"alias": "hers"}, headers=ALICE)).json()
    assert kept == {**key, "aliases": ["hers"], "cose_key": kept["cose_key"]}


@pytest.mark.each_store
async def test_each_tenant_has_aliases_and_listings_of_its_own(client, generate, alice):
    mine, hers = await generate("p256"), await generate("p256", "alice")
    for key, headers in ((mine, DEFAULT), (hers, ALICE)):
        await client.post(f"/key/{key['kid']}/associate", json={"alias": "same"}, headers=headers)
    for key, headers in ((mine, {}), (hers, ALICE)):
        listing = await (await client.get("/keys", headers=headers)).json()
        found = await (await client.get("/key", params={"alias": "same"}, headers=headers)).json()
        assert found.pop("cose_key")
        assert [found] == listing == [{**key, "aliases": ["same"]}]


@pytest.mark.each_store
async def test_a_profile_goes_with_its_keys(client, generate, alice):
    await generate()
    kid = (await generate("ed25519", "alice"))["kid"]
    await client.post(f"/key/{kid}/associate", json={"alias": "a"}, headers=ALICE)
    assert await names(client) == ["alice", "default"]
    gone = await client.delete("/profile/alice")
    assert (gone.status, await gone.json()) == (200, {"success": True})
    assert await names(client) == ["default"]
    for call in await calls(client, ALICE, kid=kid, alias="a"):
        assert (call[0], call[2]["type"]) == (404, "urn:minikms:problem:profile-not-found")
    made = await client.post("/key/generate", json={"alg": "ed25519"}, headers=ALICE)
    await refused(made, 404, "profile-not-found")
    # One of the same name starts empty, and the other profile has lost nothing.
    await client.post("/profile", json={"name": "alice"})
    assert await (await client.get("/keys", headers=ALICE)).json() == []
    await refused(await client.get(f"/key/{kid}", headers=ALICE), 404, "key-not-found")
    found = await client.get("/key", params={"alias": "a"}, headers=ALICE)
    await refused(found, 404, "alias-not-found")
    assert len(await (await client.get("/keys")).json()) == 1


@pytest.mark.each_store
async def test_a_profile_that_is_not_there_is_not_deleted(client, alice):
    for name, was_there in (("alice", True), ("alice", False), ("nobody", False)):
        response = await client.delete(f"/profile/{name}")
        assert (response.status, await response.json()) == (200, {"success": was_there})


@pytest.mark.each_store
async def test_a_profile_that_is_there_is_not_made_again(client, generate, alice):
    kid = (await generate("ed25519", "alice"))["kid"]
    for name in ("alice", "default"):
        response = await client.post("/profile", json={"name": name})
        assert "already exists" in (await refused(response, 400, "profile-exists"))["detail"]
    assert (await client.get(f"/key/{kid}", headers=ALICE)).status == 200


@pytest.mark.each_store
async def test_the_default_profile_stays(client, generate):
    kid = (await generate())["kid"]
    await refused(await client.delete("/profile/default"), 409, "profile-protected")
    assert (await client.get(f"/key/{kid}")).status == 200


@pytest.mark.each_store
@pytest.mark.parametrize("name", ["a", "A", "~!@#$%^&*()[]{}|;:'\"<>,.?/\\`", "x" * 128, "__x__"])
async def test_names_that_can_be_given(client, generate, name):
    headers = {"X-Profile": name}
    assert (await client.post("/profile", json={"name": name})).status == 200
    key = await generate("ed25519", name)
    assert await (await client.get("/keys", headers=headers)).json() == [key]
    assert sorted([name, "default"]) == await names(client)


async def test_malformed_profile_names_are_refused(client, refuses):
    for name in ("", " ", "a b", " a", "a ", "é", "a\n", "a\x00", "x" * 129):
        await refuses("/profile", {"name": name}, 422, "validation-failed")
    assert await names(client) == ["default"]


async def test_names_that_cannot_be_in_a_path(connection):
    for name in ("%20", "a%20b", "%C3%A9", "a%0A", "%00", "x" * 129):
        response = await connection.call("DELETE", f"/profile/{name}")
        assert response.problem() == (422, "validation-failed")


@pytest.mark.each_store
async def test_a_name_in_a_path_may_be_percent_encoded(connection, client):
    await client.post("/profile", json={"name": "a/b%c"})
    response = await connection.call("DELETE", "/profile/a%2Fb%25c")
    assert response.body == b'{"success":true}\n'
