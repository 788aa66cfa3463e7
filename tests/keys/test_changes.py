"""Changes of keys that doors ask for: each is one transaction, checked before it writes."""

import asyncio

import pytest

from minikms.config import Config
from minikms.errors import AliasExists, AliasNotFound, KeyNotFound, KeyNotUsable
from minikms.events import CURRENT, AuditEvent
from minikms.key_requests import KeyPolicy, KeyRef
from minikms.profile_settings import DEFAULT_PROFILE as PROFILE
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE

pytestmark = pytest.mark.each_store

DAY = 86_400 * 10**9


class Refusal(Exception):
    """An error that a `permit` raises."""


def refuse(record):
    raise Refusal(record.kid)


@pytest.fixture
async def keys(start, any_store):
    """The keys of a new service."""
    client = await start(create_service(Config(**any_store)))
    return client.app[SERVICE]


@pytest.fixture
def make(keys):
    """Make a key, and give its kid."""

    async def call(*aliases, alg="ed25519", **labels):
        made = await keys.creation.generate(PROFILE, alg, KeyPolicy(aliases=aliases, labels=labels))
        return made.kid

    return call


async def test_a_key_comes_back_in_another_state(keys, make):
    kid = await make()
    await keys.changes.schedule_deletion(PROFILE, KeyRef(kid), DAY)
    restored = await keys.changes.restore(PROFILE, kid, state="disabled")
    assert (restored.deletes, restored.state) == (None, "disabled")
    assert await keys.operations.get(PROFILE, KeyRef(kid)) == restored
    await keys.changes.update(PROFILE, kid, {"state": "verify-only"})
    await keys.changes.schedule_deletion(PROFILE, KeyRef(kid), DAY)
    assert (await keys.changes.restore(PROFILE, kid)).state == "verify-only"


async def test_a_forbidden_change_changes_nothing(keys, make):
    kid = await make()
    before = await keys.operations.get(PROFILE, KeyRef(kid))
    with pytest.raises(Refusal, match=kid):
        await keys.changes.schedule_deletion(PROFILE, KeyRef(kid), DAY, check=refuse)
    assert await keys.operations.get(PROFILE, KeyRef(kid)) == before
    scheduled = await keys.changes.schedule_deletion(PROFILE, KeyRef(kid), DAY)
    with pytest.raises(Refusal, match=kid):
        await keys.changes.restore(PROFILE, kid, state="disabled", check=refuse)
    assert await keys.operations.get(PROFILE, KeyRef(kid)) == scheduled


async def test_one_of_eight_schedules_and_one_restores(keys, make):
    kid = await make()

    def once(record):
        if record.deletes is not None:
            raise Refusal

    def scheduled(record):
        if record.deletes is None:
            raise Refusal

    for call in (
        lambda: keys.changes.schedule_deletion(PROFILE, KeyRef(kid), DAY, check=once),
        lambda: keys.changes.restore(PROFILE, kid, state="disabled", check=scheduled),
    ):
        results = await asyncio.gather(*(call() for _ in range(8)), return_exceptions=True)
        assert sum(isinstance(result, Refusal) for result in results) == 7


async def test_one_of_eight_creates_an_alias(keys, make):
    one, other = await make(), await make()
    calls = [keys.aliases.associate(PROFILE, kid, "a", "create") for kid in [one, other] * 4]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results if result] == [AliasExists] * 7
    named = [one, other][results.index(None) % 2]
    assert (await keys.operations.get(PROFILE, KeyRef(alias="a"))).kid == named


async def test_an_alias_is_created_again_where_its_key_is_gone(keys, make):
    old, new = await make("a"), await make()
    await keys.operations.store.deletions.schedule(PROFILE, KeyRef(old), 1)
    with pytest.raises(AliasNotFound):
        await keys.aliases.associate(PROFILE, new, "a", "update")
    await keys.aliases.associate(PROFILE, new, "a", "create")
    assert (await keys.operations.get(PROFILE, KeyRef(alias="a"))).kid == new


async def test_only_an_existing_alias_is_updated(keys, make):
    one, other = await make("a"), await make()
    with pytest.raises(AliasNotFound):
        await keys.aliases.associate(PROFILE, other, "b", "update")
    for kid in (one, other, other):
        await keys.aliases.associate(PROFILE, kid, "a", "update")
        assert (await keys.operations.get(PROFILE, KeyRef(alias="a"))).aliases == ("a",)
    assert (await keys.operations.get(PROFILE, KeyRef(one))).aliases == ()
    with pytest.raises(KeyNotFound):
        await keys.aliases.associate(PROFILE, "unknown", "a", "update")


async def test_an_alias_is_removed_from_whichever_key_has_it(keys, make):
    kid = await make("a", "b")
    event = AuditEvent("deleteAlias", None)
    outer = CURRENT.set(event)
    try:
        await keys.aliases.dissociate(PROFILE, None, "a")
    finally:
        CURRENT.reset(outer)
    assert (event.kid, event.alg) == (kid, "ed25519")
    assert (await keys.operations.get(PROFILE, KeyRef(kid))).aliases == ("b",)
    with pytest.raises(AliasNotFound):
        await keys.aliases.dissociate(PROFILE, None, "a")


async def test_labels_that_are_changed_at_once_are_all_there(keys, make):
    kid = await make(first="1")
    calls = [
        keys.changes.relabel(PROFILE, kid, lambda labels, name=name: {**labels, name: "x"})
        for name in map(str, range(8))
    ]
    await asyncio.gather(*calls)
    record = await keys.operations.get(PROFILE, KeyRef(kid))
    assert record.labels == {"first": "1", **dict.fromkeys(map(str, range(8)), "x")}
    found, _ = await keys.descriptions.list_keys(
        PROFILE, limit=10, labels=[("first", "1"), ("7", "x")]
    )
    assert [each.kid for each in found] == [kid]


async def test_labels_stay_where_a_key_is_scheduled_for_deletion(keys, make):
    kid = await make(first="1")
    await keys.changes.schedule_deletion(PROFILE, KeyRef(kid), DAY)
    with pytest.raises(KeyNotUsable):
        await keys.changes.relabel(PROFILE, kid, lambda _: {})
    assert (await keys.operations.get(PROFILE, KeyRef(kid))).labels == {"first": "1"}
