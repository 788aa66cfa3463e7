"""Objects of providers are made for keys that are stored, and destroyed before keys are removed."""

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from minikms.errors import AliasExists, AuditUnavailable, ProfileNotFound, StoreUnavailable
from minikms.key_requests import KeyRef
from minikms.keys.deletions import DueDeletions
from minikms.keys.providers.objects import ObjectMaker
from minikms.plugin.provider import ProviderKey
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.records import PROVIDED, KeyRecord
from minikms.store.keys.key_store import KeyStore

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)


class Token:
    """A provider with one token, which may be away; `destroyed` has each attempt."""

    name = "hsm"

    def __init__(self):
        self.objects = set()
        self.is_away = False
        self.serial = "4711"
        self.destroyed = []

    def make(self, key_id):
        self.objects.add(key_id)
        return ProviderKey(self.serial, key_id, b"")

    async def destroy(self, key_id, token):
        self.destroyed.append(key_id)
        if self.is_away or token not in ("", self.serial):
            return False
        self.objects.discard(key_id)
        return True


@pytest.fixture
async def store():
    async with KeyStore.open_memory() as memory:
        yield memory


@pytest.fixture
def token():
    return Token()


@pytest.fixture
def deletions(store, token):
    return DueDeletions(store, {"hsm": token.destroy})


@pytest.fixture
def maker(store):
    return ObjectMaker(store)


async def sweep(store, deletions, sink=None):
    await deletions.sweep(await store.directory.names(), sink)


async def generate(
    store, maker, token, *aliases, kid="kid-1", profile=DEFAULT_PROFILE, provider="hsm", after=None
):
    """Make a key; `after` is called once its object is made."""
    async with maker.making(profile, token) as being_made:
        [key_id] = being_made.key_ids
        being_made.make(token.make, key_id)
        if after is not None:
            await after()
        record = replace(
            RECORD,
            kid=kid,
            provider=provider,
            object_id=key_id.hex(),
            token_serial=token.serial,
            crit=PROVIDED,
        )
        await store.insert(profile, record, b"reference", aliases, binding="refuse")
    return key_id


async def test_a_key_has_its_object_until_it_is_deleted(store, maker, token, deletions):
    key_id = await generate(store, maker, token)
    await sweep(store, deletions)
    assert token.objects == {key_id}
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    for _ in range(2):
        await sweep(store, deletions)
    assert (token.objects, token.destroyed) == (set(), [key_id])
    assert await store.deletions.due(DEFAULT_PROFILE) == []


async def test_a_process_removes_the_keys_that_it_deletes(store, maker, token, deletions):
    kept = await generate(store, maker, token)
    await generate(store, maker, token, kid="kid-2")
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-2"))
    await deletions.noted()
    await deletions.go_on(None)
    assert token.objects == {kept}
    await store.directory.create("t")
    await generate(store, maker, token, profile="t")
    await store.remove_profile("t")
    await deletions.noted()
    await deletions.go_on(None)
    assert token.objects == {kept}
    assert await store.database.directory.removals.pending() == []


async def test_a_call_that_fails_leaves_no_object(store, maker, token):
    kept = await generate(store, maker, token, "a")
    with pytest.raises(AliasExists):
        await generate(store, maker, token, "a", kid="kid-2")
    await store.directory.create("t")
    with pytest.raises(ProfileNotFound):
        await generate(store, maker, token, profile="t", after=partial(store.remove_profile, "t"))
    assert token.objects == {kept}
    assert maker.left() == {}


async def test_a_call_that_fails_after_its_key_was_stored_leaves_the_object(store, maker, token):
    @asynccontextmanager
    async def failing():
        yield
        raise RuntimeError

    async def call():
        async with maker.making(DEFAULT_PROFILE, token) as being_made, failing():
            [key_id] = being_made.key_ids
            being_made.make(token.make, key_id)
            record = replace(RECORD, provider="hsm", object_id=key_id.hex(), crit=PROVIDED)
            await store.insert(DEFAULT_PROFILE, record, b"reference")

    with pytest.raises(RuntimeError):
        await call()
    assert len(token.objects) == 1
    assert maker.left() == {}


async def test_objects_that_may_be_left_over_are_counted_and_logged(store, maker, token, caplog):
    async def unknown():
        raise StoreUnavailable(unknown=True)

    async def away():
        token.is_away = True
        raise AliasExists()

    for failure, after in ((StoreUnavailable, unknown), (AliasExists, away)):
        with pytest.raises(failure):
            await generate(store, maker, token, after=after)
    assert len(token.objects) == 2
    assert maker.left() == {"hsm": 2}
    assert all(each.hex() in caplog.text for each in token.objects)


async def test_an_object_whose_making_outlasts_its_call_is_counted(store, maker, token):
    begun, goes_on = threading.Event(), threading.Event()

    def make_late(key_id):
        begun.set()
        assert goes_on.wait(20)
        return token.make(key_id)

    async def call():
        async with maker.making(DEFAULT_PROFILE, token) as being_made:
            made = asyncio.to_thread(being_made.make, make_late, being_made.key_ids[0])
            threads.append(asyncio.ensure_future(made))
            await asyncio.shield(threads[0])

    threads = []
    calling = asyncio.create_task(call())
    await asyncio.to_thread(begun.wait)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert maker.left() == {}
    goes_on.set()
    await threads[0]
    assert maker.left() == {"hsm": 1}


async def test_a_token_that_is_away_leaves_its_keys_to_the_next_sweep(
    store, maker, token, deletions
):
    for kid in ("kid-1", "kid-2"):
        await generate(store, maker, token, kid=kid)
        await store.deletions.delete(DEFAULT_PROFILE, KeyRef(kid))
    token.is_away = True
    await sweep(store, deletions)
    assert len(token.destroyed) == 1  # of one sweep
    assert deletions.waiting() == {"hsm": 2}
    await deletions.go_on(None)
    assert len(token.destroyed) == 2
    assert deletions.may_go_on
    token.is_away = False
    await deletions.go_on(None)
    assert token.objects == set()
    assert deletions.waiting() == {"hsm": 0}
    assert not deletions.may_go_on


async def test_keys_that_another_process_has_removed_do_not_wait(store, maker, token, deletions):
    await store.directory.create("t")
    for profile in (DEFAULT_PROFILE, "t"):
        await generate(store, maker, token, profile=profile)
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    await store.remove_profile("t")
    token.is_away = True
    await sweep(store, deletions)
    assert deletions.waiting() == {"hsm": 2}
    other = Token()
    await sweep(store, DueDeletions(store, {"hsm": other.destroy}))
    await sweep(store, deletions)
    assert deletions.waiting() == {"hsm": 0}


async def test_keys_of_a_removed_profile_are_counted_once(store, maker, token, deletions):
    await store.directory.create("t")
    for number in range(3):
        await generate(store, maker, token, kid=f"kid-{number}", profile="t")
    await store.deletions.delete("t", KeyRef("kid-0"))
    token.is_away = True
    await sweep(store, deletions)
    assert deletions.waiting() == {"hsm": 1}
    await store.remove_profile("t")
    await sweep(store, deletions)
    assert deletions.waiting() == {"hsm": 3}
    token.is_away = False
    await sweep(store, deletions)
    assert (token.objects, deletions.waiting()) == (set(), {"hsm": 0})


async def test_many_keys_that_wait_hold_up_no_other(store, maker, token, deletions, monkeypatch):
    monkeypatch.setattr("minikms.store.keys.deletions._DUE", 2)
    for number in range(5):
        await generate(store, maker, token, kid=f"kid-{number}", provider="gone")
        await store.deletions.delete(DEFAULT_PROFILE, KeyRef(f"kid-{number}"))
    await store.insert(DEFAULT_PROFILE, replace(RECORD, kid="software"), b"")
    await store.deletions.schedule(DEFAULT_PROFILE, KeyRef("software"), 1)
    await sweep(store, deletions)
    assert len(await store.deletions.due(DEFAULT_PROFILE, besides=9)) == 5
    assert deletions.waiting() == {"hsm": 0, "gone": 5}


async def test_a_service_without_the_provider_says_so_once(store, maker, token, deletions, caplog):
    await generate(store, maker, token, provider="gone")
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    for _ in range(2):
        await sweep(store, deletions)
    assert caplog.text.count("provider gone, which the service lacks") == 1


async def test_a_copy_destroys_nothing_until_it_owns_the_objects(
    store, maker, token, deletions, caplog
):
    await store.directory.create("t")
    key_ids = [await generate(store, maker, token, kid=f"kid-{n}") for n in range(2)]
    key_ids.append(await generate(store, maker, token, profile="t"))
    await store.objects.set_owner(owns=False)
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-0"))
    await store.remove_profile("t")
    lines = []
    await sweep(store, deletions, lambda events, _: lines.extend(events))
    assert token.objects == set(key_ids)
    assert await store.deletions.due(DEFAULT_PROFILE) == []
    assert await store.database.directory.removals.pending() == []
    assert [each.operation for each in lines] == ["sweepKey"]
    assert f"the object {key_ids[0].hex()} of the provider hsm stays" in caplog.text
    await store.objects.set_owner(owns=True)
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    await sweep(store, deletions)
    assert token.objects == {key_ids[0], key_ids[2]}


async def test_an_object_waits_for_its_own_token(store, maker, token, deletions):
    for kid in ("kid-1", "kid-2"):
        await generate(store, maker, token, kid=kid)
        await store.deletions.delete(DEFAULT_PROFILE, KeyRef(kid))
    token.serial = "4712"
    await generate(store, maker, token, kid="kid-3")
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-3"))
    await sweep(store, deletions)
    assert len(token.objects) == 2  # it holds up no object of the token in place
    assert deletions.waiting() == {"hsm": 2}
    token.serial = "4711"
    await sweep(store, deletions)
    assert token.objects == set()


async def test_no_key_is_removed_before_its_destruction_is_recorded(store, maker, token, deletions):
    lines, is_full = [], True

    def record(events, outcome):
        if is_full:
            raise AuditUnavailable()
        lines.extend((each.operation, each.profile, each.kid, each.object_id) for each in events)

    await store.directory.create("t")
    key_id = await generate(store, maker, token)
    other = await generate(store, maker, token, kid="kid-2", profile="t")
    await store.deletions.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    await store.remove_profile("t")
    await sweep(store, deletions, record)
    assert await store.deletions.due(DEFAULT_PROFILE) == ["kid-1"]
    assert len(await store.database.directory.removals.pending()) == 1
    is_full = False
    for _ in range(2):
        await sweep(store, deletions, record)
    assert sorted(lines, key=str) == [
        ("destroyObject", DEFAULT_PROFILE, "kid-1", key_id.hex()),
        ("destroyObject", None, "kid-2", other.hex()),
        ("sweepKey", DEFAULT_PROFILE, "kid-1", None),
    ]


async def test_a_destruction_in_a_removed_profile_is_recorded_by_one_process(
    store, maker, token, deletions
):
    lines = []

    def record(events, outcome):
        lines.extend(each.kid for each in events)

    async def destroy_after_the_other(key_id, token_serial):
        await sweep(store, deletions, record)
        return True

    await store.directory.create("t")
    await generate(store, maker, token, profile="t")
    # It waits for its provider, and so the profile is not erased.
    await generate(store, maker, token, kid="kid-2", profile="t", provider="gone")
    await store.remove_profile("t")
    await sweep(store, DueDeletions(store, {"hsm": destroy_after_the_other}), record)
    assert len(await store.database.directory.removals.pending()) == 1
    assert lines == ["kid-1"]


async def test_a_removed_profile_that_cannot_be_read_is_erased(
    store, maker, token, deletions, caplog
):
    await store.directory.create("t")
    await generate(store, maker, token, profile="t")
    await store.remove_profile("t")
    [removed] = await store.database.directory.removals.pending()
    private = replace(RECORD, jwk={"kty": "OKP", "d": "secret"}).to_bytes()

    async def damage(session):
        await session.insert("minikms.key", "kid-2", private, {"object": "00", "~seq": "2"})

    await store.database.directory.removals.run(removed, damage, write=True)
    await sweep(store, deletions)
    assert await store.database.directory.removals.pending() == []
    assert "a removed profile does not decrypt" in caplog.text
    assert len(token.objects) == 1
