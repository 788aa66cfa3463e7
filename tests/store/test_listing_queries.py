"""The queries that pages of keys are read by."""

import asyncio
from dataclasses import replace

import pytest
from waiting import until

from minikms.key_requests import KeyPolicy
from minikms.keys.making import describe
from minikms.maintenance.write import StoreWriter
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.sessions import Session
from minikms.store.keys.key_store import KeyStore

HMAC = AlgorithmRegistry.from_installed().get("hs256")
KEYS = 70


@pytest.fixture
async def store():
    """A store with keys at every second place, up to twice their number."""
    async with KeyStore.open_memory() as store:
        writer, keys = StoreWriter(store.database), []
        for place in range(2, 2 * KEYS + 1, 2):
            key = HMAC.generate()
            record = replace(
                describe(HMAC, key, "bytes", KeyPolicy(), HMAC.key_operations), seq=f"{place:020d}"
            )
            keys.append((record, HMAC.pack(key)))
        await writer.insert(DEFAULT_PROFILE, keys)
        await writer.set_last_seq(DEFAULT_PROFILE, 2 * KEYS)
        yield store


async def test_pages_of_any_length_have_few_statements(store, monkeypatch):
    """A connection keeps its last 100 statements, and each length of a query needs its own."""
    lengths = set()
    fetch_all = Session.fetch_all

    async def counting(session, category, tag_filter=None, *args, **options):
        if "$in" in tag_filter.get("~seq", {}):
            lengths.add(len(tag_filter["~seq"]["$in"]))
        return await fetch_all(session, category, tag_filter, *args, **options)

    monkeypatch.setattr(Session, "fetch_all", counting)
    for limit in range(1, 2 * KEYS + 10, 4):
        found, after, more = [], "", True
        while more:
            page, more = await store.listing.page(DEFAULT_PROFILE, limit=limit, after=after)
            assert len(page) <= limit
            found, after = found + page, page[-1].seq
        assert [int(record.seq) for record in found] == list(range(2, 2 * KEYS + 1, 2))
    assert lengths <= {2**exponent for exponent in range(9)}


@pytest.mark.parametrize("few", [1, 512])
async def test_few_keys_that_match_behind_a_cursor(store, monkeypatch, few):
    monkeypatch.setattr("minikms.store.keys.record_queries._FEW", few)
    monkeypatch.setattr("minikms.store.keys.listing._READ", 20)
    monkeypatch.setattr("minikms.store.keys.listing._RARE", 10)
    every, _ = await store.listing.page(DEFAULT_PROFILE, limit=KEYS)
    rare = [every[place] for place in (3, 40, 41, 68)]
    for record in rare:
        await store.change(DEFAULT_PROFILE, record.kid, lambda old: replace(old, labels={"a": "b"}))
    for limit, after, expected in ((20, 10, rare[1:]), (20, 41, rare[3:]), (2, 10, rare[1:3])):
        page, more = await store.listing.page(
            DEFAULT_PROFILE, limit=limit, after=every[after].seq, labels=[("a", "b")]
        )
        assert [record.kid for record in page] == [record.kid for record in expected]
        assert more == (limit == 2)


async def test_listings_of_profiles_with_few_keys_take_turns_by_profile(store, monkeypatch):
    """A tenant that lists again and again delays no other, and uses up only its own places."""
    monkeypatch.setattr(store.listing._sparse, "_most", 5)
    writer, ended = StoreWriter(store.database), []
    for name in ("many", "one"):
        await store.directory.create(name)
        await writer.set_last_seq(name, 1_000_000)
    gate = store.listing._sparse

    async def pages(name):
        assert await store.listing.page(name, limit=1000) == ([], False)
        ended.append(name)

    def waiting():
        return sum(map(len, gate._waiting.values()))

    async with asyncio.TaskGroup() as tasks, gate.held("many"):
        for _ in range(5):
            tasks.create_task(pages("many"))
        await until("listings that wait", lambda: waiting() == 5)
        tasks.create_task(pages("one"))
        await until("another one", lambda: waiting() == 6)
    assert ended.index("one") < 3
    assert len(ended) == 6
