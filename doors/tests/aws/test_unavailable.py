"""A store and an audit log that are away: each call is refused as AWS does, and changes nothing."""

import asyncio
import os

import pytest

from minikms.web.state import SERVICE

ECDSA = {"SigningAlgorithm": "ECDSA_SHA_256"}


def calls(key_id, other):
    """A call of each operation on keys; `other` waits for its deletion."""
    return [
        ("create_key", {}),
        ("describe_key", {"KeyId": key_id}),
        ("list_keys", {}),
        ("get_key_policy", {"KeyId": key_id}),
        ("update_key_description", {"KeyId": key_id, "Description": "other"}),
        ("tag_resource", {"KeyId": key_id, "Tags": [{"TagKey": "b", "TagValue": "2"}]}),
        ("untag_resource", {"KeyId": key_id, "TagKeys": ["a"]}),
        ("list_resource_tags", {"KeyId": key_id}),
        ("create_alias", {"AliasName": "alias/new", "TargetKeyId": key_id}),
        ("update_alias", {"AliasName": "alias/a", "TargetKeyId": key_id}),
        ("list_aliases", {}),
        ("sign", {"KeyId": key_id, "Message": b"x", **ECDSA}),
        ("disable_key", {"KeyId": key_id}),
        ("enable_key", {"KeyId": key_id}),
        ("delete_alias", {"AliasName": "alias/a"}),
        ("schedule_key_deletion", {"KeyId": key_id}),
        ("cancel_key_deletion", {"KeyId": other}),
    ]


async def two_keys(aws):
    """The ids of two signing keys: one has an alias, the other is pending deletion."""
    ids = []
    for _ in range(2):
        made = await aws.create_key(
            KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Tags=[{"TagKey": "a", "TagValue": "1"}]
        )
        ids.append(made["KeyMetadata"]["KeyId"])
    await aws.create_alias(AliasName="alias/a", TargetKeyId=ids[0])
    await aws.schedule_key_deletion(KeyId=ids[1])
    return ids


@pytest.mark.each_store
async def test_a_call_that_cannot_be_recorded_is_not_done(start_aws, any_store, tmp_path):
    path, away = tmp_path / "audit.log", tmp_path / "away"
    aws = await start_aws(**any_store, audit_log=str(path))
    service = aws.rest.app[SERVICE]
    for operation, members in calls(*await two_keys(aws)):
        before = await service.descriptions.list_keys("default", limit=100)
        os.rename(path, away)
        size = away.stat().st_size
        message = await aws.refused("DependencyTimeoutException", operation, **members)
        assert str(path) not in message
        assert (away.stat().st_size, path.exists()) == (size, False), operation
        assert await service.descriptions.list_keys("default", limit=100) == before, operation
        os.rename(away, path)
        await getattr(aws, operation)(**members)
        assert path.stat().st_size > size, operation


async def test_nor_is_it_with_cached_keys(start_aws, tmp_path):
    path, away = tmp_path / "audit.log", tmp_path / "away"
    aws = await start_aws(audit_log=str(path))
    signer, secret = await aws.make("p256", "sign", "verify"), await aws.make("a256gcm")
    blob = (await aws.encrypt(KeyId=secret, Plaintext=b"x"))["CiphertextBlob"]
    calls = [
        ("sign", {"KeyId": signer, "Message": b"x", **ECDSA}),
        ("encrypt", {"KeyId": secret, "Plaintext": b"x"}),
        ("decrypt", {"CiphertextBlob": blob}),
        ("generate_data_key", {"KeyId": secret, "KeySpec": "AES_256"}),
    ]
    for operation, members in calls:
        for _ in range(2):
            await getattr(aws, operation)(**members)
        os.rename(path, away)
        await aws.refused("DependencyTimeoutException", operation, **members)
        os.rename(away, path)
        size = path.stat().st_size
        await getattr(aws, operation)(**members)
        assert path.stat().st_size > size


async def test_a_database_that_is_away(start_aws, make_store, own_postgres):
    options = await make_store(own_postgres.create_database())
    aws = await start_aws(**options, cache_size=0)
    each = calls(*await two_keys(aws))
    await asyncio.to_thread(own_postgres.stop, "fast")
    refused = [
        aws.refused("DependencyTimeoutException", operation, **members)
        for operation, members in each
    ]
    await asyncio.gather(*refused)
    assert (await aws.generate_random(NumberOfBytes=1))["Plaintext"]
    await asyncio.to_thread(own_postgres.start)
    async with asyncio.timeout(60):
        while (await aws.rest.get("/readyz")).status != 200:
            await asyncio.sleep(0.05)
    for operation, members in each:
        await getattr(aws, operation)(**members)
