import asyncio
import json
import re

import pytest
from aiohttp import ClientPayloadError
from http_answers import pages
from problems import refused

from minikms.errors import StoreUnavailable
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.write import StoreWriter
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.keys.listing import KeyListing
from minikms.web.state import STORE

NDJSON = {"Accept": "application/x-ndjson"}


async def made(generate, *algs):
    return [(await generate(alg))["kid"] for alg in algs]


@pytest.mark.each_store
@pytest.mark.parametrize(("limit", "sizes"), [(1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (1000, [7])])
async def test_pages_list_each_key_once_in_order_of_creation(client, generate, limit, sizes):
    kids = await made(generate, *["ed25519", "a256gcm", "p256", "x25519"] * 2)
    await client.delete(f"/key/{kids.pop(2)}")
    found = await pages(client, f"/keys?limit={limit}")
    assert [len(page) for page in found] == sizes
    assert [kid for page in found for kid in page] == kids


@pytest.mark.each_store
async def test_the_default_limit_is_a_hundred(client, generate, post):
    keys = (await post("/key/generate/batch", {"alg": "ed25519", "count": 100}))["keys"]
    kids = [*(key["kid"] for key in keys), (await generate())["kid"]]
    assert await pages(client, "/keys") == [kids[:100], kids[100:]]


@pytest.mark.each_store
async def test_naming_a_key_does_not_move_it(client, generate):
    kids = await made(generate, *["ed25519"] * 4)
    for kid in (kids[0], kids[2]):
        await client.post(f"/key/{kid}/associate", json={"alias": f"alias of {kid}"})
    assert await pages(client, "/keys?limit=3") == [kids[:3], kids[3:]]


@pytest.mark.each_store
async def test_keys_made_while_paging_are_listed_at_the_end(client, generate):
    kids = await made(generate, *["ed25519"] * 3)
    async with client.get("/keys?limit=2") as response:
        link = response.headers["Link"]
    kids += await made(generate, "k256")
    await client.delete(f"/key/{kids[1]}")  # the last one of the page that was given
    assert await pages(client, link[1 : link.index(">")]) == [kids[2:]]


@pytest.mark.each_store
async def test_a_listing_filters_by_algorithm_and_alias(client, generate):
    kids = await made(generate, *["k256", "p256"] * 3)
    for alias, kid in zip("abc", kids, strict=False):
        await client.post(f"/key/{kid}/associate", json={"alias": alias})
    assert await pages(client, "/keys?alg=secp256k1&limit=2") == [kids[0:4:2], kids[4::2]]
    assert await pages(client, "/keys?alg=P-256") == [kids[1::2]]
    assert await pages(client, "/keys?alg=c20p") == [[]]
    assert await pages(client, "/keys?alias=b") == [[kids[1]]]
    assert await pages(client, "/keys?alias=b&alg=p256&limit=1") == [[kids[1]]]
    assert await pages(client, "/keys?alias=b&alg=k256") == [[]]
    assert await pages(client, "/keys?alias=nobody") == [[]]


@pytest.mark.each_store
async def test_the_alias_filter_keeps_to_the_cursor(client, generate):
    kids = await made(generate, *["ed25519"] * 3)
    for alias, kid in (("first", kids[0]), ("last", kids[2])):
        await client.post(f"/key/{kid}/associate", json={"alias": alias})
    async with client.get("/keys?limit=1") as response:
        after = re.search(r"after=([^&>]+)", response.headers["Link"])[1]
    assert await pages(client, f"/keys?alias=first&after={after}") == [[]]
    assert await pages(client, f"/keys?alias=last&after={after}") == [[kids[2]]]


@pytest.fixture
def delete_places(client):
    """Make a listing look as after so many deleted keys."""

    async def skip(number):
        database = client.app[STORE].database
        last = await StoreInspector(database).last_seq(DEFAULT_PROFILE)
        await StoreWriter(database).set_last_seq(DEFAULT_PROFILE, last + number)

    return skip


@pytest.mark.each_store
async def test_a_million_deleted_keys(client, get, generate, delete_places):
    kids = []
    for _ in range(3):
        kids.append((await generate("p256", labels={"a": "b"}))["kid"])
        kids += await made(generate, "ed25519", "ed25519")
        await delete_places(1_000_000)
    # Which is written anew, and stays in its place.
    await client.patch(f"/key/{kids[0]}", json={"state": "verify-only"})
    for limit in (1, 4, 9, 1000):
        found = await pages(client, f"/keys?limit={limit}")
        assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
        assert [kid for page in found for kid in page] == kids
    for query in ("alg=p256", "label=a:b", "label=a:b&alg=p256"):
        assert await pages(client, f"/keys?limit=2&{query}") == [kids[0:6:3], kids[6::3]]
    assert await pages(client, "/keys?alg=p256&label=a:c") == [[]]
    async with client.get("/keys", headers=NDJSON) as response:
        assert [json.loads(line)["kid"] async for line in response.content] == kids
    assert [key["kid"] for key in (await get("/jwks.json"))["keys"]] == kids


@pytest.mark.each_store
async def test_keys_that_are_rare_from_the_second_page_on(client, post):
    async def make(count, labels):
        body = {"alg": "hs256", "count": count, "labels": labels}
        return [key["kid"] for key in (await post("/key/generate/batch", body))["keys"]]

    kids = await make(100, {"a": "b"})
    # The first of them ends the range that is read before it shows that they are rare.
    for others in (100, 98, 150, 1):
        await make(others, {})
        kids += await make(1, {"a": "b"})
    for limit in (3, 40, 99, 100):
        expected = [kids[first : first + limit] for first in range(0, len(kids), limit)]
        assert await pages(client, f"/keys?label=a:b&limit={limit}") == expected


@pytest.mark.each_store
async def test_a_profile_whose_keys_were_all_deleted(client, generate, delete_places):
    await delete_places(1_000_000)
    assert await pages(client, "/keys") == [[]]
    (kid,) = await made(generate, "ed25519")
    assert await pages(client, "/keys?limit=1") == [[kid]]
    assert await pages(client, "/keys?limit=1&after=00000000000000500000") == [[kid]]


NOT_LIMITS = ["0", "1001", "-1", "abc", "1_0", "%2B1", "+1", "1.0", "1e1", "", "%201", "1%0A"]
NOT_LIMITS += ["%D9%A1", "9" * 5000]
WRONG = {
    "limit": NOT_LIMITS,
    "after": ["", "x", "AAAA", "%00", "%FF", "=", "a" * 5000],
    "alias": ["", "%00", "a%0A", "%7F", "%C2%85", "a" * 4097],
}


@pytest.mark.parametrize("parameter", WRONG)
async def test_parameters_that_are_none(client, parameter):
    for value in WRONG[parameter]:
        response = await client.get(f"/keys?{parameter}={value}")
        body = await refused(response, 422, "validation-failed")
        assert [error["pointer"] for error in body["errors"]] == [f"#/{parameter}"]


async def test_a_listing_by_an_unknown_algorithm_is_refused(client):
    for alg in ("", "nope", "%FF", "%00", "--", "ed25519%0A", "a" * 5000):
        await refused(await client.get(f"/keys?alg={alg}"), 422, "unsupported-algorithm")


@pytest.mark.each_store
async def test_all_keys_as_lines(client, post):
    for _ in range(10):
        for alg, odd in (("a256gcm", "0"), ("ed25519", "1")):
            body = {"alg": alg, "count": 6, "labels": {"odd": odd}}
            await post("/key/generate/batch", body)
    pages = await (await client.get("/keys", params={"limit": 1000})).json()
    for query, wanted in (
        ({}, pages),
        ({"alg": "ed25519"}, [key for n, key in enumerate(pages) if n // 6 % 2]),
        ({"label": "odd:0"}, [key for n, key in enumerate(pages) if not n // 6 % 2]),
        ({"alias": "unknown"}, []),
    ):
        async with client.get("/keys", params=query, headers=NDJSON) as response:
            assert (response.status, response.content_type) == (200, "application/x-ndjson")
            assert "Link" not in response.headers
            assert [json.loads(line) async for line in response.content] == wanted


@pytest.mark.each_store
async def test_lines_of_a_profile_that_is_not_there(client):
    response = await client.get("/keys", headers={**NDJSON, "X-Profile": "nobody"})
    await refused(response, 404, "profile-not-found")


@pytest.mark.each_store
async def test_lines_over_several_pages_that_break_off(client, generate, monkeypatch):
    monkeypatch.setattr("minikms.keys.described_keys._PAGE", 4)
    await asyncio.gather(*(generate(profile="default") for _ in range(10)))
    async with client.get("/keys", headers=NDJSON) as response:
        assert len((await response.text()).splitlines()) == 10

    # A store that goes away between two pages.
    page, asked = KeyListing.page, []

    async def fails_later(self, *args, **options):
        asked.append(options["after"])
        if len(asked) == 3:
            raise StoreUnavailable
        return await page(self, *args, **options)

    monkeypatch.setattr(KeyListing, "page", fails_later)
    async with client.get("/keys", headers=NDJSON) as response:
        assert response.status == 200
        with pytest.raises(ClientPayloadError):
            await response.read()
    assert (await client.get("/healthz")).status == 200
