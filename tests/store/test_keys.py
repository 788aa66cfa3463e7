import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aries_askar import AskarError, AskarErrorCode, Key, Session

from minikms.errors import (
    AliasNotFound,
    KeyNotFound,
    KeyUnreadable,
    ProfileNotFound,
    StoreUnavailable,
)
from minikms.key_requests import KeyRef
from minikms.maintenance.write import StoreWriter
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import KeyRecord
from minikms.store.keys.entries import load_record, replace_record
from minikms.store.keys.key_store import KeyStore
from minikms.store.profiles import making

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)


class Failing:
    """An Askar store whose calls fail; the one in memory cannot be made to."""

    def __init__(self, code, *, back=None):
        self._error = AskarError(code, "planted-7f3a")
        self._back = back

    def session(self, profile=None):
        return self if profile or not self._back else self._back.session()

    def transaction(self, profile=None):
        return self

    async def __aenter__(self):
        raise self._error

    async def __aexit__(self, *args):
        raise AssertionError("never entered")

    async def create_profile(self, *args):
        raise self._error

    remove_profile = create_profile

    async def close(self):
        pass


@asynccontextmanager
async def inside(store, profile=DEFAULT_PROFILE):
    """A session of Askar's on a profile."""
    database = store._database
    askar_profile = await database.directory.askar_profile(profile)
    async with database._pool.store.session(askar_profile) as session:
        yield session


CALLS = [
    lambda store: store.record(DEFAULT_PROFILE, KeyRef(kid="a")),
    lambda store: store.insert(DEFAULT_PROFILE, RECORD, b"secret"),
    lambda store: store.directory.create("a"),
    lambda store: store.remove_profile("a"),
    lambda store: store.ping(),
    lambda store: store.directory.names(),
]


@pytest.fixture
async def store():
    async with KeyStore.open_memory() as opened:
        yield opened


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("code", [AskarErrorCode.BACKEND, AskarErrorCode.BUSY])
async def test_a_database_that_is_away(store, call, code, monkeypatch):
    monkeypatch.setattr(store._database._pool, "store", Failing(code))
    with pytest.raises(StoreUnavailable) as caught:
        await call(store)
    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("call", CALLS[:-2])
async def test_a_database_that_failed_and_is_back(store, call, monkeypatch):
    failing = Failing(AskarErrorCode.BUSY, back=store._database._pool.store)
    monkeypatch.setattr(store._database._pool, "store", failing)
    with pytest.raises(StoreUnavailable):
        await call(store)


@pytest.mark.parametrize("code", [AskarErrorCode.NOT_FOUND, AskarErrorCode.ENCRYPTION])
async def test_unexpected_errors_of_askar_are_raised_unchanged(store, code, monkeypatch):
    monkeypatch.setattr(store._database._pool, "store", Failing(code))
    with pytest.raises(AskarError) as caught:
        await store.ping()
    assert caught.value.code is code


async def test_material_is_kept_as_it_is(store):
    secret = bytes(range(32))
    key = Key.from_secret_bytes("a256gcm", secret)
    for kind, material in (("bytes", secret), ("askar", key)):
        record = replace(RECORD, kid=kind, material=kind)
        kept = await store.insert(DEFAULT_PROFILE, record, material)
        found, opened = await store.open_key(DEFAULT_PROFILE, KeyRef(kid=kind), lambda each: each)
        assert found == kept == replace(record, seq=kept.seq)
        assert (opened if kind == "bytes" else opened.get_secret_bytes()) == secret


async def test_a_database_that_fails_between_two_writes(store, monkeypatch):
    # Which the one in memory cannot be made to.
    with monkeypatch.context() as patch:
        patch.setattr(Session, "insert", Failing(AskarErrorCode.BACKEND).create_profile)
        with pytest.raises(StoreUnavailable):
            await store.insert(DEFAULT_PROFILE, RECORD, Key.generate("a256gcm"))
    async with inside(store) as session:
        assert len(await session.fetch_all_keys()) == 0
    await store.insert(DEFAULT_PROFILE, RECORD, Key.generate("a256gcm"))


async def test_an_askar_key_that_goes_between_two_look_ups(store):
    record = replace(RECORD, material="askar")
    await store.insert(DEFAULT_PROFILE, record, Key.generate("a256gcm"))
    async with inside(store) as session:
        await session.remove_key(RECORD.kid)
    with pytest.raises(KeyNotFound):
        await store.open_key(DEFAULT_PROFILE, KeyRef(kid=RECORD.kid), lambda _: None)


async def test_material_in_the_entry_of_another_key_is_not_opened(store):
    kids = "kid-1", "kid-2"
    for kid in kids:
        await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=kid), b"secret of " + kid.encode())

    async def exchange(session):
        one, other = [await load_record(session, kid) for kid in kids]
        await replace_record(session, replace(one, sealed=other.sealed))

    await store.database.run(DEFAULT_PROFILE, exchange, write=True)
    with pytest.raises(KeyUnreadable):
        await store.open_key(DEFAULT_PROFILE, KeyRef(kid=kids[0]), lambda _: None)
    _, opened = await store.open_key(DEFAULT_PROFILE, KeyRef(kid=kids[1]), lambda _: None)
    assert opened == b"secret of kid-2"


async def test_material_is_sealed_in_the_entry_and_not_kept_with_a_record(store):
    secret = secrets.token_bytes(32)
    await store.insert(DEFAULT_PROFILE, RECORD, secret)
    async with inside(store) as session:
        [entry] = await session.fetch_all("minikms.key")
        value = entry.value
    found = KeyRecord.from_bytes(value)
    assert found.sealed
    assert secret not in value
    ref = KeyRef(kid=RECORD.kid)
    opened, _ = await store.open_key(DEFAULT_PROFILE, ref, lambda record: record)
    assert (opened.sealed, (await store.record(DEFAULT_PROFILE, ref)).sealed) == (b"", b"")


async def test_a_change_of_a_record_keeps_its_material_sealed_as_it_was(store):
    await store.insert(DEFAULT_PROFILE, RECORD, b"secret", ["a"])

    async def sealed(session):
        return (await load_record(session, RECORD.kid)).sealed

    before = await store.database.run(DEFAULT_PROFILE, sealed)
    await store.change(DEFAULT_PROFILE, RECORD.kid, lambda key: replace(key, labels={"n": "1"}))
    await store.aliases.bind(DEFAULT_PROFILE, RECORD.kid, "b")
    await store.aliases.unbind(DEFAULT_PROFILE, RECORD.kid, "a")
    await store.deletions.schedule(DEFAULT_PROFILE, KeyRef(kid=RECORD.kid), 2**62)
    await store.deletions.schedule(DEFAULT_PROFILE, KeyRef(kid=RECORD.kid), None)
    assert await store.database.run(DEFAULT_PROFILE, sealed) == before
    found, opened = await store.open_key(DEFAULT_PROFILE, KeyRef(alias="b"), lambda record: record)
    assert (found.labels, found.aliases, opened) == ({"n": "1"}, ("b",), b"secret")


async def test_a_profile_of_an_older_process_gets_a_sealing_key_with_its_first_key(
    store, monkeypatch
):
    """An older service that still runs after the upgrade makes such a profile."""
    with monkeypatch.context() as patch:
        patch.setattr(making, "new_name", lambda _: secrets.token_hex(16))
        await store.directory.create("old")

    async def lose(session):
        await session.replace("minikms.profile", "self", "old")

    await store.database.run("old", lose, write=True)
    store.database._calls.sealing_keys.clear()
    await store.insert("old", RECORD, b"secret")
    await store.insert("old", replace(RECORD, kid="kid-2"), b"second")
    for kid, secret in ((RECORD.kid, b"secret"), ("kid-2", b"second")):
        _, opened = await store.open_key("old", KeyRef(kid=kid), lambda _: None)
        assert opened == secret


async def test_a_key_that_is_not_permitted_is_not_opened(store):
    await store.insert(DEFAULT_PROFILE, RECORD, b"secret")

    def permit(record):
        assert record.kid == RECORD.kid
        raise PermissionError

    with pytest.raises(PermissionError):
        await store.open_key(DEFAULT_PROFILE, KeyRef(kid=RECORD.kid), permit)


async def test_pages_list_every_key_over_gaps(store):
    kept = [
        await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=f"{n}"), b"") for n in range(40)
    ]
    for record in kept[3:25] + kept[36:]:
        await store.deletions.delete(DEFAULT_PROFILE, KeyRef(record.kid))
    left = kept[:3] + kept[25:36]
    for limit in (1, 2, 7, 13, 14, 15, 50):
        listed, after, more = [], "", True
        while more:
            records, more = await store.listing.page(DEFAULT_PROFILE, limit=limit, after=after)
            assert 0 < len(records) <= limit
            listed, after = listed + records, records[-1].seq
        assert listed == left
    assert await store.listing.page(DEFAULT_PROFILE, limit=1, after=left[-1].seq) == ([], False)


async def test_a_filter_that_few_keys_fit(store):
    for n in range(50):
        alg = "rare" if n % 20 == 10 else "x"
        await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=f"{n}", alg=alg), b"")
    records, more = await store.listing.page(DEFAULT_PROFILE, limit=1, alg="rare")
    assert ([record.kid for record in records], more) == (["10"], True)
    records, more = await store.listing.page(
        DEFAULT_PROFILE, limit=1, alg="rare", after=records[0].seq
    )
    assert ([record.kid for record in records], more) == (["30"], False)


async def test_keys_that_are_due_among_few(store):
    for n in range(30):
        record = await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=f"{n}"), b"")
        if n == 2:
            await StoreWriter(store.database).set_last_seq(DEFAULT_PROFILE, 10_000)
        if 5 < n < 27:
            await store.deletions.schedule(DEFAULT_PROFILE, KeyRef(record.kid), 1)
    left = ["0", "1", "2", "3", "4", "5", "27", "28", "29"]
    for limit in (1, 4, 8, 9):
        found, after, more = [], "", True
        while more:
            records, more = await store.listing.page(DEFAULT_PROFILE, limit=limit, after=after)
            assert 0 < len(records) <= limit
            found += (record.kid for record in records)
            after = records[-1].seq
        assert found == left


async def test_listings_that_wait_for_each_other(store, monkeypatch):
    monkeypatch.setattr(store.listing._sparse, "_patience", 0.05)
    for n in range(3):
        await store.insert(DEFAULT_PROFILE, replace(RECORD, kid=f"{n}"), b"")
        await StoreWriter(store.database).set_last_seq(DEFAULT_PROFILE, 10_000 * (n + 1))
    async with store.listing._sparse.held("another"):  # as long as another reads
        with pytest.raises(StoreUnavailable):
            await store.listing.page(DEFAULT_PROFILE, limit=9)
        records, more = await store.listing.page(
            DEFAULT_PROFILE, limit=9, after=f"{30_000 - 5:020d}"
        )
        assert (records, more) == ([], False)
    records, _ = await store.listing.page(DEFAULT_PROFILE, limit=9)
    assert [record.kid for record in records] == ["0", "1", "2"]


async def test_listings_that_wait_take_turns_by_profile(store):
    listing, begun = store.listing, []

    async def one(profile):
        async with listing._sparse.held(profile):
            begun.append(profile)
            await asyncio.sleep(0)

    async with listing._sparse.held("another"):
        waiting = [asyncio.create_task(one("many")) for _ in range(9)]
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(one("few")))
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert begun[:2] == ["many", "few"]


async def test_calls_that_fail_at_once_keep_their_own_error(store):
    askar = store._database._pool.store
    async with askar.session() as session:
        await session.insert("c", "there")

    async def insert_again():
        async with askar.session() as session:
            await session.insert("c", "there")

    async def remove_unknown():
        async with askar.session() as session:
            await session.remove("c", "unknown")

    async def open_unknown():
        async with askar.session("unknown"):
            pass

    kinds = {
        insert_again: AskarErrorCode.DUPLICATE,
        remove_unknown: AskarErrorCode.NOT_FOUND,
        open_unknown: AskarErrorCode.NOT_FOUND,
        lambda: askar.create_profile("minikms"): AskarErrorCode.DUPLICATE,
    }
    for _ in range(20):
        results = await asyncio.gather(*(call() for call in kinds), return_exceptions=True)
        assert [result.code for result in results] == list(kinds.values())


async def test_every_call_refuses_an_unknown_profile(store):
    for call in (
        store.record("nobody", KeyRef(kid="a")),
        store.listing.page("nobody", limit=1),
        store.insert("nobody", RECORD, b""),
        store.aliases.bind("nobody", "a", "b"),
        store.deletions.delete("nobody", KeyRef("a")),
    ):
        with pytest.raises(ProfileNotFound):
            await call


async def test_a_name_with_nul_names_nothing(store):
    await store.insert(DEFAULT_PROFILE, RECORD, b"x", ["a"])
    for ref in (KeyRef(kid="kid-1\0b"), KeyRef(alias="a\0b")):
        with pytest.raises((KeyNotFound, AliasNotFound)):
            await store.record(DEFAULT_PROFILE, ref)
    with pytest.raises(ValueError, match="NUL"):
        await store.aliases.bind(DEFAULT_PROFILE, "kid-1", "b\0c")
    assert (await store.record(DEFAULT_PROFILE, KeyRef(alias="a"))).aliases == ("a",)
