"""Labels and aliases that come and go."""

from urllib.parse import urlencode

import pytest
from http_answers import pages
from problems import refused

pytestmark = pytest.mark.shared_service


async def kids(client, *query):
    async with client.get("/keys?" + urlencode(query)) as response:
        assert response.status == 200
        return [key["kid"] for key in await response.json()]


@pytest.mark.each_store
async def test_a_listing_filters_by_labels(client, generate):
    one = (await generate(labels={"env": "prod", "team": "a"}))["kid"]
    two = (await generate("p256", labels={"env": "prod", "team": "b", "url": "https://x/,y"}))[
        "kid"
    ]
    three = (await generate(labels={"env": "test"}))["kid"]
    assert await kids(client, ("label", "env:prod")) == [one, two]
    assert await kids(client, ("label", "env:test")) == [three]
    assert await kids(client, ("label", "env:prod"), ("label", "team:b")) == [two]
    assert await kids(client, ("label", "env:prod"), ("label", "env:test")) == []
    assert await kids(client, ("label", "url:https://x/,y")) == [two]
    assert await kids(client, ("label", "env:prod"), ("alg", "p256")) == [two]
    assert await kids(client, ("label", "env:")) == []
    await client.post(f"/key/{two}/associate", json={"alias": "it"})
    assert await kids(client, ("label", "team:b"), ("alias", "it")) == [two]
    assert await kids(client, ("label", "team:a"), ("alias", "it")) == []


@pytest.mark.each_store
async def test_names_that_json_escapes(client, generate):
    names = ['"', "\\", '\\"', "%22", "%5C", "22", "é\u2028", "$and", "~seq"]
    made = [(await generate(labels={name: '\\"'}))["kid"] for name in names]
    for name, kid in zip(names, made, strict=True):
        assert await kids(client, ("label", f'{name}:\\"')) == [kid]


@pytest.mark.each_store
async def test_the_filters_go_along_with_the_pages(client, generate):
    made = [(await generate(labels={"a": "b"}))["kid"] for _ in range(3)]
    await generate()
    found = await pages(client, "/keys?limit=1&label=a:b&alg=Ed25519")
    assert found == [[kid] for kid in made]


@pytest.mark.each_store
async def test_patch_puts_other_labels_in_their_place(client, get, generate):
    key = await generate(labels={"a": "1", "b": "2"}, alias="it")
    async with client.patch(f"/key/{key['kid']}", json={"labels": {"b": "3"}}) as response:
        assert await response.json() == key | {"labels": {"b": "3"}}
    assert await kids(client, ("label", "a:1")) == []
    assert await kids(client, ("label", "b:3")) == [key["kid"]]
    assert (await get("/key?alias=it"))["labels"] == {"b": "3"}
    async with client.patch(f"/key/{key['kid']}", json={"labels": {}}) as response:
        assert (await response.json())["labels"] == {}
    await client.post("/profile", json={"name": "other"})
    body, there = {"labels": {}}, {"X-Profile": "other"}
    response = await client.patch(f"/key/{key['kid']}", json=body, headers=there)
    await refused(response, 404, "key-not-found")
    await refused(await client.patch("/key/unknown", json=body), 404, "key-not-found")


@pytest.mark.parametrize(
    "labels",
    [None, [], "text", {"a": 1}, {"a": None}, {"a": {}}, {"": "x"}, {"a:b": "x"}, {"a\n": "x"},
     {"a": "x\u0000"}, {"n" * 385: "x"}, {"a": "x" * 8193}, {str(n): "x" for n in range(65)}],
)  # fmt: skip
async def test_labels_that_are_none(client, generate, labels):
    kid = (await generate())["kid"]
    for response in (
        await client.patch(f"/key/{kid}", json={"labels": labels}),
        await client.post("/key/generate", json={"alg": "ed25519", "labels": labels}),
    ):
        await refused(response, 422, "validation-failed")


@pytest.mark.each_store
async def test_the_most_and_longest_labels_are_kept(client, generate):
    longest = "\U0001f511" * 384, "x" * 8192  # percent-encoded, within the bound of a head
    labels = {str(n): "" for n in range(62)} | {"é": "é" * 8192} | dict([longest])
    assert (await generate(labels=labels))["labels"] == labels
    assert len(await kids(client, ("label", ":".join(longest)))) == 1
    assert len(await kids(client, ("label", "7:"))) == 1


@pytest.mark.parametrize("text", ["", "a", ":", ":b", "a:\x00", "n" * 385 + ":b"])
async def test_a_filter_that_is_no_label(client, text):
    await refused(await client.get("/keys?" + urlencode({"label": text})), 422, "validation-failed")


@pytest.mark.each_store
async def test_a_dissociated_alias_names_nothing(client, get, generate):
    one, two = (await generate())["kid"], (await generate())["kid"]
    for alias in ("did:example:1#a", "also"):
        await client.post(f"/key/{one}/associate", json={"alias": alias})
    path = f"/key/{one}/associate?" + urlencode({"alias": "did:example:1#a"})
    await refused(await client.delete(path.replace(one, two)), 404, "alias-not-found")
    await refused(await client.delete(path.replace(one, "unknown")), 404, "key-not-found")
    await client.post("/profile", json={"name": "other"})
    there = {"X-Profile": "other"}
    await refused(await client.delete(path, headers=there), 404, "key-not-found")
    async with client.delete(path) as response:
        assert response.status == 200
        assert await response.json() == {"alias": "did:example:1#a", "kid": one}
    await refused(await client.delete(path), 404, "alias-not-found")
    await refused(await client.delete(f"/key/{one}/associate"), 422, "validation-failed")
    assert (await get(f"/key/{one}"))["aliases"] == ["also"]
    async with client.post(f"/key/{two}/associate", json={"alias": "did:example:1#a"}) as response:
        assert response.status == 200
