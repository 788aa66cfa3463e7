"""Names whose keys the service rotates: Vault's `auto_rotate_period`."""

import pytest

from minikms.web.state import SERVICE, STORE

HELLO = "aGVsbG8="
HOUR = 3600


@pytest.fixture
def sweep(vault):
    """Look for due keys, as the service does every few minutes."""
    return vault.rest.app[SERVICE].sweep


async def read(vault, name="k"):
    data = await vault.data("GET", f"transit/keys/{name}")
    return data["latest_version"], data["auto_rotate_period"]


@pytest.mark.parametrize("alg", ["aes256-gcm96", "ed25519"])
async def test_a_name_is_rotated_and_keeps_its_versions(vault, sweep, clock, alg):
    await vault.data("POST", "transit/keys/k", {"auto_rotate_period": "24h", "type": alg})
    assert await read(vault) == (1, 24 * HOUR)
    path, member = ("encrypt", "ciphertext") if alg.startswith("aes") else ("sign", "signature")
    body = {"plaintext": HELLO} if path == "encrypt" else {"input": HELLO}
    made = [(await vault.data("POST", f"transit/{path}/k", body))[member]]
    for day in range(1, 4):
        clock(day * 25 * HOUR)
        await sweep()
        assert await read(vault) == (day + 1, 24 * HOUR)
        made.append((await vault.data("POST", f"transit/{path}/k", body))[member])
    assert [each.split(":")[1] for each in made] == ["v1", "v2", "v3", "v4"]
    for each in made:
        if path == "encrypt":
            data = await vault.data("POST", "transit/decrypt/k", {"ciphertext": each})
            assert data["plaintext"] == HELLO
        else:
            data = await vault.data("POST", "transit/verify/k", {"input": HELLO, member: each})
            assert data["valid"] is True
    # Callers choose versions, so earlier ones stay enabled.
    again = await vault.data("POST", f"transit/{path}/k", {**body, "key_version": 2})
    assert again[member].split(":")[1] == "v2"


async def test_a_period_is_counted_from_the_age_of_the_key(vault, sweep, clock):
    await vault.data("POST", "transit/keys/k")
    clock(10 * HOUR)
    await vault.data("POST", "transit/keys/k/config", {"auto_rotate_period": "12h"})
    await sweep()
    assert await read(vault) == (1, 12 * HOUR)
    await vault.data("POST", "transit/keys/k/config", {"auto_rotate_period": "2h"})
    await sweep()
    assert await read(vault) == (2, 2 * HOUR)
    await vault.data("POST", "transit/keys/k/config", {"deletion_allowed": True})
    assert await read(vault) == (2, 2 * HOUR)
    await vault.data("POST", "transit/keys/k/config", {"auto_rotate_period": 0})
    assert await read(vault) == (2, 0)
    clock(100 * HOUR)
    await sweep()
    assert await read(vault) == (2, 0)


async def test_a_rotation_by_a_call_begins_a_new_period(vault, sweep, clock):
    await vault.data("POST", "transit/keys/k", {"auto_rotate_period": "2h"})
    clock(HOUR)
    await vault.data("POST", "transit/keys/k/rotate")
    clock(2 * HOUR + 60)
    await sweep()
    assert await read(vault) == (2, 2 * HOUR)
    clock(3 * HOUR + 60)
    await sweep()
    assert await read(vault) == (3, 2 * HOUR)


async def test_a_soft_deleted_name_waits(vault, sweep, clock):
    await vault.data("POST", "transit/keys/k", {"auto_rotate_period": "1h"})
    await vault.call("DELETE", "transit/keys/k/soft-delete")
    clock(HOUR + 60)
    await sweep()
    await vault.call("POST", "transit/keys/k/soft-delete-restore")
    assert await read(vault) == (1, HOUR)
    clock(2 * HOUR + 120)
    await sweep()
    assert await read(vault) == (2, HOUR)


async def test_the_other_port_shows_the_same_period(vault):
    await vault.data("POST", "transit/keys/k", {"auto_rotate_period": "1h"})
    async with vault.rest.get("/key?alias=k") as answer:
        key = await answer.json()
    assert key["rotate_every"] == HOUR
    path = f"/key/{key['kid']}"
    assert (await vault.rest.patch(path, json={"rotate_every": 2 * HOUR})).status == 200
    assert await read(vault) == (1, 2 * HOUR)


async def test_a_key_is_made_with_its_period_in_one_transaction(vault, sweep, clock, monkeypatch):
    store = vault.rest.app[STORE]
    monkeypatch.setattr(store, "change", None)
    monkeypatch.setattr(store.aliases, "change_versions", None)
    for alg in ("aes256-gcm96", "ecdsa-p256"):
        await vault.data("POST", f"transit/keys/{alg}", {"auto_rotate_period": "1h", "type": alg})
        assert await read(vault, alg) == (1, HOUR)
    # A name that exists keeps its period.
    await vault.data("POST", "transit/keys/ecdsa-p256", {"auto_rotate_period": "2h"})
    assert await read(vault, "ecdsa-p256") == (1, HOUR)
    clock(HOUR + 60)
    await sweep()
    assert await read(vault, "ecdsa-p256") == (2, HOUR)
    body = {"input": HELLO, "key_version": 1}
    assert (await vault.data("POST", "transit/sign/ecdsa-p256", body))["signature"]


@pytest.mark.parametrize("alg", ["aes256-gcm96", "ed25519"])
async def test_a_next_key_is_no_version_until_the_rotation(vault, sweep, clock, alg):
    body = {"auto_rotate_period": "24h", "type": alg}
    await vault.data("POST", "transit/keys/k", body)
    async with vault.rest.get("/key?alias=k") as answer:
        kid = (await answer.json())["kid"]
    ahead = {"publish_ahead": HOUR}
    assert (await vault.rest.patch(f"/key/{kid}", json=ahead)).status == 200
    path, member = ("encrypt", "ciphertext") if alg.startswith("aes") else ("sign", "signature")
    given = {"plaintext": HELLO} if path == "encrypt" else {"input": HELLO}
    for day in range(3):
        clock((day * 24 + 23) * HOUR + day * 1200 + 600)
        await sweep()
        assert await read(vault) == (day + 1, 24 * HOUR)
        async with vault.rest.get("/keys?state=next") as answer:
            [following] = await answer.json()
        # The name signs by its newest version, and the next key is not one.
        made = (await vault.data("POST", f"transit/{path}/k", given))[member]
        assert made.split(":")[1] == f"v{day + 1}"
        clock((day * 24 + 24) * HOUR + day * 1200 + 1200)
        await sweep()
        assert await read(vault) == (day + 2, 24 * HOUR)
        async with vault.rest.get("/key?alias=k") as answer:
            now = await answer.json()
        assert (now["kid"], now["publish_ahead"]) == (following["kid"], HOUR)
        # Earlier versions stay in use.
        again = await vault.data("POST", f"transit/{path}/k", {**given, "key_version": day + 1})
        assert again[member].split(":")[1] == f"v{day + 1}"


async def test_a_rotation_by_the_door_takes_the_next_key(vault):
    await vault.data("POST", "transit/keys/k")
    async with vault.rest.get("/key?alias=k") as answer:
        path = f"/key/{(await answer.json())['kid']}"
    async with vault.rest.post(f"{path}/next") as answer:
        following = (await answer.json())["kid"]
    await vault.data("POST", "transit/keys/k/rotate")
    assert await read(vault) == (2, 0)
    async with vault.rest.get("/key?alias=k") as answer:
        assert (await answer.json())["kid"] == following
    # A deleted name takes the next key of its newest version along.
    async with vault.rest.post(f"/key/{following}/next") as answer:
        assert answer.status == 200
    await vault.data("POST", "transit/keys/k/config", {"deletion_allowed": True})
    await vault.call("DELETE", "transit/keys/k")
    async with vault.rest.get("/keys") as answer:
        assert await answer.json() == []
