"""Two services on one store see each other's changes."""

import asyncio
from dataclasses import replace

import pytest
from aries_askar import Store
from waiting import until

from minikms.access.tokens import Tokens
from minikms.errors import (
    AliasNotFound,
    AuditUnavailable,
    KeyExists,
    KeyNotFound,
    ProfileExists,
    ProfileNotFound,
    StoreUnavailable,
)
from minikms.events import CURRENT, AuditEvent
from minikms.key_requests import KeyRef
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.startup_errors import StoreError
from minikms.store.askar import stores as askar
from minikms.store.askar.files import is_open_here
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.sequence import CONTENTS, Sequence, slot_of
from minikms.store.askar.stores import new_raw_key
from minikms.store.categories import PROFILE
from minikms.store.database import Database
from minikms.store.keys.key_store import KeyStore
from minikms.store.profiles.removals import ProfileRemovals

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)
KID = KeyRef(kid="kid-1")


async def test_two_services_see_each_others_writes(stores):
    one, other = stores
    await one.insert(DEFAULT_PROFILE, RECORD, b"secret", ["a"])
    assert (await other.record(DEFAULT_PROFILE, KeyRef(alias="a"))).kid == RECORD.kid
    with pytest.raises(KeyExists):
        await other.insert(DEFAULT_PROFILE, RECORD, b"secret")
    await other.insert(DEFAULT_PROFILE, replace(RECORD, kid="kid-2"), b"secret")
    await other.aliases.bind(DEFAULT_PROFILE, "kid-2", "a")
    assert (await one.record(DEFAULT_PROFILE, KeyRef(alias="a"))).kid == "kid-2"
    assert (await one.record(DEFAULT_PROFILE, KID)).aliases == ()
    listed, _ = await one.listing.page(DEFAULT_PROFILE, limit=10)
    assert [record.kid for record in listed] == ["kid-1", "kid-2"]
    await one.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-2"))
    with pytest.raises(KeyNotFound):
        await other.record(DEFAULT_PROFILE, KeyRef(kid="kid-2"))
    with pytest.raises(AliasNotFound):
        await other.record(DEFAULT_PROFILE, KeyRef(alias="a"))


CALLS = {
    "record": lambda store: store.record("t", KID),
    "open": lambda store: store.open_key("t", KID, lambda _: None),
    "page": lambda store: store.listing.page("t", limit=1),
    "insert": lambda store: store.insert("t", replace(RECORD, kid="kid-2"), b""),
    "bind": lambda store: store.aliases.bind("t", "kid-1", "b"),
    "unbind": lambda store: store.aliases.unbind("t", "kid-1", "a"),
    "label": lambda store: store.change("t", "kid-1", lambda r: replace(r, labels={"a": "b"})),
    "delete": lambda store: store.deletions.delete("t", KeyRef("kid-1")),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_profile_that_the_other_removed(stores, call):
    one, other = stores
    await one.directory.create("t")
    with pytest.raises(ProfileExists):
        await other.directory.create("t")
    for store, kid in ((one, "kid-1"), (other, "kid-3")):
        await store.insert("t", replace(RECORD, kid=kid), b"")
    assert await other.remove_profile("t")
    assert not await one.remove_profile("t")
    with pytest.raises(ProfileNotFound):
        await call(one)
    assert await one.directory.names() == await other.directory.names() == [DEFAULT_PROFILE]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_profile_that_the_other_made_again(stores, call):
    one, other = stores
    await one.directory.create("t")
    await one.insert("t", RECORD, b"old", ["a"])
    await other.remove_profile("t")
    # In SQLite it gets the number that the old one had.
    await other.directory.create("t")
    await other.insert("t", RECORD, b"new", ["a"])
    await call(one)
    if call is CALLS["delete"]:
        assert await other.listing.page("t", limit=1) == ([], False)
    else:
        assert (await other.open_key("t", KID, lambda _: None))[1] == b"new"
        assert await one.listing.page("t", limit=5) == await other.listing.page("t", limit=5)


def does_not_learn(store, known):
    """Let a process know a profile as it did before another one removed it and made it again."""
    counter = store.database.counters.values[known.slot]
    store.database.directory._known["t"] = known._replace(counter=counter)


async def test_an_entry_that_is_not_found_is_looked_for_in_the_profile_that_was_made_again(stores):
    one, other = stores
    await one.directory.create("t")
    await one.insert("t", RECORD, b"old")
    known = one.database.directory._known["t"]
    await other.remove_profile("t")
    await other.directory.create("t")
    await other.insert("t", RECORD, b"new")
    does_not_learn(one, known)
    values = one.database.counters.values  # it has not learned that the last place is another
    counters = (values[slot_of(*entry)] for entry in ((CONTENTS, "t"), (PROFILE, "t")))
    one.database._writes._sequences[known.askar_profile] = Sequence(1), *counters
    await one.database.write("t", lambda session: session.remove("minikms.key", "kid-1"))
    assert await other.listing.page("t", limit=1) == ([], False)


@pytest.mark.parametrize("full", [False, True], ids=["empty", "with keys"])
@pytest.mark.parametrize("call", ["insert", "bind", "unbind", "label", "delete"])
async def test_a_write_goes_into_the_profile_that_was_made_again(stores, call, full):
    """Though the process has not learned of it: in SQLite, its session would be on that number."""
    one, other = stores
    await one.directory.create("t")
    await one.insert("t", RECORD, b"old", ["a"])
    known = one.database.directory._known["t"]
    await other.remove_profile("t")
    await other.directory.create("t")
    if full:
        await other.insert("t", RECORD, b"new", ["a"])
    does_not_learn(one, known)
    if full or call == "insert":
        await CALLS[call](one)
    else:
        with pytest.raises(KeyNotFound):
            await CALLS[call](one)
    assert one.database.directory.known("t") != known.askar_profile
    kids = ["kid-1"] * (full and call != "delete") + ["kid-2"] * (call == "insert")
    listed, _ = await other.listing.page("t", limit=5)
    assert [record.kid for record in listed] == kids
    for kid in kids:
        expected = b"new" if kid == "kid-1" else b""
        assert (await other.open_key("t", KeyRef(kid), lambda _: None))[1] == expected
    # Nothing is left in the old one, in which the other process would not find it.
    await other.insert("t", replace(RECORD, kid="kid-3"), b"")
    listed, _ = await other.listing.page("t", limit=5)
    places = [int(record.seq) for record in listed]
    assert places == sorted(set(places))


@pytest.mark.parametrize("again", [False, True], ids=["removed", "made again"])
async def test_the_sealing_key_of_a_removed_profile_is_forgotten(stores, again):
    one, other = stores
    await one.directory.create("t")
    await one.insert("t", RECORD, b"secret")
    sealing_keys, removed = one.database._calls.sealing_keys, one.database.directory.known("t")
    assert removed in sealing_keys
    await other.remove_profile("t")
    if again:
        await other.directory.create("t")
    with pytest.raises(KeyNotFound if again else ProfileNotFound):
        await one.open_key("t", KID, lambda _: None)
    assert removed not in sealing_keys


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_profile_whose_number_another_has_now(stores, call):
    one, other = stores
    await one.directory.create("t")
    await one.insert("t", RECORD, b"secret", ["a"])
    await other.remove_profile("t")
    await other.directory.create("u")
    with pytest.raises(ProfileNotFound):
        await call(one)
    assert await other.listing.page("u", limit=1) == ([], False)
    await other.insert("u", RECORD, b"", ["a"])


async def test_a_removal_that_was_cut_short(stores, monkeypatch):
    one, other = stores
    await one.directory.create("t")
    await one.insert("t", RECORD, b"secret")
    with monkeypatch.context() as patch:

        async def killed(*args):
            raise KeyboardInterrupt

        patch.setattr(ProfileRemovals, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            await one.remove_profile("t")
    for store in stores:
        assert await store.directory.names() == [DEFAULT_PROFILE]
        with pytest.raises(ProfileNotFound):
            await store.record("t", KID)
    await other.directory.create("t")
    with pytest.raises(KeyNotFound):
        await one.record("t", KID)
    directory = other.database.directory
    for removed in await directory.removals.pending():
        await directory.removals.erase(removed)
    assert await directory.removals.pending() == []
    assert len(await one._database._pool.store.list_profiles()) == 3


async def test_one_profile_is_made_by_many(stores):
    calls = [store.directory.create("t") for store in stores * 8]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == [
        "NoneType",
        *["ProfileExists"] * 15,
    ]
    assert len(await stores[0]._database._pool.store.list_profiles()) == 3


async def test_a_service_knows_its_own_change_of_settings_at_once(stores):
    """Nothing is read in between: the rate of a profile counts before that."""
    directory = stores[0].database.directory
    await directory.create("t")
    await directory.change("t", {"calls_per_second": 3})
    assert directory.calls_per_second == {"t": 3}
    assert directory.settings["t"].calls_per_second == 3
    await directory.change("t", {"calls_per_second": None})
    assert (directory.calls_per_second, directory.settings) == ({}, {})


async def test_a_profile_whose_line_cannot_be_written_leaves_nothing(stores):
    def full(events, outcome):
        raise AuditUnavailable()

    store = stores[0]
    before = await store.database.directory.askar_profiles()
    outer = CURRENT.set(AuditEvent("createProfile", full))
    with pytest.raises(AuditUnavailable):
        await store.directory.create("t")
    CURRENT.reset(outer)
    assert await store.database.directory.askar_profiles() == before
    await store.directory.create("t")


async def test_keys_of_both_are_counted_in_one_order(stores):
    async def make(store, name):
        for n in range(10):
            kid = f"{name}-{n}"
            await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=kid), b"", [f"of {kid}"])

    await asyncio.gather(*(make(stores[n % 2], str(n)) for n in range(6)))
    records, more = await stores[0].listing.page(DEFAULT_PROFILE, limit=100)
    assert ([int(record.seq) for record in records], more) == (list(range(1, 61)), False)


@pytest.mark.parametrize(("stored", "layout"), [("5", "5.0"), ("4_1", "4.1")])
async def test_a_layout_of_a_later_version(persistent_url, key, stores, stored, layout):
    async with stores[0]._database._pool.store.session() as session:
        await session.replace("minikms.store", "layout", stored)
    with pytest.raises(StoreError, match=f"layout {layout} of a newer"):
        async with KeyStore.open(StoreLocation.parse(persistent_url), key):
            pass


async def test_a_store_that_was_never_finished(persistent_url, key):
    location = StoreLocation.parse(persistent_url)
    async with Database.create(location, key) as database:
        await database.directory.create("begun")
    with pytest.raises(StoreError, match="never finished"):
        async with KeyStore.open(location, key):
            pass
    async with KeyStore.create(location, key) as store:
        assert await store.directory.names() == [DEFAULT_PROFILE]
    with pytest.raises(StoreError, match="already"):
        async with KeyStore.create(location, key):
            pass
    with pytest.raises(StoreError, match="already"):
        async with KeyStore.create(location, StoreKey(new_raw_key())):
            pass


async def test_connections_that_are_not_released(stores, monkeypatch):
    store, release = stores[0], asyncio.Event()
    monkeypatch.setattr(store._database._pool, "acquire_timeout", 0.2)

    async def hold():
        async with store._database._calls.held():
            await release.wait()

    connections = store.database.pool.connections
    holding = [asyncio.create_task(hold()) for _ in range(connections)]
    await asyncio.sleep(0)
    for call in (
        store.listing.page(DEFAULT_PROFILE, limit=1),
        store.insert(DEFAULT_PROFILE, RECORD, b""),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            await call
        assert caught.value.headers == {"Retry-After": "1"}
    monkeypatch.setattr(store._database._pool, "acquire_timeout", 20)
    late = asyncio.create_task(store.insert(DEFAULT_PROFILE, RECORD, b""))
    await until("a call that waits", lambda: store._database._pool.waiting)
    release.set()
    assert (await late).kid == RECORD.kid
    await asyncio.gather(*holding)


async def test_a_store_closes_after_calls_that_nobody_waits_for(persistent_url, key):
    location = StoreLocation.parse(persistent_url)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(session):
        begun.set()
        await asyncio.sleep(0.2)
        await session.insert("test", "late", b"written")
        ended.set()

    async with Database.create(location, key) as database:
        await database.finish()
        caller = asyncio.create_task(database.run_own(work, write=True))
        await begun.wait()
        caller.cancel()
    assert ended.is_set()
    async with Database.open(location, key) as database:
        found = await database.run_own(lambda session: session.fetch("test", "late"))
    assert found.value == b"written"


async def test_a_file_is_closed_however_long_its_disk_takes(sqlite, key, monkeypatch):
    close = Store.close

    async def slow(store):
        await asyncio.sleep(1)
        return await close(store)

    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with Database.open(location, key, timeout=0.1):
        monkeypatch.setattr(Store, "close", slow)
        assert is_open_here(sqlite)
    assert not is_open_here(sqlite)


async def test_a_file_is_closed_right_after_a_session(sqlite, key):
    """Askar's own `close` leaves the file open in one of four cases."""
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    for _ in range(40):
        store = await askar.open_store(location, key)
        async with store.session() as session:
            await session.count("test")
        await askar.close_store(store, location)
        assert not is_open_here(sqlite)


async def test_a_file_has_one_writer_at_a_time_whatever_the_profile(sqlite, key, monkeypatch):
    monkeypatch.setattr(
        "minikms.store.connections.pool.ACQUIRE_TIMEOUT", 60
    )  # on a busy machine, too
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as one, KeyStore.open(location, key) as other:
        stores, profiles, writing = (one, other), [f"p{n}" for n in range(8)], set()
        for name in profiles:
            await one.directory.create(name)
            await other.listing.page(name, limit=1)  # so that none is looked up below

        async def watch():
            while True:
                writing.add(sum(store.database.pool.in_use for store in stores))
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        names = [f"k{n}" for n in range(8)]
        writes = [
            store.insert(profile, replace(RECORD, kid=f"{name}-{number}"), b"secret")
            for name in names
            for number, store in enumerate(stores)
            for profile in profiles
        ]
        await asyncio.gather(*writes)
        watching.cancel()
        assert writing == {0, 1}
        for name in profiles:
            assert len((await one.listing.page(name, limit=100))[0]) == 2 * len(names)


async def test_a_look_at_a_profile_during_its_change_does_not_outlast_it(sqlite, key):
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as one, KeyStore.open(location, key) as other:
        directory = other.database.directory
        async with one.database.counters.changing([slot_of(PROFILE, DEFAULT_PROFILE)]):
            await other.listing.page(DEFAULT_PROFILE, limit=1)
            assert directory.known(DEFAULT_PROFILE) is None  # until it is changed, or for ever
        await other.listing.page(DEFAULT_PROFILE, limit=1)
        assert directory.known(DEFAULT_PROFILE) is not None


async def test_no_token_outlives_a_profile_that_it_names_twice(stores):
    directory, tokens = stores[0].database.directory, Tokens(stores[0].database)
    await directory.create("a")
    await tokens.create("t", ("sign",), ("a", "a"))
    await tokens.create("u", ("sign",), ("a", "b", "a"))
    assert await directory.remove("a")
    assert [(one.name, one.profiles) async for one in tokens.all_records()] == [("u", ("b",))]


async def test_a_removal_that_fails_halfway_does_not_say_that_nothing_was_changed(
    stores, monkeypatch
):
    """A disk that is full from the second transaction on, which is hard to cause in time."""
    store = stores[0]
    await store.directory.create("a")
    answers = iter([None])

    def require_room(_):
        if next(answers, "full") == "full":
            raise StoreUnavailable("The key store's disk is full.")

    with monkeypatch.context() as patched:
        patched.setattr("minikms.store.connections.pool.StorePool.require_room", require_room)
        with pytest.raises(StoreUnavailable) as caught:
            await store.remove_profile("a")
    assert caught.value.outcome == "unknown"
    assert "Nothing was changed" not in caught.value.detail
    assert await store.directory.names() == [DEFAULT_PROFILE]
    await store.directory.create("a")
