"""Keys whose deletion was found due stay gone if the clock goes back."""

import time
from dataclasses import replace

import pytest

from minikms.errors import AliasNotFound, KeyNotFound
from minikms.events import CURRENT, AuditEvent
from minikms.key_requests import KeyRef
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.store.askar.location import StoreLocation
from minikms.store.keys.key_store import KeyStore

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)
KID, ALIAS = KeyRef(kid="kid-1"), KeyRef(alias="a")
HOUR = 3_600_000_000_000

CALLS = {
    "record": lambda store: store.record(DEFAULT_PROFILE, KID),
    "alias": lambda store: store.record(DEFAULT_PROFILE, ALIAS),
    "open": lambda store: store.open_key(DEFAULT_PROFILE, KID, lambda _: None),
    "page": lambda store: store.listing.page(DEFAULT_PROFILE, limit=10),
    "bind": lambda store: store.aliases.bind(DEFAULT_PROFILE, "kid-1", "b"),
    "change": lambda store: store.change(DEFAULT_PROFILE, "kid-1", lambda record: record),
    "delete": lambda store: store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1")),
    "restore": lambda store: store.deletions.schedule(DEFAULT_PROFILE, KeyRef("kid-1"), None),
}


@pytest.fixture
def clock(monkeypatch):
    """A clock that can be put forward and back: nanoseconds off the system's."""
    system, off = time.time_ns, [0]
    monkeypatch.setattr(time, "time_ns", lambda: system() + off[0])

    def put(by):
        off[0] = by

    return put


async def is_gone(store, call):
    """Check that calls no longer find the key."""
    try:
        found = await call(store)
    except (KeyNotFound, AliasNotFound):
        return True
    return found == ([RECORD_LEFT], False)


RECORD_LEFT = replace(RECORD, kid="kid-2", seq="2".zfill(20))


BEFORE_1970 = -time.time_ns() - HOUR


@pytest.mark.parametrize("back", [-HOUR, BEFORE_1970], ids=["an hour", "before 1970"])
@pytest.mark.parametrize("seen_by", CALLS)
async def test_a_clock_that_goes_back(persistent_url, key, clock, seen_by, back):
    location = StoreLocation.parse(persistent_url)
    async with KeyStore.create(location, key) as store:
        await store.insert(DEFAULT_PROFILE, RECORD, b"secret", ["a"])
        await store.insert(DEFAULT_PROFILE, replace(RECORD, kid="kid-2"), b"secret")
        await store.deletions.schedule(DEFAULT_PROFILE, KeyRef("kid-1"), time.time_ns() + HOUR)
        assert not await is_gone(store, CALLS["record"])
        clock(2 * HOUR)
        assert await is_gone(store, CALLS[seen_by])
        clock(0)
        for name, call in CALLS.items():
            assert await is_gone(store, call), name
    async with KeyStore.open(location, key) as again, KeyStore.open(location, key) as other:
        clock(back)
        for name, call in CALLS.items():
            assert await is_gone(again, call), name
        assert await other.deletions.due(DEFAULT_PROFILE) == ["kid-1"]
        assert await other.deletions.remove_due(DEFAULT_PROFILE, "kid-1")
        await again.insert(DEFAULT_PROFILE, RECORD, b"secret", ["a"])


async def test_an_unseen_overdue_key_waits_again_when_the_clock_goes_back(sqlite, key, clock):
    async with KeyStore.open(StoreLocation.parse(f"sqlite://{sqlite}"), key) as store:
        await store.insert(DEFAULT_PROFILE, RECORD, b"secret")
        await store.deletions.schedule(DEFAULT_PROFILE, KeyRef("kid-1"), time.time_ns() + HOUR)
        clock(2 * HOUR)
        clock(0)
        assert (
            await store.deletions.schedule(DEFAULT_PROFILE, KeyRef("kid-1"), None)
        ).deletes is None


async def test_many_that_a_listing_leaves_out(sqlite, key, clock):
    async with KeyStore.open(StoreLocation.parse(f"sqlite://{sqlite}"), key) as store:
        for number in range(130):
            kid = f"{number}"
            await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=kid), b"secret")
            await store.deletions.schedule(DEFAULT_PROFILE, KeyRef(kid), time.time_ns() + HOUR)
        clock(2 * HOUR)
        assert await store.listing.page(DEFAULT_PROFILE, limit=10) == ([], False)
        clock(0)
        assert await store.listing.page(DEFAULT_PROFILE, limit=10) == ([], False)
        assert len(await store.deletions.due(DEFAULT_PROFILE)) == 130


async def test_a_note_is_no_change_that_the_call_asked_for(sqlite, key, clock):
    outcomes = []
    async with KeyStore.open(StoreLocation.parse(f"sqlite://{sqlite}"), key) as store:
        await store.insert(DEFAULT_PROFILE, RECORD, b"secret")
        await store.deletions.schedule(DEFAULT_PROFILE, KeyRef("kid-1"), time.time_ns() + HOUR)
        clock(2 * HOUR)
        outer = CURRENT.set(AuditEvent("getKey", lambda events, outcome: outcomes.append(outcome)))
        assert await is_gone(store, CALLS["record"])
        CURRENT.reset(outer)
        clock(0)
        assert await is_gone(store, CALLS["record"])
    assert outcomes == []  # a success would have been recorded
