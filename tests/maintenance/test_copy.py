"""Copies of stores that are in use, or damaged."""

import sqlite3
import time
from contextlib import aclosing, asynccontextmanager, closing
from dataclasses import replace

import pytest
from sqlite_copies import whole

from minikms.access.token_record import Token, TokenRecord
from minikms.access.tokens import Tokens
from minikms.audit.heads import CHAIN
from minikms.errors import (
    KeyNotFound,
    KeyUnreadable,
    ProfileExists,
    ProfileFrozen,
    ProfileNotFound,
    RuleViolated,
    TooManyKeys,
)
from minikms.key_requests import KeyPolicy, KeyRef, KeySource
from minikms.keys.exporting import Export
from minikms.keys.service import KeyService
from minikms.keys.signing import Sign, SignOptions, Verify
from minikms.maintenance.copy import Copied, copy, count
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.verify import verify
from minikms.maintenance.write import StoreWriter
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE, NO_SETTINGS
from minikms.rules import Rules
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.day_leases import lease_uses
from minikms.store.keys.entries import replace_record
from minikms.store.keys.key_store import KeyStore

REGISTRY = AlgorithmRegistry.from_installed()


@pytest.fixture
def key():
    return StoreKey(new_raw_key())


@pytest.fixture
async def source(persistent_url, key):
    """A service on a store with two profiles."""
    async with KeyStore.create(StoreLocation.parse(persistent_url), key) as store:
        service = KeyService(REGISTRY, store)
        await service.profiles.create("t")
        yield service


@pytest.fixture
def target(tmp_path):
    return StoreLocation.parse(f"sqlite://{tmp_path}/copy.db")


async def add(service, alg="hs256", profile=DEFAULT_PROFILE, **policy):
    """The record of a new key, its place included."""
    made = await service.creation.generate(profile, alg, KeyPolicy(**policy))
    return await service.operations.get(profile, KeyRef(kid=made.kid))


async def copy_of(persistent_url, key, target, contents=StoreInspector, **options):
    """Copy a store, and return the tally of each profile."""
    async with (
        contents.open(StoreLocation.parse(persistent_url), key) as opened,
        StoreWriter.create(target, key) as made,
        aclosing(copy(opened, made, lambda number: None, **options)) as copies,
    ):
        return [copied async for copied in copies]


@asynccontextmanager
async def verified(target, key):
    """A service on a copy in which `verify` finds no fault."""
    faults = []
    async with StoreInspector.open(target, key) as contents:
        await verify(contents, REGISTRY, lambda *fault: faults.append(fault), faults.append)
    assert faults == []
    async with KeyStore.open(target, key) as store:
        yield KeyService(REGISTRY, store)


def changed_while_read(act):
    """An inspector of a store that is changed once a profile's records have been read."""

    class Changed(StoreInspector):
        done = False

        async def records(self, profile, *, in_order=True):
            async for batch in super().records(profile, in_order=in_order):
                if profile == "t" and not Changed.done:
                    Changed.done = True
                    await act()
                yield batch

    return Changed


@pytest.fixture
def copied_while(persistent_url, key, target):
    """Copy a store, and call `act` while its profile t is read."""

    async def start(act):
        return await copy_of(persistent_url, key, target, changed_while_read(act))

    return start


async def test_a_key_that_is_deleted_meanwhile_is_copied(source, copied_while, target, key):
    """The key's only entry was read before the deletion."""
    keys = [await add(source, profile="t") for _ in range(2)]
    copies = await copied_while(lambda: source.changes.delete("t", KeyRef(keys[0].kid)))
    assert copies == [Copied(DEFAULT_PROFILE, 0, 0), Copied("t", 2, 0)]
    async with verified(target, key) as copied:
        assert await copied.descriptions.list_keys("t", limit=9) == (keys, False)


async def test_an_askar_key_that_is_deleted_meanwhile_is_not(source, copied_while, target, key):
    first, second = [await add(source, "xc20p", profile="t") for _ in range(2)]
    copies = await copied_while(lambda: source.changes.delete("t", KeyRef(first.kid)))
    assert copies == [Copied(DEFAULT_PROFILE, 0, 0), Copied("t", 1, 1)]
    async with verified(target, key) as copied:
        assert await copied.descriptions.list_keys("t", limit=9) == ([second], False)


async def test_a_key_that_is_made_meanwhile(source, copied_while, target, key):
    first = await add(source, profile="t")

    async def act():
        await add(source, profile="t")

    await copied_while(act)
    async with verified(target, key) as copied:
        assert await copied.descriptions.list_keys("t", limit=9) == ([first], False)
        # A cursor may name the place of an absent key; the page still lists every later key.
        assert (await add(copied, profile="t")).seq == f"{3:020d}"


async def test_rows_of_a_copy_are_in_the_order_of_creation(
    source, persistent_url, target, key, tmp_path
):
    """Pages rely on it that are read by one query, as of keys with a rare label."""
    policy = KeyPolicy(labels={"rare": "yes"})
    # More than one batch: the index of an SQLite file has names in another order.
    await source.creation.generate_batch("t", "hs256", 300, policy)
    made, _ = await source.descriptions.list_keys("t", limit=300)
    await copy_of(persistent_url, key, target)
    with closing(sqlite3.connect(f"{tmp_path}/copy.db")) as file:
        places = file.execute(
            "SELECT value FROM items_tags WHERE plaintext ORDER BY item_id"
        ).fetchall()
    assert [place.decode() for (place,) in places] == [record.seq for record in made]


async def test_the_place_of_a_deleted_last_key_is_not_given_again(
    source, persistent_url, target, key
):
    """A cursor that names this place would leave out the next key."""
    keys = [await add(source, profile="t") for _ in range(2)]
    await source.changes.delete("t", KeyRef(keys[1].kid))
    await copy_of(persistent_url, key, target)
    async with verified(target, key) as copied:
        assert int((await add(copied, profile="t")).seq) > int(keys[1].seq)


async def test_profiles_with_public_keys_stay_public_and_others_do_not(
    source, persistent_url, target, key
):
    await source.publications.publish("t", public=True)
    await copy_of(persistent_url, key, target)
    async with verified(target, key) as copied:
        assert [await copied.publications.publishes(name) for name in (DEFAULT_PROFILE, "t")] == [
            False,
            True,
        ]


async def test_all_of_many_tokens_are_copied_in_order(source, persistent_url, target, key):
    """More than are inserted at a time."""
    made = [
        TokenRecord(Token.new().id, f"name {n}", "0" * 64, ("sign",), None, n) for n in range(300)
    ]
    await StoreWriter(source.operations.store.database).insert_tokens(made)
    await copy_of(persistent_url, key, target)
    async with verified(target, key) as copied:
        found = [each async for each in Tokens(copied.operations.store.database).all_records()]
    found.sort(key=lambda record: record.seq)
    assert [record.id for record in found] == [record.id for record in made]


async def with_versions(service, name="a"):
    """Give an alias of a new key some versions and settings, and return them."""
    await add(service, profile="t", aliases=(name,))
    for _ in range(3):
        await service.rotation.rotate_name("t", name)
    await service.aliases.change_versions(
        "t",
        name,
        lambda _, versions: replace(versions.trimmed(2), deletion_allowed=True),
    )
    return await service.aliases.versions("t", name)


async def test_versions_of_aliases_are_copied(source, persistent_url, target, key):
    before = await with_versions(source)
    await copy_of(persistent_url, key, target)
    async with verified(target, key) as copied:
        assert await copied.aliases.versions("t", "a") == before
        kid = (await copied.rotation.rotate_name("t", "a")).kid
        after = await copied.aliases.versions("t", "a")
        assert [*after.kids.values()] == [*before.kids.values(), kid]


async def test_an_alias_with_versions_that_changes_meanwhile(source, copied_while, target, key):
    """The copied versions are those at the time when the record was read."""
    before = await with_versions(source)
    await copied_while(lambda: source.rotation.rotate_name("t", "a"))
    async with verified(target, key) as copied:
        assert await copied.aliases.versions("t", "a") == before


async def test_an_alias_with_versions_that_is_made_again_meanwhile(
    source, copied_while, target, key
):
    """The key's versions are lost by then."""
    before = await with_versions(source)

    async def act():
        await source.aliases.dissociate("t", before.latest_kid, "a")
        await add(source, profile="t", aliases=("a",))

    await copied_while(act)
    async with verified(target, key) as copied:
        assert (await copied.aliases.versions("t", "a")).latest_kid == before.latest_kid


async def test_an_alias_that_moves_meanwhile(source, copied_while, target, key):
    first = await add(source, profile="t", aliases=("a",))
    second = await add(source, profile="t")
    await copied_while(lambda: source.aliases.associate("t", second.kid, "a"))
    async with verified(target, key) as copied:
        assert (await copied.operations.get("t", KeyRef(alias="a"))).kid == first.kid


async def test_keys_with_a_life_behind_them(source, persistent_url, target, key):
    first = await add(source, "ed25519", profile="t", aliases=("a", "b"), expires=2**62)
    signed = await source.operations.perform("t", KeyRef(alias="a"), Sign(b"", SignOptions()))
    second = await source.rotation.rotate("t", first.kid)
    third = await source.rotation.rotate("t", second.kid)
    await source.changes.update("t", second.kid, {"state": "disabled"})
    due, later = [await add(source, profile="t", aliases=(name,)) for name in ("due", "later")]
    await source.changes.schedule_deletion("t", KeyRef(later.kid), 10**15)
    await source.operations.store.deletions.schedule("t", KeyRef(due.kid), 1)
    before, _ = await source.descriptions.list_keys("t", limit=9)
    assert await copy_of(persistent_url, key, target) == [
        Copied(DEFAULT_PROFILE, 0, 0),
        Copied("t", 5, 0),
    ]
    async with verified(target, key) as copied:
        assert await copied.descriptions.list_keys("t", limit=9) == (before, False)
        for alias in ("a", "b"):
            by = KeyRef(alias=alias)
            assert (await copied.operations.get("t", by)).kid == third.kid
            assert await copied.operations.perform("t", by, Verify(b"", signed.sig, SignOptions()))
        assert await copied.operations.store.deletions.due("t") == [due.kid]
        await copied.sweep()
        assert await copied.operations.store.deletions.due("t") == []
        assert (await copied.changes.restore("t", later.kid)).state_at(0) == "enabled"
    async with verified(target, key):
        pass


async def test_schedules_and_last_uses_are_copied(source, persistent_url, target, key):
    made = await add(source, "ed25519", profile="t", aliases=("a",), rotate_every=3600)
    other = await add(source, profile="t", aliases=("b",))
    await source.operations.perform("t", KeyRef(alias="a"), Sign(b"", SignOptions()))
    await source.operations.uses.store()
    before, since = await source.descriptions.describe("t", KeyRef(kid=made.kid)), time.time_ns()
    await copy_of(persistent_url, key, target)
    async with verified(target, key) as copied:
        found = await copied.descriptions.describe("t", KeyRef(kid=made.kid))
        assert found == before
        assert found.last_used // 10**9 == before.last_used // 10**9
        assert found.noted_since == before.noted_since < since
        assert (await copied.descriptions.describe("t", KeyRef(kid=other.kid))).last_used is None
        assert await copied.operations.store.rotations.due("t") == []
        await copied.changes.update("t", made.kid, {"rotate_every": 3600, "rotates": 1})
        assert await copied.operations.store.rotations.due("t") == [made.kid]
        await copied.sweep()
        assert (await copied.operations.get("t", KeyRef(alias="a"))).scheduled


@pytest.mark.parametrize("change", ["rotated", "scheduled", "restored"])
async def test_a_key_whose_life_goes_on_meanwhile(source, copied_while, target, key, change):
    first = await add(source, "ed25519", profile="t", aliases=("a",))
    if change == "restored":
        first = await source.changes.schedule_deletion("t", KeyRef(first.kid), 10**15)
    acts = {
        "rotated": lambda: source.rotation.rotate("t", first.kid),
        "scheduled": lambda: source.changes.schedule_deletion("t", KeyRef(first.kid), 10**15),
        "restored": lambda: source.changes.restore("t", first.kid),
    }
    await copied_while(acts[change])
    async with verified(target, key) as copied:
        assert await copied.descriptions.list_keys("t", limit=9) == ([first], False)


# Whether `copy` keeps the state that it read first, by the algorithm and the form of that key.
SAME_KID = {
    ("ed25519", "private"): True,
    ("ed25519", "public"): True,
    ("p521", "private"): True,
    ("p521", "public"): True,
    ("bls12381g1", "private"): False,
    ("bls12381g1", "public"): True,
}


@pytest.mark.parametrize(("alg", "form"), SAME_KID)
async def test_another_key_of_the_same_kid_meanwhile(source, copied_while, target, key, alg, form):
    """A private key that replaces its public one, or the other way round."""
    made = await add(source, alg, exportable=True)
    jwk = await source.operations.perform(DEFAULT_PROFILE, KeyRef(kid=made.kid), Export())
    private, public = KeySource(jwk=jwk), KeySource(jwk=made.jwk)
    first, second = (private, public) if form == "private" else (public, private)
    await source.creation.import_key("t", first, KeyPolicy())

    async def act():
        await source.changes.delete("t", KeyRef(made.kid))
        await source.creation.import_key("t", second, KeyPolicy())

    kept = SAME_KID[alg, form]
    assert (await copied_while(act))[1] == Copied("t", int(kept), int(not kept))
    async with verified(target, key) as copied:
        if not kept:
            with pytest.raises(KeyNotFound):
                await copied.operations.get("t", KeyRef(kid=made.kid))
            return
        now = await copied.operations.get("t", KeyRef(kid=made.kid))
        assert now.material == ("bytes" if form == "private" else "none")
        if form == "private":
            assert await copied.operations.perform(
                "t", KeyRef(kid=made.kid), Sign(b"", SignOptions())
            )


async def test_a_profile_that_is_removed_meanwhile(source, copied_while, target, key):
    await add(source, profile="t")
    assert await copied_while(lambda: source.operations.store.remove_profile("t")) == [
        Copied("default", 0, 0)
    ]
    async with verified(target, key) as copied:
        with pytest.raises(ProfileNotFound):
            await copied.descriptions.list_keys("t", limit=1)


async def test_a_profile_that_is_made_again_meanwhile(source, copied_while, target, key):
    for _ in range(3):
        await add(source, profile="t")
    made = []

    async def act():
        await source.operations.store.remove_profile("t")
        await source.profiles.create("t")
        made.append(await add(source, profile="t"))

    assert (await copied_while(act))[1] == Copied("t", 1, 0)
    async with verified(target, key) as copied:
        assert await copied.descriptions.list_keys("t", limit=9) == (made, False)


async def test_a_key_without_its_material(source, persistent_url, target, key):
    record = await add(source, profile="t")
    await source.operations.store._database.run(
        "t", lambda session: replace_record(session, record.drop_material()), write=True
    )
    with pytest.raises(KeyUnreadable, match=f"Profile t: The key {record.kid} has no material"):
        await copy_of(persistent_url, key, target)
    with pytest.raises(StoreError, match="never finished"):
        async with KeyStore.open(target, key):
            pass


async def add_chain(store):
    """Insert an entry of an audit log."""

    async def work(session):
        await session.insert(CHAIN, "chain", b"x" * 999)

    await store.database.run_own(work, write=True)


# Makes the store's own entries; the last entry made is damaged.
OWN_ENTRIES = {
    "profile": lambda store: store.directory.create("u"),
    "chain of an audit log": add_chain,
    "token": lambda store: Tokens(store.database).create("name", ("sign",)),
}


@pytest.mark.parametrize("what", OWN_ENTRIES)
async def test_an_entry_of_the_store_that_does_not_decrypt_is_not_left_out(
    tmp_path, key, target, flip, query, what
):
    path = tmp_path / "keys.db"
    location = StoreLocation.parse(f"sqlite://{path}")
    async with KeyStore.create(location, key):
        pass
    of_store = "FROM items WHERE profile_id = (SELECT id FROM profiles WHERE name = 'minikms')"
    [(before,)] = query(await whole(path), f"SELECT max(id) {of_store}")
    async with KeyStore.open(location, key) as store:
        await OWN_ENTRIES[what](store)
    [(number, _)] = query(
        await whole(path), f"SELECT id, max(length(value)) {of_store} AND id > {before}"
    )
    flip(path, number)
    with pytest.raises(KeyUnreadable):
        await copy_of(f"sqlite://{path}", key, target)
    with pytest.raises(StoreError, match="never finished"):
        async with KeyStore.open(target, key):
            pass


@pytest.mark.parametrize("fault", ["marker", "Askar has no profile"])
async def test_a_profile_that_cannot_be_used(source, persistent_url, target, key, fault):
    database = source.operations.store._database
    if fault == "marker":
        await database.run(
            "t", lambda session: session.remove("minikms.profile", "self"), write=True
        )
    else:
        await database._pool.store.remove_profile(await database.directory.askar_profile("t"))
    with pytest.raises(KeyUnreadable, match=f"Profile t: .*{fault}"):
        await copy_of(persistent_url, key, target)
    async with StoreInspector.open(StoreLocation.parse(persistent_url), key) as contents:
        counts = count(contents, ())
        assert await anext(counts) == (DEFAULT_PROFILE, {})
        with pytest.raises(KeyUnreadable, match=f"Profile t: .*{fault}"):
            await anext(counts)


async def test_a_copy_that_another_process_begins_again(target, key):
    first, second = (StoreWriter.create(target, key) for _ in range(2))
    await (await first.__aenter__()).directory.create("a")
    await (await second.__aenter__()).directory.create("b")
    with pytest.raises(StoreError, match="Another process also makes"):
        await first.__aexit__(None, None, None)
    with pytest.raises(StoreError, match="never finished"):
        async with StoreInspector.open(target, key):
            pass
    await second.__aexit__(None, None, None)
    async with StoreInspector.open(target, key) as contents:
        assert await contents.profiles() == ["b"]


async def test_a_store_with_one_connection(source, persistent_url, key, target):
    with pytest.raises(StoreError, match="max_connections"):
        await copy_of(f"{persistent_url}?max_connections=1", key, target)


async def test_rules_are_copied(source, persistent_url, key, target):
    rules = Rules.parse("sd-jwt-vc")
    record = await add(source, "p256", rules=rules)
    await copy_of(persistent_url, key, target)
    async with KeyStore.open(target, key) as store:
        copied = KeyService(REGISTRY, store)
        assert (await copied.operations.get(DEFAULT_PROFILE, KeyRef(kid=record.kid))).rules == rules
        with pytest.raises(RuleViolated):
            await copied.operations.perform(
                DEFAULT_PROFILE, KeyRef(kid=record.kid), Sign(b"", SignOptions())
            )


async def test_a_copy_has_the_settings_of_profiles(source, persistent_url, key, target):
    await add(source, profile="t")
    await source.profiles.change("t", {"max_keys": 2, "delete_scope": True})
    await copy_of(persistent_url, key, target)
    async with KeyStore.open(target, key) as store:
        copied = KeyService(REGISTRY, store)
        found = [await each.profiles.page(None, 100, "") for each in (copied, source)]
        assert found[0] == found[1]
        await add(copied, profile="t")
        with pytest.raises(TooManyKeys):
            await add(copied, profile="t")


async def test_a_frozen_profile_is_copied_and_stays_frozen(source, persistent_url, key, target):
    key_of_t = await add(source, profile="t")
    await source.profiles.change("t", {"frozen": True})
    await copy_of(persistent_url, key, target)
    async with verified(target, key) as copied:
        kid = KeyRef(kid=key_of_t.kid)
        assert (await copied.operations.get("t", kid)).kid == key_of_t.kid
        with pytest.raises(ProfileFrozen):
            await add(copied, profile="t")
        await copied.profiles.change("t", {"frozen": False})
        await add(copied, profile="t")


async def test_uses_in_a_day_are_copied(source, persistent_url, key, target):
    record = await add(source, "ed25519", rules=Rules(raw=True, per_day=10))
    database = source.operations.store.database
    assert await lease_uses(database, DEFAULT_PROFILE, record.kid, 10, 7) == (7, 0)
    await copy_of(persistent_url, key, target)
    async with KeyStore.open(target, key) as store:
        leased, wait = await lease_uses(store.database, DEFAULT_PROFILE, record.kid, 10, 4)
        assert (leased, wait > 0) == (0, True)


async def test_an_interrupted_profile_is_invisible_and_begun_again(key, target):
    async with KeyStore.create(target, key) as store:
        arrivals = store.database.arrivals
        first = await arrivals.begin("t")
        assert await store.directory.names() == [DEFAULT_PROFILE]
        second = await arrivals.begin("t")  # as after a kill
        with pytest.raises(ProfileNotFound):
            await arrivals.finish(first, NO_SETTINGS, _nothing)
        await arrivals.drop(first)
        await arrivals.finish(second, NO_SETTINGS, _nothing)
        await arrivals.drop(second)
        await add(KeyService(REGISTRY, store), profile="t")
        with pytest.raises(ProfileExists):
            await arrivals.begin("t")
    async with verified(target, key):
        pass


async def _nothing(session):
    pass
