"""Rotation of keys: on a schedule, on demand, and the rotations so far."""

from datetime import UTC, datetime, timedelta

import pytest

from minikms.web.state import SERVICE, STORE

DAY = 86_400
HMAC = {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"}
SIGNING = {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}


@pytest.fixture
async def aws(start_aws):
    """A door of its own, whose service a test sweeps."""
    return await start_aws()


@pytest.fixture
def sweep(aws):
    """Look for due keys, as the service does every few minutes."""
    return aws.rest.app[SERVICE].sweep


@pytest.fixture
def create(aws):
    """Make a key, and give its id."""

    async def make(**members):
        return (await aws.create_key(**members))["KeyMetadata"]["KeyId"]

    return make


def in_days(status):
    """The days until the next rotation."""
    left = status["NextRotationDate"] - datetime.now(UTC)
    return round(left / timedelta(days=1))


async def material(aws, key_id):
    return (await aws.describe_key(KeyId=key_id))["KeyMetadata"]["CurrentKeyMaterialId"]


async def test_a_key_is_rotated_on_its_schedule(aws, create, sweep, clock):
    key_id = await create()
    first = await material(aws, key_id)
    blob = (await aws.encrypt(KeyId=key_id, Plaintext=b"before"))["CiphertextBlob"]
    assert (await aws.get_key_rotation_status(KeyId=key_id))["KeyRotationEnabled"] is False
    await aws.enable_key_rotation(KeyId=key_id)
    status = await aws.get_key_rotation_status(KeyId=key_id)
    assert (status["KeyRotationEnabled"], status["RotationPeriodInDays"]) == (True, 365)
    assert (status["KeyId"], in_days(status)) == (key_id, 365)
    clock(364 * DAY)
    await sweep()
    assert await material(aws, key_id) == first
    clock(366 * DAY)
    await sweep()
    assert await material(aws, key_id) != first
    assert (await aws.decrypt(CiphertextBlob=blob, KeyId=key_id))["Plaintext"] == b"before"
    again = (await aws.encrypt(KeyId=key_id, Plaintext=b"after"))["CiphertextBlob"]
    assert (await aws.decrypt(CiphertextBlob=again))["Plaintext"] == b"after"
    assert in_days(await aws.get_key_rotation_status(KeyId=key_id)) == 366 + 365


async def test_a_period_is_changed_and_ended(aws, create, sweep, clock):
    key_id = await create()
    for days in (90, 2560, 100):
        await aws.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=days)
        status = await aws.get_key_rotation_status(KeyId=key_id)
        assert (status["RotationPeriodInDays"], in_days(status)) == (days, days)
    await aws.disable_key_rotation(KeyId=key_id)
    await aws.disable_key_rotation(KeyId=key_id)
    assert (await aws.get_key_rotation_status(KeyId=key_id))["KeyRotationEnabled"] is False
    first = await material(aws, key_id)
    clock(101 * DAY)
    await sweep()
    assert await material(aws, key_id) == first
    for days in (89, 2561):
        by = {"KeyId": key_id, "RotationPeriodInDays": days}
        await aws.refused("ValidationException", "enable_key_rotation", **by)


async def test_rotations_are_listed(aws, create, sweep, clock):
    key_id = await create()
    first = await material(aws, key_id)
    assert (await aws.list_key_rotations(KeyId=key_id))["Rotations"] == []
    await aws.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=90)
    clock(10 * DAY)
    assert (await aws.rotate_key_on_demand(KeyId=key_id))["KeyId"] == key_id
    second = await material(aws, key_id)
    # The schedule stays as it was.
    assert in_days(await aws.get_key_rotation_status(KeyId=key_id)) == 90
    clock(91 * DAY)
    await sweep()
    third = await material(aws, key_id)
    answer = await aws.list_key_rotations(KeyId=key_id)
    assert answer["Truncated"] is False
    assert [
        (each["KeyId"], each["KeyMaterialId"], each["KeyMaterialState"], each["RotationType"])
        for each in answer["Rotations"]
    ] == [
        (key_id, second, "NON_CURRENT", "ON_DEMAND"),
        (key_id, third, "CURRENT", "AUTOMATIC"),
    ]
    days = [(each["RotationDate"] - datetime.now(UTC)).days for each in answer["Rotations"]]
    assert days in ([10, 91], [9, 90])
    everything = {"KeyId": key_id, "IncludeKeyMaterial": "ALL_KEY_MATERIAL"}
    found, marker = [], {}
    while marker is not None:
        page = await aws.list_key_rotations(**everything, Limit=1, **marker)
        found += page["Rotations"]
        marker = {"Marker": page["NextMarker"]} if page["Truncated"] else None
    assert [each["KeyMaterialId"] for each in found] == [first, second, third]
    assert "RotationDate" not in found[0]
    assert "RotationType" not in found[0]


@pytest.mark.parametrize("members", [HMAC, SIGNING], ids=["hmac", "signing"])
async def test_only_symmetric_keys_are_rotated(aws, create, members):
    key_id = await create(**members)
    for operation in (
        *("enable_key_rotation", "disable_key_rotation"),
        *("rotate_key_on_demand", "list_key_rotations"),
    ):
        await aws.refused("UnsupportedOperationException", operation, KeyId=key_id)
    found = await aws.get_key_rotation_status(KeyId=key_id)
    assert (found["KeyRotationEnabled"], found["KeyId"]) == (False, key_id)
    # The other port rotates every kind of key.
    await aws.change(key_id, rotate_every=90 * DAY)
    found = await aws.get_key_rotation_status(KeyId=key_id)
    assert (found["KeyRotationEnabled"], found["RotationPeriodInDays"]) == (True, 90)


async def test_a_key_whose_id_would_change_is_not_rotated(aws):
    body = {"alg": "a256gcm", "alias": "alias/elsewhere"}
    async with aws.rest.post("/key/generate", json=body) as response:
        kid = (await response.json())["kid"]
    for operation in ("enable_key_rotation", "rotate_key_on_demand"):
        await aws.refused("UnsupportedOperationException", operation, KeyId=kid)
    assert (await aws.list_key_rotations(KeyId=kid))["Rotations"] == []


async def test_the_state_of_a_key_decides(aws, create, sweep, clock):
    key_id = await create()
    await aws.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=90)
    first = await material(aws, key_id)
    await aws.disable_key(KeyId=key_id)
    for operation in ("enable_key_rotation", "disable_key_rotation", "rotate_key_on_demand"):
        await aws.refused("DisabledException", operation, KeyId=key_id)
    assert (await aws.get_key_rotation_status(KeyId=key_id))["KeyRotationEnabled"] is True
    clock(91 * DAY)
    await sweep()
    assert await material(aws, key_id) == first
    await aws.enable_key(KeyId=key_id)
    clock(92 * DAY)
    await sweep()
    assert await material(aws, key_id) != first
    await aws.schedule_key_deletion(KeyId=key_id)
    for operation in ("enable_key_rotation", "disable_key_rotation", "rotate_key_on_demand"):
        await aws.refused("KMSInvalidStateException", operation, KeyId=key_id)
    assert (await aws.get_key_rotation_status(KeyId=key_id))["KeyRotationEnabled"] is False
    await aws.cancel_key_deletion(KeyId=key_id)
    assert (await aws.get_key_rotation_status(KeyId=key_id))["KeyRotationEnabled"] is True


async def test_a_rotation_on_demand_keeps_the_schedule_in_one_transaction(
    aws, create, clock, monkeypatch
):
    key_id = await create()
    await aws.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=90)
    before = await aws.get_key_rotation_status(KeyId=key_id)
    clock(10 * DAY)
    monkeypatch.setattr(aws.rest.app[STORE], "change", None)
    await aws.rotate_key_on_demand(KeyId=key_id)
    status = await aws.get_key_rotation_status(KeyId=key_id)
    assert status["NextRotationDate"] == before["NextRotationDate"]
    # A key without a schedule gets none.
    other = await create()
    await aws.rotate_key_on_demand(KeyId=other)
    assert (await aws.get_key_rotation_status(KeyId=other))["KeyRotationEnabled"] is False


@pytest.mark.parametrize("ahead", [False, True])
async def test_a_rotation_on_demand_takes_the_next_key_and_keeps_the_schedule(
    aws, create, sweep, clock, ahead
):
    key_id = await create()
    await aws.enable_key_rotation(KeyId=key_id, RotationPeriodInDays=90)
    if ahead:
        await aws.change(key_id, publish_ahead=2 * DAY)
    before = await aws.get_key_rotation_status(KeyId=key_id)
    async with aws.rest.post(f"/key/{await aws.kid(key_id)}/next") as response:
        following = (await response.json())["kid"]
    blob = (await aws.encrypt(KeyId=key_id, Plaintext=b"before"))["CiphertextBlob"]
    await aws.rotate_key_on_demand(KeyId=key_id)
    assert await aws.kid(key_id) == following
    assert (await aws.decrypt(CiphertextBlob=blob))["Plaintext"] == b"before"
    status = await aws.get_key_rotation_status(KeyId=key_id)
    assert status["NextRotationDate"] == before["NextRotationDate"]
    clock(91 * DAY)
    await sweep()
    rotated = await aws.kid(key_id)
    assert (rotated == following) is ahead
    clock(93 * DAY + 60)
    await sweep()
    assert await aws.kid(key_id) != following
    assert len((await aws.list_key_rotations(KeyId=key_id))["Rotations"]) == 2
