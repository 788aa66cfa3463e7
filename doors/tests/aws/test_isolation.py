"""Another profile's keys look as if they did not exist, by any name."""

import base64
import uuid

import orjson
import pytest
from aiohttp import ClientSession
from botocore.exceptions import ClientError

from minikms_aws.identity import account_of

ABSENT_KID = "n" * 43
ABSENT_ID = str(uuid.UUID(int=1))


def calls(key_id):
    """A call of each operation on a key, unless a ciphertext names the key."""
    by = {"KeyId": key_id}
    return [
        ("cancel_key_deletion", by),
        ("create_alias", {"AliasName": "alias/new", "TargetKeyId": key_id}),
        ("decapsulate", {**by, "EncapsulationAlgorithm": "ML_KEM",
                         "SharedSecretCiphertextBlob": b"x"}),
        ("decrypt", {**by, "CiphertextBlob": b"x", "EncryptionAlgorithm": "RSAES_OAEP_SHA_256"}),
        ("derive_shared_secret", {**by, "KeyAgreementAlgorithm": "ECDH", "PublicKey": b"x"}),
        ("describe_key", by),
        ("disable_key", by),
        ("disable_key_rotation", by),
        ("enable_key", by),
        ("enable_key_rotation", by),
        ("encapsulate", {**by, "EncapsulationAlgorithm": "ML_KEM"}),
        ("encrypt", {**by, "Plaintext": b"x"}),
        ("generate_data_key", {**by, "KeySpec": "AES_256"}),
        ("generate_data_key_pair", {**by, "KeyPairSpec": "ECC_NIST_P256"}),
        ("generate_mac", {**by, "Message": b"x", "MacAlgorithm": "HMAC_SHA_256"}),
        ("get_key_last_usage", by),
        ("get_key_policy", by),
        ("get_key_rotation_status", by),
        ("get_public_key", by),
        ("list_aliases", by),
        ("list_grants", by),
        ("list_key_policies", by),
        ("list_key_rotations", by),
        ("list_resource_tags", by),
        ("put_key_policy", {**by, "Policy": "{}"}),
        ("rotate_key_on_demand", by),
        ("schedule_key_deletion", by),
        ("sign", {**by, "Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"}),
        ("tag_resource", {**by, "Tags": [{"TagKey": "a", "TagValue": "b"}]}),
        ("untag_resource", {**by, "TagKeys": ["a"]}),
        ("update_alias", {"AliasName": "alias/own", "TargetKeyId": key_id}),
        ("update_key_description", {**by, "Description": "x"}),
        ("verify", {**by, "Message": b"x", "Signature": b"x", "SigningAlgorithm": "ECDSA_SHA_256"}),
        ("verify_mac", {**by, "Message": b"x", "Mac": b"x", "MacAlgorithm": "HMAC_SHA_256"}),
    ]  # fmt: skip


async def error(aws, operation, members):
    with pytest.raises(ClientError) as raised:
        await getattr(aws, operation)(**members)
    return raised.value.response["Error"]


@pytest.fixture
async def refusal(aws):
    """The refusal of a call with boto3's body; boto3 takes three times as long."""
    async with ClientSession(
        aws.url, headers={"Content-Type": "application/x-amz-json-1.1"}
    ) as session:

        async def call(operation, members):
            name = aws.boto.meta.method_to_api_mapping[operation]
            body = orjson.dumps(members, default=lambda data: base64.b64encode(data).decode())
            headers = {"X-Amz-Target": f"TrentService.{name}"}
            async with session.post("/", data=body, headers=headers) as answer:
                assert answer.status == 400
                return orjson.loads(await answer.read())

        yield call


async def test_a_key_of_another_profile_looks_missing(aws, refusal):
    alice = await aws.new_profile("alice")
    own = (await aws.create_key())["KeyMetadata"]["KeyId"]
    await aws.create_alias(AliasName="alias/own", TargetKeyId=own)
    key_id = (await alice.create_key())["KeyMetadata"]["KeyId"]
    async with aws.rest.get(f"/key?alias=aws:{key_id}", headers={"X-Profile": "alice"}) as answer:
        kid = (await answer.json())["kid"]
    await alice.create_alias(AliasName="alias/hers", TargetKeyId=key_id)
    arns = [f"arn:aws:kms:us-east-1:{account}:" for account in ("0" * 12, account_of("alice"))]
    names = [
        (key_id, ABSENT_ID),
        (kid, ABSENT_KID),
        ("alias/hers", "alias/none"),
        *((f"{arn}key/{key_id}", f"{arn}key/{ABSENT_ID}") for arn in arns),
        *((f"{arn}key/{kid}", f"{arn}key/{ABSENT_KID}") for arn in arns),
        *((f"{arn}alias/hers", f"{arn}alias/none") for arn in arns),
    ]
    expected = {}
    for hers, absent in names:
        name, other = hers.rpartition("/")[2], absent.rpartition("/")[2]
        for operation, members in calls(absent):
            found = await refusal(operation, members)
            assert found["__type"] in ("NotFoundException", "ValidationException")
            found = {each: text.replace(other, name) for each, text in found.items()}
            expected[operation, hers] = found
    for change in (None, alice.disable_key, alice.schedule_key_deletion):
        if change:
            await change(KeyId=key_id)
        before = await alice.describe_key(KeyId=key_id)
        for hers, _ in names:
            for operation, members in calls(hers):
                found = await refusal(operation, members)
                assert found == expected[operation, hers], (operation, hers)
        after = await alice.describe_key(KeyId=key_id)
        assert after["KeyMetadata"] == before["KeyMetadata"]


async def test_nor_is_its_ciphertext_one(aws):
    alice = await aws.new_profile("alice")
    made = (await alice.create_key())["KeyMetadata"]
    blob = (await alice.encrypt(KeyId=made["KeyId"], Plaintext=b"x"))["CiphertextBlob"]
    own = (await aws.create_key())["KeyMetadata"]["KeyId"]
    absent = blob[:2] + ABSENT_KID.encode() + blob[45:]
    for change in (None, alice.disable_key, alice.schedule_key_deletion):
        if change:
            await change(KeyId=made["KeyId"])
        for each in (
            {},
            {"EncryptionContext": {"a": "b"}},
            {"KeyId": own},
            {"KeyId": made["KeyId"]},
            {"KeyId": made["Arn"]},
        ):
            found = await error(aws, "decrypt", {"CiphertextBlob": blob, **each})
            assert found == await error(aws, "decrypt", {"CiphertextBlob": absent, **each})
        members = {"CiphertextBlob": blob, "DestinationKeyId": own}
        assert (await error(aws, "re_encrypt", members))["Code"] == "InvalidCiphertextException"
