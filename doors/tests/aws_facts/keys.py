"""Answers of AWS about keys: their metadata, listings and states."""

from datetime import datetime

from aws_facts.fact import Call, Fact, Has, Ref, Refused, invalid, key, with_key

UNKNOWN = "134f2428-cec1-4b25-a1ae-9048164dba47"
MULTI_REGION = "mrk-d3b95762d3b95762d3b95762d3b95762"
SYMMETRIC = {
    "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
    "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
    "KeySpec": "SYMMETRIC_DEFAULT",
    "KeyUsage": "ENCRYPT_DECRYPT",
    "CurrentKeyMaterialId": str,
}
HMAC = {
    "CustomerMasterKeySpec": "HMAC_256",
    "KeySpec": "HMAC_256",
    "KeyUsage": "GENERATE_VERIFY_MAC",
    "MacAlgorithms": ["HMAC_SHA_256"],
}


def metadata(description, kind):
    """The metadata of a new key."""
    return {
        "AWSAccountId": str,
        "Arn": str,
        "CreationDate": datetime,
        "Description": description,
        "Enabled": True,
        "KeyId": str,
        "KeyManager": "CUSTOMER",
        "KeyState": "Enabled",
        "MultiRegion": False,
        "Origin": "AWS_KMS",
        **kind,
    }


def described(name="key", **members):
    """DescribeKey: these members, and others."""
    return Call("DescribeKey", {"KeyId": Ref(name)}, {"KeyMetadata": Has(members)})


def unknown(key_id, message):
    """DescribeKey of a key that does not exist."""
    return Call("DescribeKey", {"KeyId": key_id}, Refused("NotFoundException", message))


DESCRIBED = (
    Fact(
        "test_create_key",
        (
            Call(
                "CreateKey",
                {"Description": "test key 123", "KeyUsage": "ENCRYPT_DECRYPT"},
                {"KeyMetadata": metadata("test key 123", SYMMETRIC)},
                {"key": "KeyMetadata.KeyId", "arn": "KeyMetadata.Arn"},
            ),
            described(
                **metadata("test key 123", SYMMETRIC) | {"KeyId": Ref("key"), "Arn": Ref("arn")}
            ),
        ),
    ),
    Fact(
        "test_hmac_create_key",
        (
            Call(
                "CreateKey",
                {
                    "Description": "test key",
                    "KeySpec": "HMAC_256",
                    "KeyUsage": "GENERATE_VERIFY_MAC",
                },
                {"KeyMetadata": metadata("test key", HMAC)},
                {"key": "KeyMetadata.KeyId"},
            ),
            Call("DescribeKey", {"KeyId": Ref("key")}, {"KeyMetadata": metadata("test key", HMAC)}),
        ),
    ),
    Fact(
        "test_describe_with_alias_arn",
        (
            key(Description="test - description"),
            Call("CreateAlias", {"TargetKeyId": Ref("key"), "AliasName": "alias/here"}, {}),
            Call(
                "DescribeKey",
                {"KeyId": Ref("key_arn", lambda arn: f"{arn.rpartition(':')[0]}:alias/here")},
                {"KeyMetadata": metadata("test - description", SYMMETRIC)},
            ),
        ),
    ),
    Fact(
        "test_describe_and_list_sign_key",
        (
            key(KeyUsage="SIGN_VERIFY", CustomerMasterKeySpec="ECC_NIST_P256"),
            described(
                KeyId=Ref("key"), KeySpec="ECC_NIST_P256", SigningAlgorithms=["ECDSA_SHA_256"]
            ),
        ),
    ),
    Fact(
        "test_update_key_description",
        (
            key(Description="old_description"),
            with_key("UpdateKeyDescription", answer={}, Description="new_description"),
            described(Description="new_description"),
        ),
    ),
)


def missing(name):
    """The message about an ARN of this account with another name."""
    return Ref("key_arn", lambda arn: f"Key '{arn.rpartition('/')[0]}/{name}' does not exist")


NOT_FOUND = (
    Fact(
        "test_get_key_does_not_exist",
        (
            key(),
            unknown(UNKNOWN, missing(UNKNOWN)),
            unknown(
                Ref("key_arn", lambda arn: f"{arn.rpartition('/')[0]}/{UNKNOWN}"), missing(UNKNOWN)
            ),
            unknown(MULTI_REGION, missing(MULTI_REGION)),
        ),
    ),
    Fact(
        "test_get_key_in_different_region",
        (
            key(),
            unknown(
                Ref("key_arn", lambda arn: arn.replace("us-east-1", "us-west-2")),
                "Invalid arn us-west-2",
            ),
        ),
    ),
    Fact(
        "test_get_key_invalid_uuid",
        tuple(
            unknown(name, f"Invalid keyId '{name}'")
            for name in ("fake-key-id", "134f2428cec14b25a1ae9048164dba47", "mrk-fake-key-id")
        ),
    ),
)

STATES = (
    Fact(
        "test_schedule_and_cancel_key_deletion",
        (
            key(),
            with_key("ScheduleKeyDeletion"),
            described(Enabled=False, KeyState="PendingDeletion", DeletionDate=datetime),
            with_key("CancelKeyDeletion", answer={"KeyId": Ref("key_arn")}),
            described(Enabled=False, KeyState="Disabled"),
        ),
    ),
    Fact(
        "test_disable_and_enable_key",
        (
            key(),
            described(Enabled=True, KeyState="Enabled"),
            with_key("DisableKey", answer={}),
            described(Enabled=False, KeyState="Disabled"),
            with_key("EnableKey", answer={}),
            described(Enabled=True, KeyState="Enabled"),
        ),
    ),
    Fact(
        "test_cant_delete_deleted_key",
        (
            key(),
            with_key("ScheduleKeyDeletion"),
            with_key("ScheduleKeyDeletion", answer=Refused("KMSInvalidStateException")),
        ),
    ),
)

SPECS = (
    Fact(
        "test_hmac_create_key_invalid_operations",
        (
            Call(
                "CreateKey",
                {"KeySpec": "HMAC_256"},
                Refused(
                    "ValidationException",
                    "You must specify a KeyUsage value for all KMS keys except for symmetric "
                    "encryption keys.",
                ),
            ),
            Call(
                "CreateKey",
                {"KeySpec": "HMAC_random"},
                invalid("keySpec", "HMAC_random", "satisfy enum value set: ["),
            ),
            Call(
                "CreateKey",
                {"KeySpec": "HMAC_256", "KeyUsage": "RANDOM"},
                invalid("keyUsage", "RANDOM", "satisfy enum value set: ["),
            ),
        ),
    ),
    Fact(
        "test_derive_shared_secret",
        (
            Call(
                "CreateKey",
                {"KeySpec": "RSA_2048", "KeyUsage": "KEY_AGREEMENT"},
                Refused(
                    "ValidationException",
                    "KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048",
                ),
            ),
        ),
    ),
)

FACTS = (*DESCRIBED, *NOT_FOUND, *STATES, *SPECS)
