"""A profile moves into another store with its keys and its own tokens, and nothing gets lost."""

import asyncio
import time
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from minikms.access.policy import SCOPES
from minikms.access.tokens import Tokens
from minikms.errors import ProfileExists, ProfileFrozen, ProfileNotFound
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.keys.service import KeyService
from minikms.keys.signing import Sign, SignOptions, Verify
from minikms.maintenance.copy import COPY_NOTES, Copied
from minikms.maintenance.inspect import StoreInspector
from minikms.maintenance.profile_copy import copy_profiles, require_copyable
from minikms.maintenance.progress import Progress
from minikms.maintenance.verify import verify
from minikms.maintenance.write import StoreWriter
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import PROVIDED, KeyRecord
from minikms.rules import Rules
from minikms.startup_errors import StoreError
from minikms.store.askar.location import StoreKey, StoreLocation
from minikms.store.askar.stores import new_raw_key
from minikms.store.keys.day_leases import lease_uses
from minikms.store.keys.key_store import KeyStore

REGISTRY = AlgorithmRegistry.from_installed()
T = "t"
RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)
SIGN = Sign(b"", SignOptions())


@pytest.fixture
def key():
    return StoreKey(new_raw_key())


@pytest.fixture
async def source(persistent_url, key):
    """A service on a store with the profiles t and u."""
    async with KeyStore.create(StoreLocation.parse(persistent_url), key) as store:
        service = KeyService(REGISTRY, store)
        for profile in (T, "u"):
            await service.profiles.create(profile)
        yield service


@pytest.fixture
def target(tmp_path):
    return StoreLocation.parse(f"sqlite://{tmp_path}/target.db")


@pytest.fixture
async def filled_target(target, key):
    """A service on a target with a profile and keys of its own."""
    async with KeyStore.create(target, key) as store:
        service = KeyService(REGISTRY, store)
        await service.profiles.create("other")
        await add(service, "other", aliases=("a",))
        yield service


@pytest.fixture
def move(persistent_url, key, target):
    """Move profiles into the target."""

    async def run(*profiles, contents=StoreInspector, progress=None, freeze=True):
        async with (
            contents.open(StoreLocation.parse(persistent_url), key) as source,
            StoreWriter.open_or_create(target, key) as writer,
            aclosing(
                copy_profiles(
                    source,
                    writer,
                    lambda number: None,
                    profiles=profiles or (T,),
                    freeze=freeze,
                    progress=progress,
                )
            ) as copies,
        ):
            return [copied async for copied in copies]

    return run


async def add(service, profile=T, alg="hs256", **policy):
    """The record of a new key, its place included."""
    made = await service.creation.generate(profile, alg, KeyPolicy(**policy))
    return await service.operations.get(profile, KeyRef(kid=made.kid))


@asynccontextmanager
async def opened(target, key):
    """A service on the target, in which `verify` finds no fault."""
    faults = []
    async with StoreInspector.open(target, key) as contents:
        await verify(contents, REGISTRY, lambda *fault: faults.append(fault), faults.append)
    assert faults == []
    async with KeyStore.open(target, key) as store:
        yield KeyService(REGISTRY, store)


async def contents_of(service, kids):
    """All that callers see of the profile t: settings apart, it is the same in a copy."""
    listed, more = await service.descriptions.list_keys(T, limit=100)
    described = [await service.descriptions.describe(T, KeyRef(kid=kid)) for kid in kids]
    uses = [(each.last_used and each.last_used // 10**9, each.noted_since) for each in described]
    versions = {name: await service.aliases.versions(T, name) for name in ("a", "b")}
    store = service.operations.store
    due = await store.deletions.due(T), await store.rotations.due(T)
    return listed, more, described, uses, versions, due, await service.publications.publishes(T)


@pytest.mark.parametrize("there", [False, True], ids=["new store", "store with others"])
async def test_a_moved_profile_is_the_same(source, move, key, target, there):
    if there:
        async with KeyStore.create(target, key) as store:
            other = KeyService(REGISTRY, store)
            await other.profiles.create("other")
            await add(other, "other", aliases=("a",))
    keys = [await add(source, alg="ed25519", aliases=("a", "b"), labels={"x": "y"})]
    for _ in range(2):
        await source.rotation.rotate_name(T, "a")
    keys.append(await add(source, alg="xc20p"))
    keys.append(await add(source, alg="ed25519", rotate_every=3600))
    keys.append(await add(source, rules=Rules(raw=True, per_day=10)))
    keys.append(await add(source, delete_after=86_400))
    due = await add(source)
    await source.operations.store.deletions.schedule(T, KeyRef(due.kid), 1)
    signed = await source.operations.perform(T, KeyRef(alias="a"), SIGN)
    await source.operations.uses.store()
    store = source.operations.store
    assert await lease_uses(store.database, T, keys[3].kid, 10, 7) == (7, 0)
    await source.publications.publish(T, public=True)
    await source.profiles.change(T, {"max_keys": 9, "delete_scope": True})
    kids = [each.kid for each in keys]
    before = await contents_of(source, kids)
    assert await move() == [Copied(T, 8, 0)]
    assert await contents_of(source, kids) == before
    async with opened(target, key) as moved:
        assert await contents_of(moved, kids) == before
        names = [DEFAULT_PROFILE, "other", T] if there else [DEFAULT_PROFILE, T]
        assert await moved.profiles.names() == names
        by = KeyRef(alias="a")
        assert await moved.operations.perform(T, by, Verify(b"", signed.sig, SignOptions()))
        assert (await moved.operations.perform(T, by, SIGN)).sig == signed.sig
        leased, wait = await lease_uses(moved.operations.store.database, T, keys[3].kid, 10, 4)
        assert (leased, wait > 0) == (0, True)
        settings = await moved.profiles.settings_of(T)
        assert settings._replace(frozen=True) == await source.profiles.settings_of(T)
        assert not settings.frozen
        await moved.sweep()
        assert await moved.operations.store.deletions.due(T) == []
        new = await add(moved)
        assert int(new.seq) == 9  # after the last one
    with pytest.raises(ProfileFrozen):
        await add(source)
    assert await source.operations.perform(T, KeyRef(alias="a"), SIGN)


async def test_tokens_of_the_profile_alone_are_moved(source, filled_target, move, key, target):
    tokens = Tokens(source.operations.store.database)
    early, _ = await tokens.create("early", SCOPES, ("v",))
    await source.profiles.create("v")  # for which the early token is not
    expires = time.time_ns() + 10**12
    made = {
        name: await tokens.create(name, ("sign",), profiles, expires)
        for name, profiles in {
            "alone": (T,), "both": (T, "u"), "other": ("u",), "all": None, "v": ("v",)
        }.items()
    }  # fmt: skip
    tokens.uses.times[made["alone"][1].id] = time.time_ns()
    await tokens.uses.store()
    found = {each.profile: each for each in await move(T, "v")}
    assert [found[name].tokens for name in (T, "v")] == [1, 1]
    assert [each.name for each in found[T].left] == ["both"]
    assert found["v"].left == ()
    async with opened(target, key) as moved:
        there = Tokens(moved.operations.store.database)
        token, before = made["alone"]
        record = await there.find(token.id)
        assert record.fits(token)
        assert await there.profiles_of(record) == {T: (await moved.profiles.tenancy(T)).id}
        listed, _ = await there.page(None, 9)
        assert {each.name for each in listed} == {"alone", "v"}
        (alone,) = [each for each in listed if each.name == "alone"]
        assert replace(alone, ids={}, seq="", last_used=None) == replace(before, ids={})
        assert alone.last_used
        assert await there.find(early.id) is None
    assert await tokens.find(made["alone"][0].id)  # it also stays


async def test_a_profile_that_is_there_is_refused_before_anything(source, filled_target, move):
    await filled_target.profiles.create("u")
    before = await filled_target.operations.store.database.directory.askar_profiles()
    for profiles in (("u",), (T, "u"), (DEFAULT_PROFILE,)):
        with pytest.raises(StoreError, match="already"):
            await move(*profiles)
    assert await filled_target.operations.store.database.directory.askar_profiles() == before
    for profile in (T, "u"):
        assert not (await source.profiles.settings_of(profile)).frozen


async def test_profiles_that_cannot_be_moved_are_refused(source, persistent_url, move, key):
    record = replace(RECORD, provider="hsm", object_id="0a", crit=PROVIDED)
    async with StoreInspector.open(StoreLocation.parse(persistent_url), key) as contents:
        await require_copyable(contents, [T])
        with pytest.raises(StoreError, match="no profile x"):
            await require_copyable(contents, [T, "x"])
        await source.operations.store.insert(T, record, b"reference")
        with pytest.raises(StoreError, match="keys of a provider"):
            await require_copyable(contents, [T])
    with pytest.raises(StoreError, match="keys of a provider"):  # made before it was frozen
        await move()


def while_read(act):
    """An inspector of a store in which `act` is called once records of a profile were read."""

    class Changed(StoreInspector):
        async def records(self, profile, *, in_order=True):
            async for batch in super().records(profile, in_order=in_order):
                await act()
                yield batch

    return Changed


async def test_a_write_meanwhile_is_refused(source, move, key, target):
    made = [await add(source)]

    async def act():
        with pytest.raises(ProfileFrozen):
            await add(source)
        with pytest.raises(ProfileFrozen):
            await source.changes.delete(T, KeyRef(made[0].kid))
        await add(source, "u")

    assert await move(contents=while_read(act)) == [Copied(T, 1, 0)]
    async with opened(target, key) as moved:
        assert await moved.descriptions.list_keys(T, limit=9) == (made, False)


async def test_no_acknowledged_write_is_lost(source, move, key, target):
    made = []

    async def write():
        while True:
            try:
                made.append((await add(source)).kid)
            except ProfileFrozen:
                return

    writers = [asyncio.create_task(write()) for _ in range(4)]
    while len(made) < 10:
        await asyncio.sleep(0.01)
    await move()
    await asyncio.gather(*writers)
    async with opened(target, key) as moved:
        listed, _ = await moved.descriptions.list_keys(T, limit=1000)
    assert sorted(each.kid for each in listed) == sorted(made)


async def test_a_profile_that_the_target_makes_meanwhile(source, filled_target, move):
    await add(source)

    async def act():
        await filled_target.profiles.create(T)

    with pytest.raises(ProfileExists):
        await move(contents=while_read(act))
    assert await filled_target.descriptions.list_keys(T, limit=9) == ([], False)


async def test_a_profile_that_is_removed_meanwhile(source, filled_target, move):
    await add(source)
    profiles = await filled_target.operations.store.database.directory.askar_profiles()
    with pytest.raises(ProfileNotFound):
        await move(contents=while_read(lambda: source.operations.store.remove_profile(T)))
    assert await filled_target.operations.store.database.directory.askar_profiles() == profiles


async def test_a_move_continues(source, filled_target, move, tmp_path):
    for profile in (T, "u"):
        await add(source, profile)
    file, gone = tmp_path / "progress", []

    async def cut():
        if (await source.profiles.settings_of("u")).frozen and not gone:
            gone.append("u")
            raise ConnectionError

    def noted():
        return Progress.open(file, {}, COPY_NOTES)

    with pytest.raises(ConnectionError), noted() as progress:
        await move(T, "u", contents=while_read(cut), progress=progress)
    with pytest.raises(StoreError, match="a profile t already"):
        await move(T, "u")  # without the file
    with noted() as progress:
        assert {*await move(T, "u", progress=progress)} == {Copied(T, 1, 0), Copied("u", 1, 0)}
    assert not file.exists()
    assert await filled_target.profiles.names() == [DEFAULT_PROFILE, "other", T, "u"]


async def test_a_noted_profile_that_is_not_in_the_target_is_moved_again(
    source, filled_target, move, tmp_path
):
    """A process was killed before the target had it, or it was removed there."""
    await add(source)
    file = tmp_path / "progress"

    async def move_and_die():
        with Progress.open(file, {}, COPY_NOTES) as progress:
            assert await move(progress=progress) == [Copied(T, 1, 0)]
            raise ConnectionError

    for _ in range(2):
        with pytest.raises(ConnectionError):
            await move_and_die()
        await filled_target.operations.store.remove_profile(T)
        assert len(file.read_text().splitlines()) > 1


async def test_keys_that_become_due_meanwhile_are_removed(
    source, filled_target, move, key, target, clock
):
    """Sweeps of the target find no profile of this name, and forget its hours."""
    await add(source, delete_after=86_400)

    class Slow(StoreInspector):
        async def day_uses(self, profile):
            clock(2 * 86_400)
            await filled_target.sweep()
            async for each in super().day_uses(profile):
                yield each

    await move(contents=Slow)
    clock(2 * 86_400 + 4000)
    await filled_target.sweep()
    store = filled_target.operations.store
    assert await store.database.run(T, lambda session: session.count("minikms.key")) == 0
