"""Every door is held to aliases of its own, whatever its handlers ask for."""

import pytest

from minikms.doors import DoorAnswer, KeyPolicy, KeyRef, KeySource, ValidationFailed
from minikms.doors.registry import installed_doors

OTHERS = "vault:wrapping-key", "aws:0c4de2c6-4a63-4ac8-a1e1-0f5b1c6d3a11"
NEVER = *OTHERS, "a\0b", "a\nb", "\x7f", "", "a" * 4097


def nothing(*args):
    raise AssertionError(args)


def calls(service, alias):
    """A call of each method that gives, moves or removes an alias."""
    policy, by = KeyPolicy(aliases=("fine", alias)), KeyRef(alias=alias)
    yield service.generate("default", "ed25519", policy)
    yield service.import_key("default", KeySource("hs256", secret=bytes(32)), policy)
    yield service.associate("default", "kid", alias)
    yield service.associate("default", "kid", alias, "move")
    yield service.dissociate("default", None, alias)
    yield service.schedule_deletion("default", by, 1, check=nothing)
    yield service.delete("default", by)
    yield service.rotate_name("default", alias, nothing)
    yield service.change_versions("default", alias, nothing)
    yield service.delete_name("default", alias, nothing)


@pytest.mark.parametrize("alias", NEVER, ids=lambda alias: repr(alias[:9]))
async def test_no_handler_gives_moves_or_removes_an_alias_of_another_door(
    opened, monkeypatch, alias
):
    refused = []

    async def try_all(self, call):
        for attempt in calls(call.service, alias):
            with pytest.raises(ValidationFailed):
                await attempt
            refused.append(alias)
        return DoorAnswer(204, b"")

    monkeypatch.setattr(installed_doors()["plain"], "_make", try_all)
    _, door = await opened()
    async with door.post("/keys", headers={"Key": "mine"}) as response:
        assert response.status == 204, await response.text()
    assert len(refused) == 10


async def test_a_door_gives_aliases_with_its_own_prefix(opened, monkeypatch):
    monkeypatch.setattr(installed_doors()["plain"], "alias_prefixes", ("plain:",))

    async def make(self, call):
        policy = KeyPolicy(aliases=("plain:a",))
        return (await call.service.generate(call.profile, "ed25519", policy)).kid.encode()

    monkeypatch.setattr(installed_doors()["plain"], "_make", make)
    client, door = await opened()
    async with door.post("/keys") as response:
        assert response.status == 200, await response.text()
    body = {"alg": "ed25519", "alias": "plain:b"}
    async with client.post("/key/generate", json=body) as response:
        assert response.status == 422
