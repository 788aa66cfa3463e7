"""The pages of `GET /profiles`."""

import re

import pytest
from http_answers import bearer, ok
from problems import refused

from minikms.access.callers import SCOPES
from minikms.config import Config
from minikms.serve.assembly import create_service
from minikms.store.askar.sessions import Session
from minikms.store.categories import PROFILE, PUBLISHED
from minikms.store.keys.key_store import KeyStore
from minikms.web.state import STORE, TOKENS


async def pages(client, path, headers=None):
    """The names on every page from `path` on, by its links."""
    found = []
    while path:
        answer = await client.get(path, headers=headers)
        found.append((await ok(answer))["profiles"])
        link = re.fullmatch(r'<(/profiles\?[!-~]+)>; rel="next"', answer.headers.get("Link", ""))
        path = link[1] if link else ""
    return found


async def make(client, *names):
    for name in names:
        await client.app[STORE].directory.create(name)


@pytest.mark.each_store
async def test_pages_follow_each_other_by_name(client):
    await make(client, "c&d", "b", "a/%", "~")
    for query in ("limit=2", "limit=2&include=jwks"):
        assert await pages(client, f"/profiles?{query}") == [
            ["a/%", "b"],
            ["c&d", "default"],
            ["~"],
        ]
    assert await pages(client, "/profiles?limit=5") == [["a/%", "b", "c&d", "default", "~"]]


@pytest.mark.each_store
async def test_a_profile_that_is_deleted_between_pages_hides_no_other(client):
    await make(client, "a", "b", "c")
    await ok(await client.get("/profiles?limit=2"))
    await ok(await client.delete("/profile/b"))
    assert await pages(client, "/profiles?limit=2&after=b") == [["c", "default"]]


@pytest.fixture
def reads(monkeypatch):
    """The categories that are read, in the order of reads."""
    found, fetch, fetch_all = [], Session.fetch, Session.fetch_all

    async def counted(session, category, *args, **options):
        found.append(category)
        return await fetch(session, category, *args, **options)

    async def counted_all(session, category, *args, **options):
        found.append(category)
        return await fetch_all(session, category, *args, **options)

    monkeypatch.setattr(Session, "fetch", counted)
    monkeypatch.setattr(Session, "fetch_all", counted_all)
    return found


async def test_a_page_is_one_read_however_many_profiles_there_are(reads):
    async with KeyStore.open_memory() as store:
        for names in ((), ("a", "b"), ("c", "d", "e")):
            for name in names:
                await store.directory.create(name)
            reads.clear()
            await store.directory.page(None, 100, "")
            assert reads == [PROFILE]


@pytest.mark.each_store
async def test_a_page_reads_no_profile_unless_it_is_asked_about_jwk_sets(client, reads):
    await make(client, "a", "b")
    reads.clear()
    await ok(await client.get("/profiles"))
    assert PUBLISHED not in reads
    await ok(await client.get("/profiles?include=jwks"))
    assert reads.count(PUBLISHED) == 3


async def test_a_caller_for_some_profiles_sees_only_these_across_pages(start, persistent, admin):
    client = await start(
        create_service(Config(**persistent | {"auth": "token", "admin_token_file": admin[1]}))
    )
    await make(client, "a", "b", "c", "d")
    token, _ = await client.app[TOKENS].create("t", SCOPES, profiles=("a", "c", "d"))
    found = await pages(client, "/profiles?limit=2", bearer(token.reveal()))
    assert found == [["a", "c"], ["d"]]


@pytest.mark.parametrize(
    "query", ["after=%20", "after=", f"after={'x' * 129}", "limit=0", "limit=1001", "include=keys"]
)
async def test_parameters_that_are_refused(client, query):
    await refused(await client.get(f"/profiles?{query}"), 422, "validation-failed")
