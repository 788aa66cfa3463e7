"""Two services on one store, and a store that others change or lock."""

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from minikms.errors import (
    AliasNotFound,
    KeyExists,
    KeyNotFound,
    KeyUnreadable,
    ProfileExists,
    ProfileNotFound,
    StoreUnavailable,
)
from minikms.maintenance.write import StoreWriter
from minikms.records import KeyRecord, KeyRef
from minikms.startup_errors import StoreError
from minikms.store.askar import new_raw_key
from minikms.store.database import Database
from minikms.store.directory import ProfileDirectory
from minikms.store.keys import DEFAULT_PROFILE, KeyStore
from minikms.store.location import StoreKey, StoreLocation

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)
KID = KeyRef(kid="kid-1")


@pytest.fixture
def key():
    return StoreKey(new_raw_key())


@pytest.fixture
async def stores(persistent_url, key):
    """Two services that have the same store open."""
    location = StoreLocation.parse(persistent_url)
    async with KeyStore.create(location, key):
        pass
    async with AsyncExitStack() as stack:
        opened = [KeyStore.open(location, key) for _ in range(2)]
        yield [await stack.enter_async_context(store) for store in opened]


@pytest.fixture
async def sqlite(tmp_path, key):
    """The path of a store in a file."""
    path = tmp_path / "keys.db"
    async with KeyStore.create(StoreLocation.parse(f"sqlite://{path}"), key):
        pass
    return path


async def test_what_one_does_the_other_sees(stores):
    one, other = stores
    await one.insert(DEFAULT_PROFILE, RECORD, b"secret", ["a"])
    assert (await other.record(DEFAULT_PROFILE, KeyRef(alias="a"))).kid == RECORD.kid
    with pytest.raises(KeyExists):
        await other.insert(DEFAULT_PROFILE, RECORD, b"secret")
    await other.insert(DEFAULT_PROFILE, replace(RECORD, kid="kid-2"), b"secret")
    await other.bind_alias(DEFAULT_PROFILE, "kid-2", "a")
    assert (await one.record(DEFAULT_PROFILE, KeyRef(alias="a"))).kid == "kid-2"
    assert (await one.record(DEFAULT_PROFILE, KID)).aliases == ()
    listed, _ = await one.page(DEFAULT_PROFILE, limit=10)
    assert [record.kid for record in listed] == ["kid-1", "kid-2"]
    await one.delete(DEFAULT_PROFILE, "kid-2")
    with pytest.raises(KeyNotFound):
        await other.record(DEFAULT_PROFILE, KeyRef(kid="kid-2"))
    with pytest.raises(AliasNotFound):
        await other.record(DEFAULT_PROFILE, KeyRef(alias="a"))


CALLS = {
    "record": lambda store: store.record("t", KID),
    "open": lambda store: store.open_key("t", KID, lambda _: None),
    "page": lambda store: store.page("t", limit=1),
    "insert": lambda store: store.insert("t", replace(RECORD, kid="kid-2"), b""),
    "bind": lambda store: store.bind_alias("t", "kid-1", "b"),
    "unbind": lambda store: store.unbind_alias("t", "kid-1", "a"),
    "label": lambda store: store.change("t", "kid-1", lambda r: replace(r, labels={"a": "b"})),
    "delete": lambda store: store.delete("t", "kid-1"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_profile_that_the_other_removed(stores, call):
    one, other = stores
    await one.create_profile("t")
    with pytest.raises(ProfileExists):
        await other.create_profile("t")
    for store, kid in ((one, "kid-1"), (other, "kid-3")):
        await store.insert("t", replace(RECORD, kid=kid), b"")
    assert await other.remove_profile("t")
    assert not await one.remove_profile("t")
    with pytest.raises(ProfileNotFound):
        await call(one)
    assert await one.profiles() == await other.profiles() == [DEFAULT_PROFILE]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_profile_that_the_other_made_again(stores, call):
    one, other = stores
    await one.create_profile("t")
    await one.insert("t", RECORD, b"old", ["a"])
    await other.remove_profile("t")
    # In SQLite it gets the number that the old one had.
    await other.create_profile("t")
    await other.insert("t", RECORD, b"new", ["a"])
    await call(one)
    if call is CALLS["delete"]:
        assert await other.page("t", limit=1) == ([], False)
    else:
        assert (await other.open_key("t", KID, lambda _: None))[1] == b"new"
        assert await one.page("t", limit=5) == await other.page("t", limit=5)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_profile_whose_number_another_has_now(stores, call):
    one, other = stores
    await one.create_profile("t")
    await one.insert("t", RECORD, b"secret", ["a"])
    await other.remove_profile("t")
    await other.create_profile("u")
    with pytest.raises(ProfileNotFound):
        await call(one)
    assert await other.page("u", limit=1) == ([], False)
    await other.insert("u", RECORD, b"", ["a"])


async def test_a_removal_that_was_cut_short(stores, monkeypatch):
    one, other = stores
    await one.create_profile("t")
    await one.insert("t", RECORD, b"secret")
    with monkeypatch.context() as patch:

        async def killed(*args):
            raise KeyboardInterrupt

        patch.setattr(ProfileDirectory, "_finish_removal", killed)
        with pytest.raises(KeyboardInterrupt):
            await one._database.directory._remove("t")
    for store in stores:
        assert await store.profiles() == [DEFAULT_PROFILE]
        with pytest.raises(ProfileNotFound):
            await store.record("t", KID)
    await other.create_profile("t")
    with pytest.raises(KeyNotFound):
        await one.record("t", KID)
    assert len(await one._database._handle.store.list_profiles()) == 3


async def test_one_profile_is_made_by_many(stores):
    calls = [store.create_profile("t") for store in stores * 8]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == [
        "NoneType",
        *["ProfileExists"] * 15,
    ]
    assert len(await stores[0]._database._handle.store.list_profiles()) == 3


async def test_keys_of_both_are_counted_in_one_order(stores):
    async def make(store, name):
        for n in range(10):
            kid = f"{name}-{n}"
            await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=kid), b"", [f"of {kid}"])

    await asyncio.gather(*(make(stores[n % 2], str(n)) for n in range(6)))
    records, more = await stores[0].page(DEFAULT_PROFILE, limit=100)
    assert ([int(record.seq) for record in records], more) == (list(range(1, 61)), False)


async def test_a_layout_of_a_later_version(persistent_url, key, stores):
    async with stores[0]._database._handle.store.session() as session:
        await session.replace("minikms.store", "layout", "2")
    with pytest.raises(StoreError, match="layout 2 of a newer"):
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
        assert await store.profiles() == [DEFAULT_PROFILE]
    with pytest.raises(StoreError, match="already"):
        async with KeyStore.create(location, key):
            pass
    with pytest.raises(StoreError, match="already"):
        async with KeyStore.create(location, StoreKey(new_raw_key())):
            pass


async def test_permits_that_are_not_released(stores, monkeypatch):
    store, release = stores[0], asyncio.Event()
    monkeypatch.setattr(store._database._permits, "_permit_timeout", 0.2)
    permits = store._database._permits._connections

    async def hold():
        async with permits:
            await release.wait()

    holding = [asyncio.create_task(hold()) for _ in range(permits._value)]
    await asyncio.sleep(0)
    for call in (store.page(DEFAULT_PROFILE, limit=1), store.insert(DEFAULT_PROFILE, RECORD, b"")):
        with pytest.raises(StoreUnavailable) as caught:
            await call
        assert caught.value.headers == {"Retry-After": "1"}
    late = asyncio.create_task(store.insert(DEFAULT_PROFILE, RECORD, b""))
    await asyncio.sleep(0.05)
    release.set()
    assert (await late).kid == RECORD.kid
    await asyncio.gather(*holding)


HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print(flush=True)
input()
"""


async def test_another_program_holds_the_file(sqlite, key):
    """What is acknowledged afterwards is on disk: Askar by itself would have lost it."""
    location = StoreLocation.parse(f"sqlite://{sqlite}?busy_timeout=100")
    # Not in this process: of two SQLite libraries in one, neither sees the other's locks.
    command = [sys.executable, "-c", HOLD, str(sqlite)]
    async with KeyStore.open(location, key) as one, KeyStore.open(location, key) as other:
        with subprocess.Popen(command, stdin=-1, stdout=-1) as holder:
            holder.stdout.readline()
            for _ in range(location.max_connections + 1):
                with pytest.raises(StoreUnavailable):
                    await one.insert(DEFAULT_PROFILE, RECORD, b"secret")
            with pytest.raises(StoreUnavailable):
                await one.page(DEFAULT_PROFILE, limit=1)
            holder.communicate(b"\n")
        for n in range(10):
            await one.insert(DEFAULT_PROFILE, replace(RECORD, kid=f"{n}"), b"secret")
            assert (await other.record(DEFAULT_PROFILE, KeyRef(kid=f"{n}"))).kid == f"{n}"
        await other.insert(DEFAULT_PROFILE, RECORD, b"secret")


FULL = """
import asyncio, resource, sys
from dataclasses import replace
from minikms.errors import StoreUnavailable
from minikms.store.location import StoreKey, StoreLocation
from minikms.records import KeyRecord
from minikms.store.keys import KeyStore

RECORD = KeyRecord("", "x", "oct", None, None, None, None, (), "bytes", 1)


async def insert(store, kid):
    try:
        await store.insert("default", replace(RECORD, kid=kid), bytes(5000), [f"of {kid}"])
    except StoreUnavailable:
        return False
    print(kid, flush=True)
    return True


async def main(url, secret):
    async with KeyStore.open(StoreLocation.parse(url), StoreKey(secret)) as store:
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        for number in range(5):
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000 * (number + 1), most))
            tries = 0
            while await insert(store, f"before-{number}-{tries}"):
                tries += 1
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            for after in range(3):
                assert await insert(store, f"after-{number}-{after}")


asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_disk_that_is_full(sqlite, key):
    """What was acknowledged before and after is there, and nothing else."""
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    command = [sys.executable, "-c", FULL, str(location), key.secret]
    ended = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    kids = ended.stdout.split()
    assert len(kids) > 20
    async with KeyStore.open(location, key) as store:
        records, _ = await store.page(DEFAULT_PROFILE, limit=1000)
        assert [record.kid for record in records] == kids
        for kid in kids:
            await store.open_key(DEFAULT_PROFILE, KeyRef(alias=f"of {kid}"), lambda _: None)


@pytest.mark.parametrize("what", ["record", "material"])
async def test_a_byte_that_flipped(sqlite, key, what, caplog, flip, query):
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as store:
        for n in range(20):
            record = replace(RECORD, kid=f"kid-{n}")
            material = bytes(32)
            if n == 7 and what == "record":
                record = replace(record, labels={"long": "x" * 5000})
            elif n == 7:
                material = bytes(5000)
            await store.insert(DEFAULT_PROFILE, record, material, [f"alias {n}"])
    ((longest,),) = query(sqlite, "SELECT id FROM items ORDER BY length(value) DESC LIMIT 1")
    flip(sqlite, longest)
    async with KeyStore.open(location, key) as store:
        for ref in (KeyRef(kid="kid-7"), KeyRef(alias="alias 7")):
            with pytest.raises(KeyUnreadable):
                await store.open_key(DEFAULT_PROFILE, ref, lambda _: None)
            assert "key kid-7 does not decrypt" in caplog.text
            caplog.clear()
        for n in {*range(20)} - {7}:
            await store.open_key(DEFAULT_PROFILE, KeyRef(alias=f"alias {n}"), lambda _: None)
        for limit in (5, 19, 100):
            listed, after, more = [], "", True
            while more:
                records, more = await store.page(DEFAULT_PROFILE, limit=limit, after=after)
                listed, after = listed + records, records[-1].seq
            kids = [record.kid for record in listed]
            assert kids == [f"kid-{n}" for n in range(20) if n != 7 or what == "material"]
        assert ("number 8" in caplog.text) == (what == "record")


async def test_a_byte_that_flipped_where_few_keys_are_left(sqlite, key, caplog, flip, query):
    location = StoreLocation.parse(f"sqlite://{sqlite}")
    async with KeyStore.open(location, key) as store:
        for n in range(6):
            labels = {"long": "x" * 5000 if n == 3 else ""}
            await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=f"{n}", labels=labels), b"")
            await StoreWriter(store.database).set_last_seq(DEFAULT_PROFILE, 20_000 * (n + 1))
    ((longest,),) = query(sqlite, "SELECT id FROM items ORDER BY length(value) DESC LIMIT 1")
    flip(sqlite, longest)
    async with KeyStore.open(location, key) as store:
        for alg in (None, "x"):
            for limit in (1, 2, 3, 100):
                found, after, more = [], "", True
                while more:
                    records, more = await store.page(
                        DEFAULT_PROFILE, limit=limit, after=after, alg=alg
                    )
                    found += (record.kid for record in records)
                    after = records[-1].seq
                assert found == ["0", "1", "2", "4", "5"]
                assert "number 60001" in caplog.text
                caplog.clear()


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
