"""What AWS KMS says of a key, and the policy that all keys here have."""

from typing import Any, Final

from minikms.doors.aws.body import timestamp
from minikms.doors.aws.identity import Arns
from minikms.doors.aws.keys import AwsKey
from minikms.doors.aws.labels import description_of
from minikms.doors.aws.specs import SYMMETRIC_DEFAULT

PENDING_DELETION: Final = "PendingDeletion"


def metadata(key: AwsKey, arns: Arns) -> dict[str, Any]:
    """The KeyMetadata of a key.

    A key that is `verify-only` is Disabled: it makes nothing new, though it verifies and decrypts.
    """
    record = key.record
    enabled = record.current_state == "enabled"
    found: dict[str, Any] = {
        "AWSAccountId": arns.account,
        "KeyId": key.key_id,
        "Arn": key.arn,
        "CreationDate": timestamp(record.created),
        "Enabled": enabled,
        "Description": description_of(record.labels),
        "KeyUsage": key.usage,
        "KeyState": "Enabled" if enabled else "Disabled",
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": key.spec.name,
        "KeySpec": key.spec.name,
        "MultiRegion": False,
        **key.spec.listed(key.usage),
    }
    if record.deletes is not None:
        found |= {"KeyState": PENDING_DELETION, "DeletionDate": timestamp(record.deletes)}
    if key.spec.name == SYMMETRIC_DEFAULT:
        found["CurrentKeyMaterialId"] = key.material_id
    return found


def policy_of(account: str) -> dict[str, Any]:
    """The policy of every key: the account, which is a profile, says who may use it."""
    return {
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [
            {
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }
