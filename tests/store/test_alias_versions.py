"""Versions of aliases: their numbers, whatever changes the alias, and the keys behind them."""

import asyncio
import random
from dataclasses import replace

import pytest
from waiting import waiting_for

from minikms import versions
from minikms.errors import (
    AliasNotFound,
    KeyNotFound,
    KeyNotUsable,
    ProfileNotFound,
    TooLargeRecord,
    ValidationFailed,
)
from minikms.key_requests import KeyPolicy, KeyRef, KeySource
from minikms.keys import rotation
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.cache import Bounds
from minikms.store.keys import entries
from minikms.store.keys.entries import load_record
from minikms.store.keys.key_store import KeyStore
from minikms.versions import MAX_VERSIONS, MIN_VERSIONS, KeyVersions, most_versions

REGISTRY = AlgorithmRegistry.from_installed()
CACHED = Bounds(1000, ttl=60)
NAMED = KeyPolicy(aliases=("n",))


def none(*_):
    """Let a change happen."""


class Calls:
    """A service on one store, whose calls are in the default profile."""

    def __init__(self, store, cache=CACHED):
        self.service = KeyService(REGISTRY, store, cache=cache)

    def __getattr__(self, name):
        parts = vars(self.service).values()
        found = (getattr(part, name, None) for part in parts)
        method = next(filter(callable, found))
        return lambda *args, **kwargs: method(DEFAULT_PROFILE, *args, **kwargs)

    async def make(self, *aliases, alg="ed25519"):
        return (await self.generate(alg, KeyPolicy(aliases=aliases))).kid

    async def kids(self, name="n"):
        return list((await self.versions(name)).kids.values())


@pytest.fixture
async def calls():
    async with KeyStore.open_memory() as store:
        yield Calls(store)


@pytest.fixture
async def pair(persistent_url):
    """Two services on one store, each with a cache."""
    key, location = StoreKey(new_raw_key()), StoreLocation.parse(persistent_url)
    async with KeyStore.create(location, key):
        pass
    async with (
        KeyStore.open(location, key, serving=True) as first,
        KeyStore.open(location, key, serving=True) as second,
        first.database.listening(CACHED.ttl),
        second.database.listening(CACHED.ttl),
    ):
        yield Calls(first), Calls(second)


async def test_a_name_begins_at_1(calls):
    kid = await calls.make("n")
    found = await calls.versions("n")
    assert (found.kids, found.first, found.latest, found.latest_kid) == ({1: kid}, 1, 1, kid)
    assert (found.min_decryption_version, found.min_encryption_version) == (1, 0)
    assert (found.min_available_version, found.deletion_allowed) == (0, False)
    with pytest.raises(AliasNotFound):
        await calls.versions("other")


async def test_every_kind_of_rotation_and_move_is_the_next_version(calls):
    kids = [await calls.make("n")]
    kids.append((await calls.rotate(kids[-1])).kid)
    kids.append((await calls.rotate_name("n")).kid)
    kids.append((await calls.rotate(kids[-1])).kid)
    kids.append(await calls.make("n"))
    kids.append(await calls.make("other"))
    await calls.associate(kids[-1], "n")
    kids.append((await calls.rotate(kids[-1])).kid)
    await calls.associate(kids[0], "n")
    kids.append(kids[0])
    found = await calls.versions("n")
    assert [*found.kids.values()] == kids
    assert [found.kid_of(number) for number in range(10)] == [None, *kids, None]
    assert (found.of_kid(kids[0]), found.of_kid(kids[1]), found.of_kid("x")) == (8, 2, None)
    assert await calls.kids("other") == kids[5:7]


async def test_only_a_rotation_by_name_leaves_the_old_key_enabled(calls):
    first = await calls.make("n")
    second = (await calls.rotate(first)).kid
    await calls.rotate_name("n")
    records = await calls.records([first, second, "missing"])
    assert [record and record.state for record in records] == ["verify-only", "enabled", None]
    assert records[1].aliases == ()
    with pytest.raises(KeyNotUsable):
        await calls.rotate(second)
    await calls.associate(second, "n")
    await calls.rotate(second)
    assert len(await calls.kids()) == 5


async def test_the_last_sixteen_keys_before_rotations_are_the_predecessors(calls):
    kids = [await calls.make("n", "m")]
    for number in range(3 * MIN_VERSIONS):
        rotated = calls.rotate_name("n") if number % 5 == 4 else calls.rotate(kids[-1])
        kids.append((await rotated).kid)
        assert await calls.kids() == await calls.kids("m") == kids
    assert await calls.predecessors(kids[-1], "n") == kids[-2:-18:-1]
    assert await calls.predecessors(kids[1], "m") == kids[:1]
    assert await calls.predecessors(kids[0], "m") == []


async def test_a_move_leaves_no_predecessors_but_all_versions(calls):
    first, moved = await calls.make("n"), await calls.make()
    await calls.rotate(first)
    await calls.associate(moved, "n")
    assert await calls.predecessors(moved, "n") == []
    rotated = (await calls.rotate(moved)).kid
    assert await calls.predecessors(rotated, "n") == [moved]
    assert len(await calls.kids()) == 4
    assert await calls.predecessors(rotated, "other") == ()


async def test_another_service_finds_the_predecessors_of_a_key_that_was_just_rotated(pair):
    first = await pair[0].make("n")
    assert await pair[1].kids() == [first]  # it is cached
    second = (await pair[0].rotate(first)).kid
    assert await pair[1].predecessors(second, "n") == [first]


async def test_removed_and_made_again_a_name_begins_at_1(calls):
    first = await calls.make("n")
    second = (await calls.rotate_name("n")).kid
    await calls.dissociate(second, "n")
    with pytest.raises(AliasNotFound):
        await calls.versions("n")
    third = await calls.make("n")
    assert await calls.kids() == [third]
    await calls.rotate_name("n")
    await calls.delete(KeyRef(alias="n"))
    assert await calls.kids(await new_name(calls)) != []
    assert [r is None for r in await calls.records([first, second, third])] == [False] * 3


async def new_name(calls):
    await calls.make("n")
    return "n"


async def test_a_profile_that_is_made_again_has_no_versions_of_the_earlier_one(calls):
    service = calls.service
    for _ in range(2):
        await service.profiles.create("t")
        with pytest.raises(AliasNotFound):
            await service.aliases.versions("t", "n")
        kid = (await service.creation.generate("t", "ed25519", NAMED)).kid
        for _ in range(2):  # from the store, then from the cache
            assert (await service.aliases.versions("t", "n")).kids == {1: kid}
        assert await service.operations.store.remove_profile("t")
    with pytest.raises(ProfileNotFound):
        await service.aliases.versions("t", "n")


async def test_a_deletion_that_is_due_frees_the_name(calls):
    old = await calls.make("n")
    new = (await calls.rotate_name("n")).kid
    await calls.schedule_deletion(KeyRef(kid=new), 0)
    kid = await calls.make("n")
    assert await calls.kids() == [kid]
    assert (await calls.records([old, new]))[1] is None


async def test_a_version_whose_deletion_is_due_stays_gone_if_the_clock_goes_back(calls):
    old = await calls.make("n")
    await calls.rotate_name("n")
    await calls.schedule_deletion(KeyRef(kid=old), 0)
    assert await calls.records([old]) == [None]
    record = await calls.service.operations.store.database.run(
        DEFAULT_PROFILE, lambda session: load_record(session, old)
    )
    assert record.deletes == 0


async def test_a_change_is_stored_and_may_refuse(calls):
    kid = await calls.make("n")
    seen = []

    def change(record, versions):
        seen.append((record.kid, versions.latest))
        return KeyVersions(versions.kids, deletion_allowed=True, min_encryption_version=1)

    changed = await calls.change_versions("n", change)
    assert changed == await calls.versions("n")
    assert changed.deletion_allowed
    assert seen == [(kid, 1)]

    def refuse(*_):
        raise ValidationFailed

    for call in (calls.change_versions, calls.rotate_name, calls.delete_name):
        with pytest.raises(ValidationFailed):
            await call("n", refuse)
    assert changed == await calls.versions("n")
    # A rotation, a move and another alias keep the settings.
    await calls.rotate_name("n")
    await calls.make("n")
    after = await calls.versions("n")
    assert (after.latest, after.deletion_allowed, after.min_encryption_version) == (3, True, 1)


async def test_keys_of_versions_that_are_trimmed_are_removed(calls):
    kids = [await calls.make("n")]
    for _ in range(5):
        kids.append((await calls.rotate_name("n")).kid)
    await calls.associate(kids[1], "kept")
    await calls.delete(KeyRef(kid=kids[2]))
    found = await calls.change_versions("n", lambda _, versions: versions.trimmed(5))
    assert (found.first, found.min_available_version) == (5, 5)
    assert found.min_decryption_version == 5
    assert [found.kid_of(number) for number in (4, 5, 6)] == [None, *kids[4:]]
    there = [record is not None for record in await calls.records(kids)]
    assert there == [False, True, False, False, True, True]
    assert (await calls.rotate_name("n")).kid == (await calls.versions("n")).kid_of(7)


async def test_a_name_is_deleted_with_its_keys(calls):
    kids = [await calls.make("n")]
    kids += [(await calls.rotate_name("n")).kid for _ in range(3)]
    removed = await calls.delete_name("n", none)
    assert removed.kid == kids[-1]
    assert await calls.records(kids) == [None] * 4
    with pytest.raises(AliasNotFound):
        await calls.versions("n")
    with pytest.raises(KeyNotFound):
        await calls.get(KeyRef(kid=kids[0]))


async def test_a_key_with_another_alias_stays_with_all_its_versions(calls):
    kids = [await calls.make("n", "m")]
    kids += [(await calls.rotate_name("n")).kid for _ in range(3)]
    await calls.change_versions("n", lambda _, versions: versions.trimmed(3))
    await calls.delete_name("n", none)
    assert None not in await calls.records(kids)
    assert await calls.kids("m") == kids
    assert (await calls.get(KeyRef(kid=kids[-1]))).aliases == ("m",)


async def moved_out_of_two_names(calls):
    """`m` and `n` share two keys, then `m` is moved on."""
    kids = [await calls.make("n", "m")]
    kids.append((await calls.rotate_name("n")).kid)
    kids.append(await calls.make("m"))
    return kids


async def moved_over(calls):
    """`m` is moved to a replaced key of `n`, and on: each key has one alias at a time."""
    kids = [await calls.make("n")]
    await calls.rotate_name("n")
    kids.append(await calls.make("m"))
    await calls.associate(kids[0], "m")
    kids.append(await calls.make("m"))
    return [kids[1], kids[0], kids[2]]


@pytest.mark.parametrize("share", [moved_out_of_two_names, moved_over])
async def test_deleting_a_name_leaves_the_versions_of_another(calls, share):
    kids = await share(calls)
    assert await calls.kids("m") == kids
    await calls.delete_name("n", none)
    assert None not in await calls.records(kids)
    assert await calls.kids("m") == kids
    await calls.delete_name("m", none)
    assert await calls.records(kids) == [None] * 3


@pytest.mark.parametrize("share", [moved_out_of_two_names, moved_over])
async def test_trimming_a_name_leaves_the_versions_of_another(calls, share):
    kids = await share(calls)
    await calls.change_versions("n", lambda _, versions: versions.trimmed(2))
    assert None not in await calls.records(kids)
    await calls.change_versions("m", lambda _, versions: versions.trimmed(3))
    shared = set(kids[:2]) & set(await calls.kids("n"))
    there = [record is not None for record in await calls.records(kids)]
    assert there == [kid in {*shared, kids[2]} for kid in kids]


async def test_deleting_a_name_leaves_its_newest_key_to_another_name(calls):
    kids = [await calls.make("n")]
    kids.append((await calls.rotate_name("n")).kid)
    await calls.associate(kids[0], "m")
    await calls.delete_name("m", none)
    assert None not in await calls.records(kids)
    await calls.associate(kids[0], "n")  # its versions have the key twice
    await calls.delete_name("n", none)
    assert await calls.records(kids) == [None, None]


async def test_keys_of_one_name_are_deleted_though_the_newest_has_another(calls):
    kids = [await calls.make("n")]
    kids.append((await calls.rotate_name("n")).kid)
    await calls.associate(kids[1], "m")
    await calls.delete_name("n", none)
    assert [record is None for record in await calls.records(kids)] == [True, False]
    assert await calls.kids("m") == kids[1:]


async def test_a_key_that_had_an_alias_is_deleted_with_its_next_name(calls):
    kid = await calls.make("m")
    await calls.dissociate(kid, "m")
    await calls.associate(kid, "n")
    await calls.rotate_name("n")
    await calls.delete_name("n", none)
    assert await calls.records([kid]) == [None]


async def test_the_number_of_versions_is_bounded(calls):
    found = KeyVersions({1: "0"})
    for number in range(MAX_VERSIONS + 50):
        found = found.followed_by(f"{number + 1}".rjust(43, "k"))
    assert len(found.kids) == MAX_VERSIONS
    assert found.latest == MAX_VERSIONS + 51
    assert found.first == found.min_available_version == found.min_decryption_version == 52
    assert len(found.to_bytes()) < 64 * 1024
    assert KeyVersions.from_bytes(found.to_bytes()) == found
    assert [most_versions(number) for number in (0, 1, 2, 1000)] == [1000, 1000, 500, MIN_VERSIONS]


async def test_keys_of_an_older_store_stay_when_a_name_that_had_them_is_deleted(calls):
    """The keys may have belonged to another alias."""
    kids = [await calls.make("n")]
    kids.append((await calls.rotate_name("n")).kid)
    for kid in kids:
        await calls.service.operations.store.change(
            DEFAULT_PROFILE, kid, lambda record: replace(record, named_by=None)
        )
    await calls.delete_name("n", none)
    assert [record is None for record in await calls.records(kids)] == [False, True]


async def test_the_versions_of_an_alias_as_of_an_earlier_key():
    found = KeyVersions({3: "a", 4: "b", 5: "a", 6: "c"}, moved=6)
    assert found.as_of("a") == KeyVersions({3: "a", 4: "b", 5: "a"}, moved=5)
    assert found.as_of("x") == KeyVersions({1: "x"})


async def test_rotations_at_once_give_one_version_each(pair):
    for alg, number in (("ed25519", 50), ("p256", 20)):
        name = f"of-{alg}"
        first = await pair[0].make(name, alg=alg)
        made = await asyncio.gather(*(pair[n % 2].rotate_name(name) for n in range(number)))
        for each in pair:
            found = await each.versions(name)
            assert found.latest == number + 1
            kids = [*found.kids.values()]
            assert kids[0] == first
            assert set(kids[1:]) == {record.kid for record in made}
        (newest,) = [r for r in await pair[1].records(kids) if r.aliases]
        assert newest.kid == found.latest_kid


async def sees(calls, kids):
    """Wait until a service has these versions: on PostgreSQL, the notice may come later."""
    async with waiting_for("the versions of the other service"):
        while await calls.kids() != kids:
            await asyncio.sleep(0.01)


async def test_both_services_see_each_change(pair):
    rng = random.Random(4)
    kids = [await pair[0].make("n")]
    for _ in range(30):
        one, other = rng.sample(pair, 2)
        await sees(other, kids)
        match rng.randrange(3):
            case 0:
                kids.append((await one.rotate_name("n")).kid)
            case 1:
                kids.append((await one.rotate(kids[-1])).kid)
            case 2:
                kids.append(await one.make("n"))
        assert await one.kids() == kids
        await sees(other, kids)


@pytest.mark.parametrize("other", ["rotate", "move"])
async def test_rotations_of_other_kinds_at_once_lose_no_version(pair, other):
    """A rotation by kid fails if another one was quicker; every success is one version."""
    first = await pair[0].make("n")

    async def by_kid(one):
        for _ in range(20):
            kid = (await one.get(KeyRef(alias="n"))).kid
            try:
                return (await one.rotate(kid)).kid
            except KeyNotUsable:
                continue
        return None

    async def move(one):
        return await one.make("n")

    async def by_name(one):
        return (await one.rotate_name("n")).kid

    kinds = [by_kid if other == "rotate" else move, by_name] * 12
    made = await asyncio.gather(*(kind(pair[n % 2]) for n, kind in enumerate(kinds)))
    found = await pair[0].versions("n")
    assert sorted(found.kids.values()) == sorted([first, *(kid for kid in made if kid)])
    assert found.first == 1


@pytest.fixture
def moving(monkeypatch):
    """Let a coroutine run between the two reads that find the key of an alias."""

    def run(work):
        load = entries.load_record

        async def after_work(session, kid):
            monkeypatch.setattr(entries, "load_record", load)
            await work()
            return await load(session, kid)

        monkeypatch.setattr(entries, "load_record", after_work)

    return run


async def test_a_key_is_found_by_an_alias_that_moves_meanwhile(pair, moving):
    _, second = await pair[0].make("n"), await pair[0].make()
    moving(lambda: pair[0].associate(second, "n"))
    assert (await pair[1].get(KeyRef(alias="n"))).kid == second


async def test_a_key_is_found_by_an_alias_that_is_rotated_meanwhile(pair, moving):
    kids = [await pair[0].make("n")]

    async def rotate():
        kids.append((await pair[0].rotate_name("n")).kid)

    moving(rotate)
    assert (await pair[1].get(KeyRef(alias="n"))).kid == kids[1]


@pytest.mark.parametrize("moved", ["n", "m"])
async def test_no_version_of_a_name_that_was_used_by_name_is_forgotten(calls, moved, monkeypatch):
    """Rotations and moves that would forget one are refused, and change nothing."""
    monkeypatch.setattr(versions, "MAX_VERSIONS", 20)
    kids = [await calls.make("n")]
    kids += [(await calls.rotate_name("n")).kid for _ in range(18)]
    await calls.associate(kids[-1], "m")
    for rotated in (lambda: calls.rotate_name(moved), lambda: calls.rotate(kids[-1])):
        with pytest.raises(TooLargeRecord):
            await rotated()
    assert await calls.kids() == kids
    kids.append(await calls.make("n"))
    with pytest.raises(TooLargeRecord):
        await calls.make("n")
    other = await calls.make()
    with pytest.raises(TooLargeRecord):
        await calls.associate(other, "n")
    assert await calls.kids() == kids
    await calls.change_versions("n", lambda _, found: found.trimmed(2))
    await calls.rotate(kids[-1])
    assert (await calls.kids())[:-1] == kids[1:]


async def test_a_setting_keeps_the_versions_too(calls, monkeypatch):
    monkeypatch.setattr(versions, "MAX_VERSIONS", 20)
    kids = [await calls.make("n")]
    await calls.change_versions("n", lambda _, found: replace(found, deletion_allowed=True))
    for _ in range(19):
        kids.append((await calls.rotate(kids[-1])).kid)
    with pytest.raises(TooLargeRecord):
        await calls.rotate(kids[-1])


async def test_rotations_by_kid_and_moves_alone_are_never_refused(calls, monkeypatch):
    monkeypatch.setattr(versions, "MAX_VERSIONS", 20)
    kids = [await calls.make("n", "m")]
    for number in range(50):
        if number % 5 == 4:
            kids.append(await calls.make("n", "m"))
        else:
            kids.append((await calls.rotate(kids[-1])).kid)
    found = await calls.versions("n")
    # A rotation of two aliases leaves 17 versions of each, and a move adds one.
    assert (found.latest, len(found.kids)) == (51, MIN_VERSIONS + 1)
    assert [*found.kids.values()] == kids[-MIN_VERSIONS - 1 :]


async def test_an_imported_version_is_checked_in_its_transaction(calls):
    await calls.make("n")
    source = KeySource("hs256", secret=bytes(range(32)))

    def refuse(*_):
        raise ValidationFailed

    before = await calls.kids()
    with pytest.raises(ValidationFailed):
        await calls.import_key(source, NAMED, check=refuse)
    with pytest.raises(AliasNotFound):
        await calls.import_key(source, KeyPolicy(aliases=("gone",)), check=none)
    assert await calls.kids() == before
    seen = []
    imported = await calls.import_key(
        source, NAMED, check=lambda record, found: seen.append((record.kid, found.latest))
    )
    assert await calls.kids() == [*before, imported.kid]
    assert seen == [(before[0], 1)]
    assert (await calls.versions("n")).kept


async def test_a_slow_rotation_makes_the_key_for_the_policy_of_the_key_that_it_replaces(
    calls, monkeypatch
):
    """During the rotation, the alias moves to a key with another policy."""
    await calls.make("n", alg="p256")
    other = (await calls.generate("p256", KeyPolicy(exportable=True))).kid
    monkeypatch.setattr(rotation, "is_slow_to_make", lambda *_: True)
    in_turn, made = calls.service.maker.in_turn, []

    async def moving(*args):
        made.append(await in_turn(*args))
        if len(made) == 1:
            await calls.associate(other, "n")
        return made[-1]

    monkeypatch.setattr(calls.service.maker, "in_turn", moving)
    rotated = await calls.rotate_name("n")
    assert (rotated.exportable, len(made)) == (True, 2)
    assert (await calls.kids())[1:] == [other, rotated.kid]
