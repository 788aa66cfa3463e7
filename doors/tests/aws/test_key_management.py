"""Keys made at the AWS door, and its descriptions of them."""

import asyncio
import base64
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from algorithm_facts import FACTS, named
from botocore.session import get_session

MODEL = get_session().get_service_model("kms")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

# Key specs, with the usages of their keys and the algorithms of each usage.
KINDS = {FACTS[name].aws: FACTS[name].aws_usages for name in named() if FACTS[name].aws}
MEMBERS = {
    "SIGN_VERIFY": "SigningAlgorithms",
    "ENCRYPT_DECRYPT": "EncryptionAlgorithms",
    "GENERATE_VERIFY_MAC": "MacAlgorithms",
    "KEY_AGREEMENT": "KeyAgreementAlgorithms",
    "ENCAPSULATE_DECAPSULATE": "EncapsulationAlgorithms",
}


@pytest.fixture
def create(aws):
    async def call(**members):
        return (await aws.create_key(**members))["KeyMetadata"]

    return call


@pytest.fixture
def create_elsewhere(aws):
    async def call(alg, **options):
        body = {"alg": alg, **options}
        async with aws.rest.post("/key/generate", json=body) as response:
            assert response.status == 200
            return await response.json()

    return call


@pytest.mark.parametrize(("spec", "usage"), [(s, u) for s, usages in KINDS.items() for u in usages])
async def test_each_kind_of_key(aws, create, spec, usage):
    before = datetime.now(UTC) - timedelta(seconds=1)
    key = await create(KeySpec=spec, KeyUsage=usage, Description="of a test")
    key_id = key["KeyId"]
    assert UUID.fullmatch(key_id)
    assert before < key.pop("CreationDate") <= datetime.now(UTC) + timedelta(seconds=1)
    material = key.pop("CurrentKeyMaterialId", None)
    assert (material is not None) == (spec == "SYMMETRIC_DEFAULT")
    assert key == {
        "AWSAccountId": "000000000000",
        "KeyId": key_id,
        "Arn": f"arn:aws:kms:us-east-1:000000000000:key/{key_id}",
        "Enabled": True,
        "Description": "of a test",
        "KeyUsage": usage,
        "KeyState": "Enabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": spec,
        "KeySpec": spec,
        "MultiRegion": False,
        MEMBERS[usage]: KINDS[spec][usage],
    }
    for name in (key_id, key["Arn"]):
        found = (await aws.describe_key(KeyId=name, GrantTokens=["ignored"]))["KeyMetadata"]
        assert found.pop("CreationDate")
        assert found.pop("CurrentKeyMaterialId", None) == material
        assert found == key


async def test_a_key_without_members_is_symmetric(create):
    key = await create()
    assert (key["KeySpec"], key["KeyUsage"]) == ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
    assert key["Description"] == ""
    older = await create(CustomerMasterKeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")
    assert older["KeySpec"] == "HMAC_256"


@pytest.mark.parametrize(
    ("code", "members", "message"),
    [
        ("ValidationException", {"KeySpec": "RSA_2048", "CustomerMasterKeySpec": "RSA_2048"}, ""),
        ("ValidationException", {"Description": "x" * 8193}, "at 'description' failed to satisfy"),
        ("ValidationException", {"Description": "%" * 2731}, "counts as three"),
        ("UnsupportedOperationException", {"KeySpec": "SM2", "KeyUsage": "SIGN_VERIFY"}, "SM2"),
        (
            "UnsupportedOperationException",
            {"KeySpec": "HMAC_224", "KeyUsage": "GENERATE_VERIFY_MAC"},
            "HMAC_224",
        ),
        ("UnsupportedOperationException", {"Origin": "EXTERNAL"}, "EXTERNAL"),
        ("UnsupportedOperationException", {"MultiRegion": True}, "MultiRegion"),
        ("UnsupportedOperationException", {"CustomKeyStoreId": "cks-1"}, "CustomKeyStoreId"),
        ("UnsupportedOperationException", {"XksKeyId": "x"}, "XksKeyId"),
        ("UnsupportedOperationException", {"Policy": '{"Statement":[]}'}, "default policy"),
        ("MalformedPolicyDocumentException", {"Policy": "my policy"}, "JSON"),
        ("SerializationException", {"Description": 1}, "'description'"),
        ("SerializationException", {"MultiRegion": "true"}, "'multiRegion'"),
    ],
)
async def test_keys_that_cannot_be_made(aws, code, members, message):
    assert message in await aws.refused(code, "create_key", **members)
    assert (await aws.list_keys())["Keys"] == []


async def test_the_default_policy_may_be_given(aws, create):
    key_id = (await create())["KeyId"]
    found = await aws.get_key_policy(KeyId=key_id, PolicyName="default")
    assert found["PolicyName"] == "default"
    assert json.loads(found["Policy"])["Statement"][0]["Principal"] == {
        "AWS": "arn:aws:iam::000000000000:root"
    }
    other = (await create(Policy=found["Policy"]))["KeyId"]
    assert (await aws.get_key_policy(KeyId=other))["Policy"] == found["Policy"]
    assert "No such policy exists" in await aws.refused(
        "NotFoundException", "get_key_policy", KeyId=key_id, PolicyName="other"
    )


async def test_a_description_is_changed(aws, create):
    key_id = (await create(Description="before"))["KeyId"]
    for text in ("after", "", "50% of it:\ntwo lines\x00\x85 and é", "x" * 8192):
        await aws.update_key_description(KeyId=key_id, Description=text)
        found = (await aws.describe_key(KeyId=key_id))["KeyMetadata"]
        assert found["Description"] == text
    await aws.refused(
        "ValidationException", "update_key_description", KeyId=key_id, Description="x" * 8193
    )
    await aws.refused("ValidationException", "update_key_description", KeyId=key_id)


async def test_keys_are_listed_in_pages(aws, create, create_elsewhere):
    made = [await create() for _ in range(4)]
    expected = [(key["KeyId"], key["Arn"]) for key in made]
    kid = (await create_elsewhere("p256"))["kid"]
    expected.append((kid, f"arn:aws:kms:us-east-1:000000000000:key/{kid}"))
    await create_elsewhere("bls12381g2")  # none of AWS's
    await create_elsewhere("x25519")
    await create_elsewhere("p256", operations=["hpke-open"])
    last = await create()
    expected.append((last["KeyId"], last["Arn"]))
    for limit in (1, 2, 3, 1000):
        found, markers, marker = [], [], {}
        while marker is not None:
            page = await aws.list_keys(Limit=limit, **marker)
            found += [(key["KeyId"], key["KeyArn"]) for key in page["Keys"]]
            assert len(page["Keys"]) <= limit
            assert page["Truncated"] == ("NextMarker" in page)
            marker = {"Marker": page["NextMarker"]} if page["Truncated"] else None
            markers.append(marker)
        assert found == expected
        assert len(markers) == -(-9 // limit)
    pages = aws.boto.get_paginator("list_keys").paginate(PaginationConfig={"PageSize": 2})
    whole = await asyncio.to_thread(pages.build_full_result)
    assert [key["KeyId"] for key in whole["Keys"]] == [one for one, _ in expected]


async def test_a_page_has_a_hundred_keys_by_default(aws):
    body = {"alg": "ed25519", "count": 101}
    async with aws.rest.post("/key/generate/batch", json=body) as response:
        assert response.status == 200
    page = await aws.list_keys()
    assert (len(page["Keys"]), page["Truncated"]) == (100, True)


def marker_of(text):
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize("operation", ["list_keys", "list_aliases", "list_resource_tags"])
async def test_pages_that_are_none(aws, create, operation):
    by = {"KeyId": (await create())["KeyId"]} if operation == "list_resource_tags" else {}
    texts = "1:", ":", "0" * 20, "0" * 21 + ":", "-" + "0" * 19 + ":", "\u0661" * 20 + ":"
    damaged = base64.urlsafe_b64encode(b"0" * 20 + b":\xff").decode()
    for marker in ("x", "0" * 20 + ":", damaged, *map(marker_of, texts)):
        await aws.refused("InvalidMarkerException", operation, Marker=marker, **by)
    for members in ({"Marker": ""}, {"Marker": "x" * 1025}, {"Marker": "\u0100"}, {"Limit": 0},
                    {"Limit": 1001}):  # fmt: skip
        await aws.refused("ValidationException", operation, **members, **by)
    for members in ({"Marker": 1}, {"Limit": "1"}, {"Limit": 1.5}, {"Limit": True}):
        await aws.refused("SerializationException", operation, **members, **by)
    if operation != "list_resource_tags":
        answer = await getattr(aws, operation)(Marker=marker_of("9" * 20 + ":"))
        assert answer["Truncated"] is False


BY_KEY_ID = [
    "enable_key",
    "disable_key",
    "schedule_key_deletion",
    "cancel_key_deletion",
    "get_key_policy",
    "get_key_rotation_status",
    "get_key_last_usage",
    "enable_key_rotation",
    "disable_key_rotation",
    "rotate_key_on_demand",
    "list_key_rotations",
    "list_key_policies",
    "list_grants",
    "put_key_policy",
    "list_resource_tags",
    "list_aliases",
    "tag_resource",
    "untag_resource",
    "update_key_description",
]
MORE = {
    "tag_resource": {"Tags": [{"TagKey": "a", "TagValue": "b"}]},
    "untag_resource": {"TagKeys": ["a"]},
    "update_key_description": {"Description": "x"},
    "put_key_policy": {"Policy": "{}"},
}


@pytest.mark.parametrize("operation", [*BY_KEY_ID, "describe_key"])
async def test_a_key_that_is_not_there(aws, create, operation):
    more = MORE.get(operation, {})
    unknown = "12345678-1234-1234-1234-123456789012"
    arn = f"arn:aws:kms:us-east-1:000000000000:key/{unknown}"
    for name in (unknown, arn):
        message = await aws.refused("NotFoundException", operation, KeyId=name, **more)
        assert message == f"Key '{arn}' does not exist"
    message = await aws.refused("NotFoundException", operation, KeyId="fake-key-id", **more)
    assert message == "Invalid keyId 'fake-key-id'"
    for name in ("arn:aws:kms:us-east-1", "arn:aws:s3:::key/x"):
        await aws.refused("InvalidArnException", operation, KeyId=name, **more)
    key_id = (await create())["KeyId"]
    for elsewhere in ("us-east-2:000000000000", "us-east-1:111111111111"):
        name = f"arn:aws:kms:{elsewhere}:key/{key_id}"
        await aws.refused("NotFoundException", operation, KeyId=name, **more)
    await aws.refused("ValidationException", operation, KeyId="", **more)
    await aws.refused("ValidationException", operation, KeyId="x" * 2049, **more)
    if operation != "list_aliases":
        await aws.refused("ValidationException", operation, **more)


@pytest.mark.parametrize("operation", BY_KEY_ID)
async def test_management_operations_take_no_alias(aws, create, operation):
    key_id = (await create())["KeyId"]
    await aws.create_alias(AliasName="alias/a", TargetKeyId=key_id)
    for name in ("alias/a", "arn:aws:kms:us-east-1:000000000000:alias/a"):
        await aws.refused("NotFoundException", operation, KeyId=name, **MORE.get(operation, {}))
    assert (await aws.describe_key(KeyId="alias/a"))["KeyMetadata"]["KeyState"] == "Enabled"


async def test_a_key_of_a_kind_that_aws_has_not(aws, create_elsewhere):
    key = await create_elsewhere("x25519", alias="alias/x")
    for name in (key["kid"], "alias/x"):
        await aws.refused("NotFoundException", "describe_key", KeyId=name)
    await aws.refused("NotFoundException", "disable_key", KeyId=key["kid"])


async def test_a_rotated_key_keeps_its_id(aws, create):
    key = await create()
    async with aws.rest.get(f"/key?alias=aws:{key['KeyId']}") as response:
        old = (await response.json())["kid"]
    async with aws.rest.post(f"/key/{old}/rotate") as response:
        assert response.status == 200
    found = (await aws.describe_key(KeyId=key["KeyId"]))["KeyMetadata"]
    assert found["Arn"] == key["Arn"]
    assert found["CurrentKeyMaterialId"] != key["CurrentKeyMaterialId"]
    before = (await aws.describe_key(KeyId=old))["KeyMetadata"]
    assert (before["KeyState"], before["Enabled"]) == ("Disabled", False)
    assert before["CurrentKeyMaterialId"] == key["CurrentKeyMaterialId"]
    assert {each["KeyId"] for each in (await aws.list_keys())["Keys"]} == {key["KeyId"], old}


async def test_the_last_use_of_a_key(aws, create, clock):
    key = await create()
    by = {"KeyId": key["KeyId"]}
    found = await aws.get_key_last_usage(**by)
    assert (found["KeyId"], found["KeyLastUsage"]) == (key["KeyId"], {})
    assert found["KeyCreationDate"] == key["CreationDate"]
    assert found["TrackingStartDate"] >= key["CreationDate"]
    await aws.describe_key(**by)
    assert (await aws.get_key_last_usage(**by))["KeyLastUsage"] == {}
    await aws.encrypt(**by, Plaintext=b"x")
    used = (await aws.get_key_last_usage(**by))["KeyLastUsage"]["Timestamp"]
    assert used >= key["CreationDate"]
    await aws.rotate(key["KeyId"])
    # Uses of the replaced key still count.
    after = await aws.get_key_last_usage(**by)
    assert after["TrackingStartDate"] == found["TrackingStartDate"]
    assert after["KeyCreationDate"] > found["KeyCreationDate"]
    assert (await aws.get_key_last_usage(**by))["KeyLastUsage"]["Timestamp"] == used
    clock(3600)
    await aws.encrypt(**by, Plaintext=b"x")
    last = (await aws.get_key_last_usage(**by))["KeyLastUsage"]["Timestamp"]
    assert last - used > timedelta(minutes=50)


async def test_each_region_and_profile_has_its_own_arns(aws, create):
    key = await create()
    there = await aws.of(region_name="eu-central-1").describe_key(KeyId=key["KeyId"])
    assert there["KeyMetadata"]["Arn"] == key["Arn"].replace("us-east-1", "eu-central-1")
    await aws.rest.post("/profile", json={"name": "alice"})
    alice = aws.of("alice")
    hers = (await alice.create_key())["KeyMetadata"]
    assert re.fullmatch(r"\d{12}", hers["AWSAccountId"])
    assert hers["AWSAccountId"] != key["AWSAccountId"]
    for name in (key["KeyId"], key["Arn"]):
        await alice.refused("NotFoundException", "describe_key", KeyId=name)
    assert [each["KeyId"] for each in (await alice.list_keys())["Keys"]] == [hers["KeyId"]]


def test_the_members_of_answers_are_in_the_model():
    """botocore's model has each member named above; botocore would ignore other members."""
    shape = MODEL.shape_for("KeyMetadata")
    assert set(MEMBERS.values()) | {"CurrentKeyMaterialId"} <= set(shape.members)
    specs = set(MODEL.shape_for("KeySpec").enum)
    assert set(KINDS) <= specs
