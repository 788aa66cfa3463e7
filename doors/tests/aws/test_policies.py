"""Policies and grants: the default policy of every key, and no grants."""

import json


async def test_the_policy_of_a_key_can_be_put_unchanged(aws):
    key_id = (await aws.create_key())["KeyMetadata"]["KeyId"]
    policy = (await aws.get_key_policy(KeyId=key_id))["Policy"]
    for text in (policy, json.dumps(json.loads(policy))):
        await aws.put_key_policy(KeyId=key_id, Policy=text)
        more = {"PolicyName": "default", "BypassPolicyLockoutSafetyCheck": True}
        await aws.put_key_policy(KeyId=key_id, Policy=text, **more)
    by = {"KeyId": key_id}
    other = json.dumps({**json.loads(policy), "Statement": []})
    await aws.refused("UnsupportedOperationException", "put_key_policy", **by, Policy=other)
    await aws.refused("MalformedPolicyDocumentException", "put_key_policy", **by, Policy="{")
    named = {"Policy": policy, "PolicyName": "other"}
    await aws.refused("NotFoundException", "put_key_policy", **by, **named)
    await aws.refused("ValidationException", "put_key_policy", **by)
    await aws.schedule_key_deletion(**by)
    await aws.refused("KMSInvalidStateException", "put_key_policy", **by, Policy=policy)


async def test_a_key_has_one_policy_and_no_grants(aws):
    key_id = (await aws.create_key())["KeyMetadata"]["KeyId"]
    answer = await aws.list_key_policies(KeyId=key_id)
    assert (answer["PolicyNames"], answer["Truncated"]) == (["default"], False)
    for members in (
        {},
        {"Limit": 1},
        {"GrantId": "a" * 64},
        {"GranteePrincipal": "arn:aws:iam::000000000000:role/a"},
        {"GranteeServicePrincipal": "dynamodb.us-east-1.amazonaws.com"},
    ):
        answer = await aws.list_grants(KeyId=key_id, **members)
        assert (answer["Grants"], answer["Truncated"]) == ([], False)
    await aws.refused("InvalidMarkerException", "list_grants", KeyId=key_id, Marker="x")
    # AWS documents no such error here.
    listed = await aws.list_key_policies(KeyId=key_id, Marker="x")
    assert listed["PolicyNames"] == ["default"]
