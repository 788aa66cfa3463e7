"""Keys that are enabled, disabled, scheduled for deletion and kept."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest

from minikms.key_requests import KeyRef
from minikms.web.state import SERVICE


@pytest.fixture
async def key(aws):
    return (await aws.create_key())["KeyMetadata"]


@pytest.fixture
def state_of(aws):
    """The state of a key, whether it is enabled, and whether it is there for its use."""

    async def call(key_id):
        found = (await aws.describe_key(KeyId=key_id))["KeyMetadata"]
        assert found["Enabled"] == (found["KeyState"] == "Enabled")
        assert ("DeletionDate" in found) == (found["KeyState"] == "PendingDeletion")
        return found["KeyState"]

    return call


async def test_a_key_is_disabled_and_enabled(aws, key, state_of):
    for operation, state in [
        ("disable_key", "Disabled"),
        ("disable_key", "Disabled"),
        ("enable_key", "Enabled"),
        ("enable_key", "Enabled"),
    ]:
        answer = await getattr(aws, operation)(KeyId=key["KeyId"])
        assert answer.keys() == {"ResponseMetadata"}
        assert await state_of(key["Arn"]) == state


@pytest.mark.parametrize("days", [None, 7, 30])
async def test_a_deletion_is_scheduled_and_cancelled(aws, key, state_of, days):
    given = {} if days is None else {"PendingWindowInDays": days}
    answer = await aws.schedule_key_deletion(KeyId=key["KeyId"], **given)
    assert (answer["KeyId"], answer["KeyState"]) == (key["Arn"], "PendingDeletion")
    assert answer["PendingWindowInDays"] == (days or 30)
    left = answer["DeletionDate"] - datetime.now(UTC)
    assert timedelta(days=days or 30, hours=-1) < left <= timedelta(days=days or 30, seconds=1)
    found = (await aws.describe_key(KeyId=key["KeyId"]))["KeyMetadata"]
    assert (found["KeyState"], found["Enabled"]) == ("PendingDeletion", False)
    assert found["DeletionDate"] == answer["DeletionDate"]
    assert (await aws.cancel_key_deletion(KeyId=key["Arn"]))["KeyId"] == key["Arn"]
    assert await state_of(key["KeyId"]) == "Disabled"
    await aws.enable_key(KeyId=key["KeyId"])
    assert await state_of(key["KeyId"]) == "Enabled"


@pytest.mark.parametrize("days", [0, 6, 31, 366, -1])
async def test_windows_that_are_none(aws, key, state_of, days):
    message = await aws.refused(
        "ValidationException", "schedule_key_deletion", KeyId=key["KeyId"], PendingWindowInDays=days
    )
    assert f"Value '{days}' at 'pendingWindowInDays' failed to satisfy constraint" in message
    assert await state_of(key["KeyId"]) == "Enabled"


async def test_a_key_pending_deletion_refuses_all_changes(aws, key, state_of):
    key_id = key["KeyId"]
    tags = [{"TagKey": "a", "TagValue": "b"}]
    await aws.create_alias(AliasName="alias/of-another", TargetKeyId=(await another(aws)))
    await aws.tag_resource(KeyId=key_id, Tags=tags)
    await aws.schedule_key_deletion(KeyId=key_id)
    for operation, members in [
        ("enable_key", {}),
        ("disable_key", {}),
        ("schedule_key_deletion", {}),
        ("tag_resource", {"Tags": tags}),
        ("untag_resource", {"TagKeys": ["a"]}),
        ("update_key_description", {"Description": "x"}),
    ]:
        message = await aws.refused("KMSInvalidStateException", operation, KeyId=key_id, **members)
        assert message == f"{key['Arn']} is pending deletion."
    for operation, name in [("create_alias", "alias/new"), ("update_alias", "alias/of-another")]:
        await aws.refused("KMSInvalidStateException", operation, AliasName=name, TargetKeyId=key_id)
    # Reads still succeed.
    assert (await aws.list_resource_tags(KeyId=key_id))["Tags"] == tags
    assert key_id in [each["KeyId"] for each in (await aws.list_keys())["Keys"]]
    assert (await aws.get_key_policy(KeyId=key_id))["PolicyName"] == "default"


async def another(aws):
    return (await aws.create_key())["KeyMetadata"]["KeyId"]


async def test_only_a_pending_deletion_can_be_cancelled(aws, key, state_of):
    for change, state in ((None, "Enabled"), ("disable_key", "Disabled")):
        if change:
            await getattr(aws, change)(KeyId=key["KeyId"])
        message = await aws.refused(
            "KMSInvalidStateException", "cancel_key_deletion", KeyId=key["KeyId"]
        )
        assert message == f"{key['Arn']} is not pending deletion."
        assert await state_of(key["KeyId"]) == state


@pytest.mark.each_store
async def test_one_of_eight_callers_schedules_and_one_cancels(start_aws, any_store):
    aws = await start_aws(**any_store)
    key_id = (await aws.create_key())["KeyMetadata"]["KeyId"]
    for operation in (aws.schedule_key_deletion, aws.cancel_key_deletion):
        calls = [operation(KeyId=key_id) for _ in range(8)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Exception)]
        assert [error.response["Error"]["Code"] for error in refused] == [
            "KMSInvalidStateException"
        ] * 7


async def test_a_key_that_is_gone_is_not_there(aws, key):
    await aws.create_alias(AliasName="alias/a", TargetKeyId=key["KeyId"])
    keys = aws.rest.app[SERVICE]
    await keys.operations.store.deletions.schedule(
        "default", KeyRef(alias=f"aws:{key['KeyId']}"), time.time_ns()
    )
    message = await aws.refused("NotFoundException", "describe_key", KeyId=key["KeyId"])
    assert message == f"Key '{key['Arn']}' does not exist"
    message = await aws.refused("NotFoundException", "describe_key", KeyId="alias/a")
    assert message == "Alias arn:aws:kms:us-east-1:000000000000:alias/a is not found."
    await aws.refused("NotFoundException", "cancel_key_deletion", KeyId=key["KeyId"])
    assert (await aws.list_keys())["Keys"] == (await aws.list_aliases())["Aliases"] == []
    await aws.create_alias(AliasName="alias/a", TargetKeyId=await another(aws))


async def test_states_of_the_other_door(aws, key, state_of):
    async with aws.rest.get(f"/key?alias=aws:{key['KeyId']}") as response:
        path = f"/key/{(await response.json())['kid']}"
    for change, state in [
        ({"state": "verify-only"}, "Disabled"),
        ({"state": "enabled"}, "Enabled"),
        ({"state": "disabled"}, "Disabled"),
        ({"state": "enabled", "expires": "2020-01-01T00:00:00Z"}, "Disabled"),
    ]:
        assert (await aws.rest.patch(path, json=change)).status == 200
        assert await state_of(key["KeyId"]) == state
    # To enable it would not make it usable.
    message = await aws.refused("KMSInvalidStateException", "enable_key", KeyId=key["KeyId"])
    assert message == f"{key['Arn']} has expired."
    await aws.rest.patch(path, json={"expires": None, "state": "verify-only"})
    await aws.enable_key(KeyId=key["KeyId"])
    assert await state_of(key["KeyId"]) == "Enabled"
    assert (await aws.rest.delete(f"{path}?after=1d")).status == 200
    assert await state_of(key["KeyId"]) == "PendingDeletion"
    await aws.cancel_key_deletion(KeyId=key["KeyId"])
    async with aws.rest.get(path) as response:
        found = await response.json()
    assert (found["state"], found["deletes"]) == ("disabled", None)


async def test_a_next_key_is_disabled_for_aws(aws, key, state_of):
    """AWS has no next keys: the key is shown, never signs, and only our API changes it."""
    signing = {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
    made = (await aws.create_key(**signing))["KeyMetadata"]["KeyId"]
    kid = await aws.kid(made)
    async with aws.rest.post(f"/key/{kid}/next") as response:
        following = (await response.json())["kid"]
    assert await state_of(following) == "Disabled"
    assert following in [each["KeyId"] for each in (await aws.list_keys())["Keys"]]
    assert (await aws.list_aliases(KeyId=following))["Aliases"] == []
    assert (await aws.get_public_key(KeyId=following))["KeySpec"] == "ECC_NIST_P256"
    arguments = {"KeyId": following, "Message": b"hello", "SigningAlgorithm": "ECDSA_SHA_256"}
    for dry in ({}, {"DryRun": True}):
        message = await aws.refused("DisabledException", "sign", **arguments, **dry)
        assert message == f"{aws.arn(following)} is disabled."
    tags = [{"TagKey": "a", "TagValue": "b"}]
    await aws.create_alias(AliasName="alias/a", TargetKeyId=made)
    for operation, members in [
        ("enable_key", {"KeyId": following}),
        ("disable_key", {"KeyId": following}),
        ("schedule_key_deletion", {"KeyId": following}),
        ("tag_resource", {"KeyId": following, "Tags": tags}),
        ("untag_resource", {"KeyId": following, "TagKeys": ["a"]}),
        ("update_key_description", {"KeyId": following, "Description": "x"}),
        ("create_alias", {"AliasName": "alias/new", "TargetKeyId": following}),
        ("update_alias", {"AliasName": "alias/a", "TargetKeyId": following}),
        ("rotate_key_on_demand", {"KeyId": following}),
        ("enable_key_rotation", {"KeyId": following}),
    ]:
        message = await aws.refused("KMSInvalidStateException", operation, **members)
        assert message == f"{aws.arn(following)} is the next key of {kid}."
    message = await aws.refused("KMSInvalidStateException", "cancel_key_deletion", KeyId=following)
    assert message == f"{aws.arn(following)} is not pending deletion."
    assert await state_of(following) == "Disabled"
    # The rotation gives it the id of its key.
    async with aws.rest.post(f"/key/{kid}/rotate") as response:
        assert (await response.json())["kid"] == following
    assert await state_of(made) == "Enabled"
    signature = (await aws.sign(**{**arguments, "KeyId": made}))["Signature"]
    assert (await aws.verify(**{**arguments, "KeyId": made}, Signature=signature))["SignatureValid"]


@pytest.mark.parametrize(
    ("members", "operation", "arguments"),
    [
        ({}, "encrypt", {"Plaintext": b"x"}),
        ({}, "generate_data_key", {"KeySpec": "AES_256"}),
        (
            {"KeySpec": "HMAC_256", "KeyUsage": "GENERATE_VERIFY_MAC"},
            "generate_mac",
            {"Message": b"x", "MacAlgorithm": "HMAC_SHA_256"},
        ),
    ],
)
async def test_a_next_key_makes_nothing_for_aws(aws, members, operation, arguments):
    made = (await aws.create_key(**members))["KeyMetadata"]["KeyId"]
    async with aws.rest.post(f"/key/{await aws.kid(made)}/next") as response:
        following = (await response.json())["kid"]
    await aws.refused("DisabledException", operation, KeyId=following, **arguments)


async def test_the_deletion_of_a_key_deletes_its_next_key(aws, key):
    async with aws.rest.post(f"/key/{await aws.kid(key['KeyId'])}/next") as response:
        following = (await response.json())["kid"]
    await aws.schedule_key_deletion(KeyId=key["KeyId"])
    await aws.refused("NotFoundException", "describe_key", KeyId=following)
    assert [each["KeyId"] for each in (await aws.list_keys())["Keys"]] == [key["KeyId"]]
