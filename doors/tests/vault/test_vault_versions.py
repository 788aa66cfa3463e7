"""Versions of keys at the Vault door, whatever changes them: this door, REST, AWS, at once."""

import asyncio
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import pytest
from aiohttp import ClientSession
from app_servers import keys_of_door
from vault_client import Vault
from waiting import waiting_for

from minikms.key_requests import KeyRef
from minikms.plugin.registry import AlgorithmRegistry
from minikms.profile_settings import DEFAULT_PROFILE
from minikms.versions import KeyVersions
from minikms.web.state import SERVICE
from minikms_vault.description import records_of


async def versions(vault, name="k"):
    """The public keys or creation times of a name by version, as a read shows them."""
    return (await vault.data("GET", f"transit/keys/{name}"))["keys"]


async def kid_of(vault, name="k"):
    answer = await vault.rest.get("/key", params={"alias": name})
    assert answer.status == 200
    return (await answer.json())["kid"]


async def post(vault, path, **body):
    answer = await vault.rest.post(path, json=body)
    assert answer.status in (200, 201), await answer.text()
    return await answer.json()


async def make(vault, name="k", kind="ed25519"):
    return await vault.data("POST", f"transit/keys/{name}", {"type": kind})


async def rotate(vault, name="k"):
    return await vault.data("POST", f"transit/keys/{name}/rotate")


async def test_a_key_that_deletes_itself_is_a_name_until_its_time(start_vault, clock):
    vault = await start_vault()
    await post(vault, "/key/generate", alg="ed25519", alias="k", delete_after=600)
    assert (await vault.data("LIST", "transit/keys"))["keys"] == ["k"]
    await vault.data("POST", "transit/sign/k", {"input": "aGVsbG8="})
    assert (await vault.call("POST", "transit/keys/k/rotate"))[0] == 400
    clock(601)
    assert (await vault.call("GET", "transit/keys/k"))[0] == 404


@pytest.mark.each_store
async def test_every_change_at_each_port_is_the_next_version(start_vault, any_store):
    vault = await start_vault(**any_store)
    await post(vault, "/key/generate", alg="ed25519", alias="k")
    shown = [await versions(vault)]
    await rotate(vault)
    shown.append(await versions(vault))
    await post(vault, f"/key/{await kid_of(vault)}/rotate")
    shown.append(await versions(vault))
    other = await post(vault, "/key/generate", alg="ed25519")
    await post(vault, f"/key/{other['kid']}/associate", alias="k")
    shown.append(await versions(vault))
    await post(vault, "/key/generate", alg="ed25519", alias="k")
    shown.append(await versions(vault))
    await rotate(vault)
    shown.append(await versions(vault))
    for number, (before, after) in enumerate(pairwise(shown), 1):
        assert list(after) == [str(each) for each in range(1, number + 2)]
        assert {each: after[each] for each in before} == before
    data = await vault.data("GET", "transit/keys/k")
    assert data["latest_version"] == 6
    assert len({each["public_key"] for each in data["keys"].values()}) == 6


async def test_a_name_whose_key_is_due_for_deletion_is_made_again(vault):
    await make(vault)
    await rotate(vault)
    due = await kid_of(vault)
    await vault.rest.app[SERVICE].changes.schedule_deletion(DEFAULT_PROFILE, KeyRef(kid=due), 0)
    await make(vault)
    assert await kid_of(vault) != due
    assert [*await versions(vault)] == ["1"]


async def test_a_move_of_an_alias_at_the_aws_door_changes_no_name(start_with_doors):
    """AWS's aliases have a slash, and Vault's names have none; an AWS key may have both."""
    client, urls = await start_with_doors("vault", "aws")
    headers = {"Content-Type": "application/x-amz-json-1.1"}
    async with ClientSession() as session:
        vault = Vault(session, str(urls["vault"]).rstrip("/"), client)

        async def aws(operation, **body):
            target = {"X-Amz-Target": f"TrentService.{operation}"}
            async with session.post(urls["aws"], json=body, headers=headers | target) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json(content_type=None)

        spec = {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
        made = [(await aws("CreateKey", **spec))["KeyMetadata"]["KeyId"] for _ in range(2)]
        await aws("CreateAlias", AliasName="alias/k", TargetKeyId=made[0])
        keys = await (await vault.rest.get("/keys")).json()
        for key in keys:
            await post(vault, f"/key/{key['kid']}/associate", alias="k")
        before = await versions(vault)
        assert list(before) == ["1", "2"]
        await aws("UpdateAlias", AliasName="alias/k", TargetKeyId=made[1])
        assert await versions(vault) == before
        assert list((await rotate(vault))["keys"]) == ["1", "2", "3"]
        await aws("ScheduleKeyDeletion", KeyId=made[0], PendingWindowInDays=7)
        assert list(await versions(vault)) == ["1", "2", "3"]


async def test_the_least_versions_bound_what_is_shown(vault):
    await make(vault)
    for _ in range(4):
        await rotate(vault)
    before = await versions(vault)
    path = "transit/keys/k/config"
    data = await vault.data("POST", path, {"min_decryption_version": 3})
    assert data["keys"] == {each: before[each] for each in ("3", "4", "5")}
    data = await vault.data("POST", path, {"min_decryption_version": 1})
    assert data["keys"] == before
    data = await vault.data("POST", path, {"min_encryption_version": "2"})
    assert (data["min_encryption_version"], data["keys"]) == (2, before)
    status, answer = await vault.call("POST", path, {"min_decryption_version": 0})
    assert (status, answer["data"]["min_decryption_version"]) == (200, 1)
    assert answer["warnings"][0].startswith("since Vault 0.3")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"min_decryption_version": -1}, "min decryption version cannot be negative"),
        ({"min_encryption_version": -1}, "min encryption version cannot be negative"),
        (
            {"min_decryption_version": 3},
            "cannot set min decryption version of 3, latest key version is 2",
        ),
        (
            {"min_encryption_version": 3},
            "cannot set min encryption version of 3, latest key version is 2",
        ),
        (
            {"min_encryption_version": 1, "min_decryption_version": 2, "deletion_allowed": True},
            "cannot set min encryption/decryption values; min encryption version of 1 must be "
            "greater than or equal to min decryption version of 2",
        ),
    ],
)
async def test_a_configuration_that_is_refused_changes_nothing(vault, body, sentence):
    await make(vault)
    before = await rotate(vault)
    assert await vault.call("POST", "transit/keys/k/config", body) == (400, {"errors": [sentence]})
    assert await vault.data("GET", "transit/keys/k") == before


@pytest.mark.each_store
async def test_trimmed_versions_are_gone_with_their_keys(start_vault, any_store):
    vault = await start_vault(**any_store)
    await make(vault, kind="aes256-gcm96")
    kids = [await kid_of(vault)]
    for _ in range(3):
        await rotate(vault)
        kids.append(await kid_of(vault))

    async def trim(number):
        return await vault.call("POST", "transit/keys/k/trim", {"min_available_version": number})

    def refusal(sentence):
        return 400, {"errors": [f"minimum available version {sentence}"]}

    assert await vault.call("POST", "transit/keys/k/trim", {}) == (
        400,
        {"errors": ["missing min_available_version"]},
    )
    unset = "cannot be set when minimum encryption version is not set"
    assert await trim(2) == refusal(unset)
    config = {"min_decryption_version": 3, "min_encryption_version": 3}
    await vault.data("POST", "transit/keys/k/config", config)
    assert await trim(4) == refusal("cannot be greater than minmum encryption version")
    assert await trim(0) == refusal("should be positive")
    assert await trim(-1) == refusal("cannot be decremented")
    status, answer = await trim(3)
    assert (status, answer["data"]["min_available_version"]) == (200, 3)
    assert list(answer["data"]["keys"]) == ["3", "4"]
    assert await trim(2) == refusal("cannot be decremented")
    there = [(await vault.rest.get(f"/key/{kid}")).status for kid in kids]
    assert there == [404, 404, 200, 200]
    for body, which in (
        ({"min_decryption_version": 2}, "min decryption version should not be less then"),
        ({"min_encryption_version": 0}, "min encryption version should not be less than"),
    ):
        status, answer = await vault.call("POST", "transit/keys/k/config", body)
        assert status == 400
        assert answer["errors"][0].startswith(which)
    data = await rotate(vault)
    assert (data["latest_version"], list(data["keys"])) == (5, ["3", "4", "5"])


async def test_a_version_whose_key_is_deleted_is_not_shown(vault):
    await make(vault)
    first = await kid_of(vault)
    await rotate(vault)
    second = await kid_of(vault)
    await rotate(vault)
    assert (await vault.rest.delete(f"/key/{second}")).status == 200
    assert list(await versions(vault)) == ["1", "3"]
    assert (await vault.rest.delete(f"/key/{first}")).status == 200
    assert list(await versions(vault)) == ["3"]
    # The newest key takes the name along; a new one begins at 1.
    assert (await vault.rest.delete(f"/key/{await kid_of(vault)}")).status == 200
    assert (await vault.call("GET", "transit/keys/k"))[0] == 404
    assert list((await make(vault))["keys"]) == ["1"]


async def test_a_deleted_name_is_gone_with_all_keys_and_begins_at_1(vault):
    await make(vault)
    kids = [await kid_of(vault)]
    for _ in range(3):
        await rotate(vault)
        kids.append(await kid_of(vault))
    await vault.data("POST", "transit/keys/k/config", {"deletion_allowed": True})
    assert await vault.call("DELETE", "transit/keys/k") == (204, None)
    assert [(await vault.rest.get(f"/key/{kid}")).status for kid in kids] == [404] * 4
    assert (await make(vault))["latest_version"] == 1


async def test_a_name_beside_another_is_removed_without_the_keys(vault):
    await make(vault)
    await post(vault, f"/key/{await kid_of(vault)}/associate", alias="other")
    await rotate(vault)
    await vault.data("POST", "transit/keys/k/config", {"deletion_allowed": True})
    before = await versions(vault, "other")
    assert await vault.call("DELETE", "transit/keys/k") == (204, None)
    assert await versions(vault, "other") == before


async def test_a_rotation_at_this_door_leaves_the_old_key_enabled(vault):
    await make(vault)
    states = []
    for by_name in (True, False):
        kid = await kid_of(vault)
        if by_name:
            await rotate(vault)
        else:
            await post(vault, f"/key/{kid}/rotate")
        states.append((await (await vault.rest.get(f"/key/{kid}")).json())["state"])
    assert states == ["enabled", "verify-only"]


async def test_a_key_that_is_not_enabled_is_not_rotated(vault):
    await make(vault)
    kid = await kid_of(vault)
    answer = await vault.rest.patch(f"/key/{kid}", json={"state": "disabled"})
    assert answer.status == 200
    status, _ = await vault.call("POST", "transit/keys/k/rotate")
    assert status == 400
    assert (await vault.data("GET", "transit/keys/k"))["latest_version"] == 1


@pytest.mark.each_store
@pytest.mark.parametrize("kind", ["ed25519", "aes256-gcm96"])
async def test_fifty_rotations_at_once_are_fifty_versions(start_vault, any_store, kind):
    vault = await start_vault(**any_store)
    await make(vault, kind=kind)
    await asyncio.gather(*(rotate(vault) for _ in range(50)))
    data = await vault.data("GET", "transit/keys/k")
    assert data["latest_version"] == 51
    assert list(data["keys"]) == [str(number) for number in range(1, 52)]
    keys = await (await vault.rest.get("/keys", params={"limit": 1000})).json()
    assert len(keys) == 51
    assert Counter(tuple(key["aliases"]) for key in keys) == {("k",): 1, (): 50}
    assert {key["state"] for key in keys} == {"enabled"}


async def test_slow_keys_are_rotated_at_once(vault):
    await make(vault, kind="rsa-2048")
    # The test suite has few RSA keys, and the same one is not stored twice.
    done = await asyncio.gather(*(vault.call("POST", "transit/keys/k/rotate") for _ in range(2)))
    number = sum(status == 200 for status, _ in done)
    data = await vault.data("GET", "transit/keys/k")
    assert data["latest_version"] == 1 + number == len(data["keys"])


async def test_two_services_on_one_store(start_vault, persistent):
    pair = [await start_vault(**persistent) for _ in range(2)]
    await make(pair[0])
    await asyncio.gather(*(rotate(pair[n % 2]) for n in range(30)))

    async def sees(vault, number):
        async with waiting_for("a version"):  # a notice may come later on PostgreSQL
            while (await vault.data("GET", "transit/keys/k"))["latest_version"] != number:
                await asyncio.sleep(0.02)

    for vault in pair:
        await sees(vault, 31)
    assert await versions(pair[0]) == await versions(pair[1])
    # A rotation by kid is refused if another rotation was quicker, since its key would have no
    # name.
    kid = await kid_of(pair[0])
    await rotate(pair[1])
    answer = await pair[0].rest.post(f"/key/{kid}/rotate")
    assert answer.status == 409
    for vault in pair:
        await sees(vault, 32)


async def test_long_histories_stay_whole(vault):
    await make(vault, kind="aes256-gcm96")
    for number in range(1, 40):
        if number % 3:
            await rotate(vault)
        else:
            await post(vault, f"/key/{await kid_of(vault)}/rotate")
    data = await vault.data("GET", "transit/keys/k")
    assert list(data["keys"]) == [str(number) for number in range(1, 41)]
    assert data["min_available_version"] == 0


@pytest.mark.parametrize("alg", ["x25519", "x448", "bls12381g2"])
async def test_versions_of_a_type_that_vault_lacks_are_not_shown(vault, alg):
    await post(vault, "/key/generate", alg=alg, alias="k", exportable=True)
    await post(vault, "/key/generate", alg="p256", alias="k", exportable=True)
    assert list(await versions(vault)) == ["2"]
    for call, body in (
        ("rotate", {}),
        ("config", {"min_encryption_version": 2, "min_decryption_version": 2}),
        ("config", {"min_decryption_version": 1}),
    ):
        data = await vault.data("POST", f"transit/keys/k/{call}", body)
        assert list(data["keys"]) == ["2", "3"]
    for kind in ("signing-key", "public-key"):
        exported = await vault.data("GET", f"transit/export/{kind}/k")
        assert list(exported["keys"]) == ["2", "3"]
        status, _ = await vault.call("GET", f"transit/export/{kind}/k/1")
        assert status == 400
    signed = {"input": "aGVsbG8=", "key_version": 1}
    await vault.refused("sign/k", **signed)
    await vault.data("POST", "transit/keys/k/config", {"min_decryption_version": 2})
    trimmed = await vault.data("POST", "transit/keys/k/trim", {"min_available_version": 2})
    assert list(trimmed["keys"]) == ["2", "3"]


@pytest.fixture
def stale(monkeypatch):
    """Make the caches of versions keep the present ones of `k`; on PostgreSQL notices are late."""

    async def run(vault):
        await vault.data("GET", "transit/keys/k")
        keys = keys_of_door(vault.rest.app)
        find = keys.versions
        kept = []

        async def versions(profile, name, **options):
            if not kept:
                kept.append(await find(profile, name))
            return await find(profile, name, **options) if any(options.values()) else kept[0]

        monkeypatch.setattr(keys, "versions", versions)
        await vault.data("GET", "transit/keys/k")
        return lambda: monkeypatch.setattr(keys, "versions", find)

    return run


async def test_many_versions_in_the_cache_let_other_calls_go_on():
    other, ticks = asyncio.Event(), 0

    class Cached:
        async def records(self, profile, kids):
            return [record] * len(kids)

    async def tick():
        nonlocal ticks
        while not other.is_set():
            ticks += 1
            await asyncio.sleep(0)

    registry = AlgorithmRegistry.from_installed()
    record = SimpleNamespace(alg="ed25519")
    call = SimpleNamespace(registry=registry, profile="default", service=Cached())
    task = asyncio.create_task(tick())
    found = KeyVersions(dict.fromkeys(range(1, 1001), "kid"))
    assert len([each async for each in records_of(call, found, found.shown)]) == 1000
    other.set()
    await task
    assert ticks >= 9


async def test_settings_are_stored_though_the_cache_has_them_already(vault, stale):
    await make(vault)
    await rotate(vault)
    end = await stale(vault)
    path = "transit/keys/k/config"
    await vault.data("POST", path, {"min_decryption_version": 2, "deletion_allowed": True})
    await vault.data("POST", path, {"min_decryption_version": 1, "deletion_allowed": False})
    await vault.data("DELETE", "transit/keys/k/soft-delete")
    await vault.data("POST", "transit/keys/k/soft-delete-restore")
    end()
    data = await vault.data("GET", "transit/keys/k")
    assert (data["min_decryption_version"], data["deletion_allowed"]) == (1, False)
    assert data["soft_deleted"] is False


async def test_a_version_that_the_cache_lacks_is_read(vault, stale):
    await make(vault, kind="ecdsa-p256")
    end = await stale(vault)
    await rotate(vault)
    text = {"input": "aGVsbG8="}
    assert (await vault.data("POST", "transit/sign/k", text))["key_version"] == 1
    signed = await vault.data("POST", "transit/sign/k", {**text, "key_version": 2})
    verified = {**text, "signature": signed["signature"]}
    assert (await vault.data("POST", "transit/verify/k", verified))["valid"]
    batch = {"batch_input": [verified, {**text, "signature": "vault:v1:AAAA"}]}
    results = (await vault.data("POST", "transit/verify/k", batch))["batch_results"]
    assert results[0]["valid"]
    mac = await vault.data("POST", "transit/hmac/k", {**text, "key_version": 2})
    assert (await vault.data("POST", "transit/verify/k", {**text, **mac}))["valid"]
    assert "2" in (await vault.data("GET", "transit/export/public-key/k/2"))["keys"]
    assert await vault.refused("sign/k", **text, key_version=3) == (
        "requested version for signing is higher than the latest key version"
    )
    end()


async def test_no_version_that_still_decrypts_is_trimmed(vault):
    await vault.data("POST", "transit/keys/k", {"type": "ed25519"})
    for _ in range(3):
        await vault.data("POST", "transit/keys/k/rotate")
    least = {"min_encryption_version": 4, "min_decryption_version": 2}
    await vault.data("POST", "transit/keys/k/config", least)
    assert "minimum decryption" in await vault.refused("keys/k/trim", min_available_version=3)
    assert (await vault.data("GET", "transit/keys/k"))["min_available_version"] == 0
    await vault.data("POST", "transit/keys/k/trim", {"min_available_version": 2})
