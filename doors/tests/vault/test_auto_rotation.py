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
