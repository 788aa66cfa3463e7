"""Objects of providers are made for keys that are stored, and destroyed if none names them."""

import asyncio
import threading
import time
from dataclasses import replace
from functools import partial

import pytest
from waiting import until

from minikms.errors import (
    AliasExists,
    AuditUnavailable,
    ProfileNotFound,
    ProviderUnavailable,
    StoreUnavailable,
    ValidationFailed,
)
from minikms.keys.providers import objects as provider_objects
from minikms.keys.providers.objects import ObjectMaker, ObjectSweeper
from minikms.records import DEFAULT_PROFILE, PROVIDED, KeyRecord, KeyRef
from minikms.store.keys.key_store import KeyStore
from minikms.store.keys.object_entries import objects_in

RECORD = KeyRecord("kid-1", "x", "oct", None, None, None, None, (), "bytes", 1)


class Token:
    """The objects of a provider, which may be away."""

    def __init__(self):
        self.objects = set()
        self.is_away = False
        self.serial = "4711"
        self.destroyed = []

    def make(self, key_id):
        if self.is_away:
            raise ProviderUnavailable()
        self.objects.add(key_id)
        return key_id

    async def destroy(self, key_id, token):
        if self.is_away:
            raise ProviderUnavailable()
        if token not in ("", self.serial):
            return False
        self.destroyed.append(key_id)
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
def sweeper(store, token):
    return ObjectSweeper(store, {"hsm": token.destroy})


@pytest.fixture
def maker(store):
    return ObjectMaker(store)


async def nothing(_=None):
    pass


async def generate(
    store,
    maker,
    token,
    *aliases,
    kid="kid-1",
    profile=DEFAULT_PROFILE,
    before=nothing,
    after=nothing,
):
    """Make a key; `before` and `after` are called before and after its object is made."""
    async with maker.making(profile, "hsm") as being_made:
        [key_id] = being_made.key_ids
        await before(key_id)
        being_made.make(token.make, key_id)
        await after()
        record = replace(
            RECORD,
            kid=kid,
            provider="hsm",
            object_id=key_id.hex(),
            token_serial=token.serial,
            crit=PROVIDED,
        )
        await store.insert(profile, record, b"reference", aliases, binding="refuse")
    return key_id


async def test_a_key_has_its_object_until_it_is_deleted(store, maker, token, sweeper):
    key_id = await generate(store, maker, token)
    assert await sweeper.sweep() == set()
    assert token.objects == {key_id}
    await store.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    assert await sweeper.sweep() == set()
    assert (token.objects, token.destroyed) == (set(), [key_id])
    assert await sweeper.sweep() == set()
    assert token.destroyed == [key_id]


async def test_a_deletion_wakes_the_sweeper(store, maker, token, sweeper):
    async with sweeper.running():
        await generate(store, maker, token)
        await store.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
        await until("the sweeper", lambda: not token.objects)
        await store.create_profile("t")
        await generate(store, maker, token, profile="t")
        await store.remove_profile("t")
        await until("the sweeper", lambda: not token.objects)


async def test_a_call_that_fails_leaves_no_object(store, maker, token, sweeper):
    kept = await generate(store, maker, token, "a")
    async with sweeper.running():
        with pytest.raises(AliasExists):
            await generate(store, maker, token, "a", kid="kid-2")
        await until("the sweeper", lambda: token.objects == {kept})


async def test_a_batch_that_is_half_made_leaves_no_object(store, maker, token, sweeper):
    async def make_one_of_three():
        async with maker.making(DEFAULT_PROFILE, "hsm", 3) as being_made:
            being_made.make(token.make, being_made.key_ids[0])
            token.is_away = True
            being_made.make(token.make, being_made.key_ids[1])

    with pytest.raises(ProviderUnavailable):
        await make_one_of_three()
    assert len(token.objects) == 1
    token.is_away = False
    async with sweeper.running():
        await until("the sweeper", lambda: not token.objects)


async def test_an_object_that_is_made_late_is_destroyed(store, maker, token, sweeper):
    begun, goes_on = threading.Event(), threading.Event()

    def make_late(key_id):
        begun.set()
        assert goes_on.wait(20)
        token.make(key_id)

    async def call():
        async with maker.making(DEFAULT_PROFILE, "hsm") as being_made:
            made = asyncio.to_thread(being_made.make, make_late, being_made.key_ids[0])
            threads.append(asyncio.ensure_future(made))
            await asyncio.shield(threads[0])

    threads = []
    calling = asyncio.create_task(call())
    await asyncio.to_thread(begun.wait)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await maker.drain()
    assert await sweeper.sweep() == set()
    _, announced = await store.database.run(DEFAULT_PROFILE, objects_in)
    assert len(announced) == 1  # a kill now would leave nothing over
    goes_on.set()
    await threads[0]
    assert len(token.objects) == 1
    async with sweeper.running():
        await until("the sweeper", lambda: not token.objects)


async def test_nothing_is_made_once_the_call_has_ended(store, maker, token):
    calls = []

    async def make_nothing():
        async with maker.making(DEFAULT_PROFILE, "hsm") as being_made:
            calls.append(being_made)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await make_nothing()
    with pytest.raises(ProviderUnavailable):
        calls[0].make(token.make, calls[0].key_ids[0])
    assert token.objects == set()


async def test_a_profile_that_is_removed_while_a_key_is_made(store, maker, token, sweeper):
    await store.create_profile("t")

    async def remake(key_id):
        await store.remove_profile("t")
        await store.create_profile("t")
        await until("the sweeper", lambda: token.destroyed == [key_id])

    async with sweeper.running():
        with pytest.raises(ProviderUnavailable):
            await generate(store, maker, token, profile="t", before=remake)
        await until("the sweeper", lambda: len(token.destroyed) == 2)
        with pytest.raises(ProfileNotFound):
            await generate(
                store, maker, token, profile="t", after=partial(store.remove_profile, "t")
            )
        await until("the sweeper", lambda: not token.objects)


async def test_an_object_that_is_made_after_its_profile_was_removed(store, maker, token, sweeper):
    await store.create_profile("t")

    async def remove(key_id):
        await store.remove_profile("t")
        await until("the sweeper", lambda: token.destroyed == [key_id])

    async with sweeper.running():
        with pytest.raises(ProfileNotFound):
            await generate(store, maker, token, profile="t", before=remove)
        await until("the sweeper", lambda: len(token.destroyed) == 2)
    assert token.objects == set()


async def test_an_interrupted_removal_of_a_profile_leaves_no_object(
    store, maker, token, sweeper, monkeypatch
):
    await store.create_profile("t")
    await generate(store, maker, token, profile="t")

    async def killed(*_):
        raise StoreUnavailable()

    with monkeypatch.context() as patch:
        patch.setattr(store.database.directory, "_finish_removal", killed)
        with pytest.raises(StoreUnavailable):
            await store.remove_profile("t")
    assert await sweeper.sweep() == set()
    assert token.objects == set()


async def test_a_batch_has_time_for_each_of_its_keys(store, maker, sweeper, clock):
    async with maker.making(DEFAULT_PROFILE, "hsm", 100):
        clock(900 + 990)
        assert await sweeper.sweep() == set()
        assert len(await store.objects.due(DEFAULT_PROFILE)) == 0
        clock(900 + 1010)
        assert len(await store.objects.due(DEFAULT_PROFILE)) == 100


async def test_a_service_ends_once_failed_calls_have_condemned_their_objects(store, maker, token):
    async def fail():
        raise ValidationFailed()

    with pytest.raises(ValidationFailed):
        await generate(store, maker, token, after=fail)
    await maker.drain()
    assert not maker._tasks
    assert len(await store.objects.due(DEFAULT_PROFILE)) == 1


async def test_a_token_that_is_away_is_tried_again(store, maker, token, sweeper, monkeypatch):
    monkeypatch.setattr(provider_objects, "_AGAIN", 0.01)
    await generate(store, maker, token)
    token.is_away = True
    async with sweeper.running():
        await store.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
        assert await sweeper.sweep() == {DEFAULT_PROFILE}
        assert len(token.objects) == 1
        assert sweeper.waiting() == {"hsm": 1}
        token.is_away = False
        await until("the sweeper", lambda: not token.objects)
        await until("the count", lambda: sweeper.waiting() == {"hsm": 0})


async def test_objects_of_a_removed_profile_are_counted_once(store, maker, token, sweeper):
    await store.create_profile("t")
    for number in range(3):
        await generate(store, maker, token, kid=f"kid-{number}", profile="t")
    await store.delete("t", KeyRef("kid-0"))
    token.is_away = True
    assert await sweeper.sweep() == {"t"}
    assert sweeper.waiting() == {"hsm": 1}
    await store.remove_profile("t")
    assert await sweeper.sweep() == {None}
    assert sweeper.waiting() == {"hsm": 3}
    token.is_away = False
    assert await sweeper.sweep() == set()
    assert sweeper.waiting() == {"hsm": 0}


async def test_objects_that_a_call_may_still_take_are_not_counted(store, maker, token, sweeper):
    async def look(_):
        assert await sweeper.sweep() == set()
        assert sweeper.waiting() == {"hsm": 0}

    await generate(store, maker, token, before=look)


async def test_a_provider_that_fails_holds_up_no_other(store, maker, token, caplog):
    async def fail(key_id, token):
        raise RuntimeError(f"planted-{key_id.hex()}")

    for provider in ("broken", "gone", "hsm"):
        for key_id in await store.objects.intend(DEFAULT_PROFILE, provider, 2, time.time_ns()):
            token.make(key_id)
    sweeper = ObjectSweeper(store, {"broken": fail, "hsm": token.destroy})
    for _ in range(2):
        assert await sweeper.sweep() == {DEFAULT_PROFILE}
    assert len(token.objects) == 4
    assert sweeper.waiting() == {"broken": 2, "gone": 2, "hsm": 0}
    assert "planted" not in caplog.text
    assert caplog.text.count("provider broken cannot destroy") == 2  # once for each sweep
    assert caplog.text.count("provider gone") == 1


async def test_a_copy_destroys_nothing_until_it_owns_the_objects(
    store, maker, token, sweeper, caplog
):
    first = await generate(store, maker, token)
    second = await generate(store, maker, token, kid="kid-2")
    await store.objects.set_owner(owns=False)
    await store.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    assert await sweeper.sweep() == set()
    assert token.objects == {first, second}
    assert f"the object {first.hex()} of the provider hsm stays" in caplog.text
    await store.objects.set_owner(owns=True)
    await store.delete(DEFAULT_PROFILE, KeyRef("kid-2"))
    assert await sweeper.sweep() == set()
    assert token.objects == {first}


async def test_a_call_whose_store_is_away_leaves_its_objects_to_the_sweeper(
    store, maker, token, sweeper, clock, monkeypatch, caplog
):
    async def away(*_, **__):
        raise StoreUnavailable()

    with monkeypatch.context() as patch:

        async def lose_store():
            patch.setattr(store.database, "write", away)

        with pytest.raises(StoreUnavailable):
            await generate(store, maker, token, after=lose_store)
        await until("the log", lambda: "destroyed later" in caplog.text)
    assert await sweeper.sweep() == set()
    assert len(token.objects) == 1
    clock(1000)
    assert await sweeper.sweep() == set()
    assert token.objects == set()


async def test_an_object_waits_for_its_own_token(store, maker, token, sweeper, caplog):
    for kid in ("kid-1", "kid-2"):
        await generate(store, maker, token, kid=kid)
        await store.delete(DEFAULT_PROFILE, KeyRef(kid))
    token.serial = "4712"
    await generate(store, maker, token, kid="kid-3")
    await store.delete(DEFAULT_PROFILE, KeyRef("kid-3"))
    for _ in range(2):
        assert await sweeper.sweep() == {DEFAULT_PROFILE}
        assert len(token.objects) == 2  # it holds up no object of the token in place
        assert sweeper.waiting() == {"hsm": 2}
    assert caplog.text.count("the token 4711 of the provider hsm") == 1
    token.serial = "4711"
    assert await sweeper.sweep() == set()
    assert token.objects == set()


async def test_no_entry_goes_before_its_destruction_is_recorded(store, maker, token):
    lines, is_full = [], True

    def record(events, outcome):
        if is_full:
            raise AuditUnavailable()
        lines.extend((each.operation, each.profile, each.object_id, outcome) for each in events)

    sweeper = ObjectSweeper(store, {"hsm": token.destroy}, record)
    key_id = await generate(store, maker, token)
    await store.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    assert await sweeper.sweep() == {DEFAULT_PROFILE}
    assert sweeper.waiting() == {"hsm": 1}
    is_full = False
    for _ in range(2):
        assert await sweeper.sweep() == set()
    assert lines == [("destroyObject", DEFAULT_PROFILE, key_id.hex(), "success")]


async def test_objects_that_stay_leave_no_line(store, maker, token, clock):
    lines = []
    sweeper = ObjectSweeper(store, {"hsm": token.destroy}, lambda *line: lines.append(line))
    await generate(store, maker, token)
    await store.objects.set_owner(owns=False)
    await store.delete(DEFAULT_PROFILE, KeyRef("kid-1"))
    await store.objects.intend(DEFAULT_PROFILE, "hsm", 1, time.time_ns())
    clock(7200)
    assert await sweeper.sweep() == set()
    assert await store.objects.due(DEFAULT_PROFILE) == []
    assert lines == []
