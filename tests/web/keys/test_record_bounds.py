"""The bounds in bytes of labels, aliases, and pages of a listing."""

import json
import re
from dataclasses import replace

import pytest
from problems import refused

from minikms.config import Config
from minikms.key_bounds import MAX_ALIAS_BYTES, MAX_BATCH_BYTES, MAX_LABEL_BYTES
from minikms.key_requests import KeyPolicy
from minikms.keys.making import describe
from minikms.plugin.registry import AlgorithmRegistry
from minikms.serve.assembly import create_service
from minikms.startup_errors import SeedError
from minikms.store.keys.record_queries import MAX_PAGE_BYTES
from minikms.web.app import create_runner
from minikms.web.state import STORE

SECRET = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"


def labels_of(size):
    """Labels that have so many bytes together, some in characters of two."""
    labels, room = {}, size
    while room:
        name = f"label{len(labels):02}"
        length = min(room - len(name), 8190)
        wide = min(length // 2, 1000)
        labels[name] = "é" * wide + "x" * (length - 2 * wide)
        room -= len(name) + length
    return labels


def aliases_of(size):
    """Aliases of 16 KiB that have so many bytes together."""
    return [chr(0x10000 + place) + "🔑" * 4095 for place in range(size // (16 * 1024))]


LARGEST, TOO_LARGE = labels_of(MAX_LABEL_BYTES), labels_of(MAX_LABEL_BYTES + 1)


@pytest.fixture
def insert(client, profile):
    """Store HMAC keys with these aliases or labels, as an earlier version might have left them."""
    algorithm = AlgorithmRegistry.from_installed().get("hs256")

    async def store(number=1, **facts):
        keys = []
        for _ in range(number):
            key = algorithm.generate()
            record = describe(algorithm, key, "bytes", KeyPolicy(), algorithm.key_operations)
            keys.append((replace(record, **facts), algorithm.pack(key)))
        await client.app[STORE].insert_all(profile, keys)
        return [record.kid for record, _ in keys]

    return store


async def keys_of(client):
    async with client.get("/keys?limit=1000") as response:
        return await response.json()


@pytest.mark.shared_service
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/key/generate", {"alg": "ed25519"}),
        ("/key/generate/batch", {"alg": "ed25519", "count": 1}),
        ("/key/import", {"alg": "ed25519", "secret": SECRET}),
    ],
)
async def test_labels_of_a_new_key(client, refuses, post, path, body):
    await refuses(path, {**body, "labels": TOO_LARGE}, 422, "too-large-record")
    assert await keys_of(client) == []
    await post(path, {**body, "labels": LARGEST})
    assert [key["labels"] for key in await keys_of(client)] == [LARGEST]


@pytest.mark.shared_service
async def test_labels_of_an_imported_public_key(refuses, post, generate):
    jwk = (await generate(profile="default"))["jwk"]
    await refuses("/key/import", {"jwk": jwk, "labels": TOO_LARGE}, 422, "too-large-record")
    await post("/key/import", {"jwk": jwk, "labels": LARGEST})


@pytest.mark.shared_service
async def test_labels_that_a_key_gets(client, get, generate):
    path = f"/key/{(await generate(labels={'a': 'b'}))['kid']}"
    response = await client.patch(path, json={"labels": TOO_LARGE})
    await refused(response, 422, "too-large-record")
    assert (await get(path))["labels"] == {"a": "b"}
    async with client.patch(path, json={"labels": LARGEST}) as response:
        assert (await response.json())["labels"] == LARGEST


@pytest.mark.shared_service
async def test_labels_of_a_batch(client, refuses, post):
    labels = {"a": "x" * 8191}
    most = MAX_BATCH_BYTES // 8192
    body = {"alg": "ed25519", "labels": labels}
    await refuses("/key/generate/batch", {**body, "count": most + 1}, 422, "too-large-record")
    assert await keys_of(client) == []
    made = await post("/key/generate/batch", {**body, "count": most})
    assert len(made["keys"]) == most


@pytest.mark.each_store
@pytest.mark.shared_service
async def test_aliases_of_a_key(client, refuses, get, generate):
    kid = (await generate())["kid"]
    path = f"/key/{kid}/associate"
    *aliases, last = aliases_of(MAX_ALIAS_BYTES)
    for alias in [*aliases, last[:-1]]:
        assert (await client.post(path, json={"alias": alias})).status == 200
    other = await generate(alias="another's")
    for alias in ("another's", "fifth"):
        await refuses(path, {"alias": alias}, 422, "too-large-record")
    assert (await get("/key?alias=another's"))["kid"] == other["kid"]
    assert (await client.post(path, json={"alias": "four"})).status == 200
    assert (await get(f"/key/{kid}"))["aliases"] == [*aliases, last[:-1], "four"]


@pytest.mark.shared_service
async def test_alias_of_an_import_of_a_key_that_exists(refuses, post):
    body = {"alg": "ed25519", "secret": SECRET, "if_exists": "keep"}
    for alias in aliases_of(MAX_ALIAS_BYTES):
        await post("/key/import", {**body, "alias": alias})
    await refuses("/key/import", {**body, "alias": "one more"}, 422, "too-large-record")


@pytest.mark.parametrize(
    "large", [{"labels": TOO_LARGE}, {"aliases": [*aliases_of(MAX_ALIAS_BYTES), "one more"]}]
)
async def test_seeds_with_too_large_records_are_refused(tmp_path, large):
    file = tmp_path / "seeds.json"
    good = {"alg": "ed25519", "secret": SECRET}
    file.write_text(json.dumps({"keys": [good, {"alg": "p256", "secret": SECRET, **large}]}))
    runner = create_runner(create_service(Config(seed_keys=str(file))))
    with pytest.raises(SeedError, match=r"keys\[1\]: All (labels|aliases) of a key have at most"):
        await runner.setup()
    await runner.cleanup()


@pytest.mark.each_store
@pytest.mark.shared_service
async def test_a_key_of_an_earlier_version_that_is_larger(client, get, post, insert):
    larger = labels_of(MAX_LABEL_BYTES * 5 // 4)
    (kid,) = await insert(labels=larger)
    path = f"/key/{kid}"
    for _ in range(2):
        assert (await get(path))["labels"] == larger
    assert [key["kid"] for key in await keys_of(client)] == [kid]
    await post("/mac", {"kid": kid, "data": ""})
    async with client.patch(path, json={"state": "verify-only"}) as response:
        assert (await response.json())["labels"] == larger
    assert (await client.patch(path, json={"state": "enabled"})).status == 200
    await refused(await client.post(f"{path}/rotate"), 422, "too-large-record")
    grown = {"labels": larger | {"one": "more"}}
    await refused(await client.patch(path, json=grown), 422, "too-large-record")
    fewer = dict(list(larger.items())[:-1])
    assert (await client.patch(path, json={"labels": fewer})).status == 200
    assert (await client.patch(path, json={"labels": LARGEST})).status == 200
    assert (await client.post(f"{path}/rotate")).status == 200


# Pages


async def pages(client, path):
    """The kids of every page from `path` on, by its links, and how many bytes each page has."""
    found, sizes = [], []
    while path:
        async with client.get(path) as response:
            assert response.status == 200
            sizes.append(len(await response.read()))
            found.append([key["kid"] for key in await response.json()])
            link = re.fullmatch(r'<(/keys\?[!-~]+)>; rel="next"', response.headers.get("Link", ""))
        path = link and link[1]
    return found, sizes


@pytest.mark.each_store
async def test_a_page_ends_where_its_keys_are_large(client, insert):
    label = LARGEST | {"a": "b"}
    kids = await insert(200, labels=LARGEST)
    kids += await insert(1, aliases=tuple(aliases_of(2 * MAX_PAGE_BYTES)))
    labelled = await insert(150, labels=label)
    kids += labelled
    found, sizes = await pages(client, "/keys?limit=1000")
    assert [kid for page in found for kid in page] == kids
    most, alone = MAX_PAGE_BYTES, [kids[200]]
    assert all(size <= most for page, size in zip(found, sizes, strict=True) if page != alone)
    assert alone in found
    assert len(found) == 5
    async with client.get("/keys", headers={"Accept": "application/x-ndjson"}) as response:
        lines = (await response.read()).splitlines()
    assert [json.loads(line)["kid"] for line in lines] == kids
    found, sizes = await pages(client, "/keys?limit=1000&label=a:b")
    assert ([kid for page in found for kid in page], len(found)) == (labelled, 2)
    assert max(sizes) <= most
    found, sizes = await pages(client, "/keys?limit=90&alg=hs256")
    assert [kid for page in found for kid in page] == kids


@pytest.mark.each_store
async def test_a_page_of_few_keys_that_match_ends_where_they_are_large(client, post, insert):
    """A query of its own reads a few matching keys."""
    label = {"a": "b"} | LARGEST
    kids = await insert(1, labels=label)
    await post("/key/generate/batch", {"alg": "ed25519", "count": 1000})
    await post("/key/generate/batch", {"alg": "ed25519", "count": 1000})
    kids += await insert(150, labels=label)
    found, sizes = await pages(client, "/keys?limit=1000&label=a:b")
    assert ([kid for page in found for kid in page], len(found)) == (kids, 2)
    assert max(sizes) <= MAX_PAGE_BYTES
