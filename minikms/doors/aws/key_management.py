"""Operations that make keys, describe them, and change their state."""

import time
from typing import Any, Final

import orjson

from minikms.doors import KeyPolicy, KeyRecord, KeyRef
from minikms.doors.aws.body import (
    BY_KEY_ID,
    PAGE,
    Body,
    Boolean,
    Enum,
    Integer,
    Shape,
    Text,
    Unsupported,
    behind,
    listed,
    position,
    timestamp,
)
from minikms.doors.aws.errors import (
    AwsError,
)
from minikms.doors.aws.identity import Arns, new_uuid, uuid_alias
from minikms.doors.aws.operation import AwsCall, AwsKey, operation
from minikms.doors.aws.specs import (
    ENCRYPT_DECRYPT,
    KEY_SPECS,
    KEY_USAGES,
    SYMMETRIC_DEFAULT,
)
from minikms.doors.aws.specs import OPERATIONS as OPERATIONS_OF
from minikms.doors.aws.tags import description_of, new_labels, tag_list, with_description

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


_ORIGINS: Final = ("AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")
_POLICY: Final = "default"
_LIMIT: Final = 100


_CREATE_KEY: Final[Shape] = {
    "KeySpec": Enum(KEY_SPECS),
    "CustomerMasterKeySpec": Enum(KEY_SPECS),
    "KeyUsage": Enum(KEY_USAGES),
    "Description": Text(0, 8192),
    "Tags": tag_list(),
    "Policy": Text(1, 131072),
    "Origin": Enum(_ORIGINS),
    "MultiRegion": Boolean(),
    "CustomKeyStoreId": Unsupported(),
    "XksKeyId": Unsupported(),
}


@operation("CreateKey", "keys:write", _CREATE_KEY)
async def create_key(call: AwsCall, body: Body) -> dict[str, Any]:
    """A new key, with an id of its own, and no alias."""
    _require_plain(call, body)
    spec = call.specs.get(_spec_name(body))
    usage = body.get("KeyUsage")
    if usage is None:
        if spec.name != SYMMETRIC_DEFAULT:
            raise AwsError(
                "ValidationException",
                "You must specify a KeyUsage value for all KMS keys except for symmetric "
                "encryption keys.",
            )
        usage = ENCRYPT_DECRYPT
    if usage not in spec.algorithms:
        raise AwsError(
            "ValidationException", f"KeyUsage {usage} is not compatible with KeySpec {spec.name}"
        )
    key_id = new_uuid()
    policy = KeyPolicy(
        aliases=(uuid_alias(key_id),),
        labels=new_labels(body.get("Description", ""), body.get("Tags", ())),
        operations=OPERATIONS_OF[usage],
    )
    record = await call.service.generate(call.profile, spec.alg, policy)
    made = AwsKey(record, KeyRef(kid=record.kid), spec, usage, key_id, call.arns.key(key_id))
    return {"KeyMetadata": metadata(made, call.arns)}


@operation("DescribeKey", "keys:read", BY_KEY_ID)
async def describe_key(call: AwsCall, body: Body) -> dict[str, Any]:
    """What is known of a key."""
    return {"KeyMetadata": metadata(await call.key(body["KeyId"]), call.arns)}


@operation("ListKeys", "keys:read", PAGE)
async def list_keys(call: AwsCall, body: Body) -> dict[str, Any]:
    """A page of keys; fewer than asked for where some are of a kind that AWS does not have."""
    records, more = await call.service.list_keys(
        call.profile, limit=body.get("Limit", _LIMIT), after=position(body).after
    )
    keys = [key for record in records if (key := call.named(record))]
    found = [{"KeyId": key.key_id, "KeyArn": key.arn} for key in keys]
    return listed("Keys", found, behind(records[-1].seq) if more else None)


_UPDATE_KEY_DESCRIPTION: Final[Shape] = {**BY_KEY_ID, "Description": Text(0, 8192, required=True)}


@operation("UpdateKeyDescription", "keys:write", _UPDATE_KEY_DESCRIPTION)
async def update_key_description(call: AwsCall, body: Body) -> None:
    """Describe a key in other words."""
    key = await call.key_to_change(body["KeyId"])
    await call.service.relabel(
        call.profile, key.record.kid, lambda labels: with_description(labels, body["Description"])
    )


_GET_KEY_POLICY: Final[Shape] = {**BY_KEY_ID, "PolicyName": Text(1, 128, r"[\w]+")}


@operation("GetKeyPolicy", "keys:read", _GET_KEY_POLICY)
async def get_key_policy(call: AwsCall, body: Body) -> dict[str, Any]:
    """The policy that all keys have."""
    await call.key(body["KeyId"], by_alias=False)
    if body.get("PolicyName", _POLICY) != _POLICY:
        raise AwsError("NotFoundException", "No such policy exists")
    policy = orjson.dumps(policy_of(call.arns.account), option=orjson.OPT_INDENT_2)
    return {"Policy": policy.decode(), "PolicyName": _POLICY}


@operation("GetKeyRotationStatus", "keys:read", BY_KEY_ID)
async def get_key_rotation_status(call: AwsCall, body: Body) -> dict[str, Any]:
    """That no key here is rotated by itself; Terraform asks of every one, as AWS answers."""
    key = await call.key(body["KeyId"], by_alias=False)
    return {"KeyRotationEnabled": False, "KeyId": key.key_id}


def _spec_name(body: Body) -> str:
    """The key spec that is asked for, by its newer or by its older name."""
    named = [body[name] for name in ("KeySpec", "CustomerMasterKeySpec") if name in body]
    if len(named) > 1:
        raise AwsError(
            "ValidationException",
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request.",
        )
    return named[0] if named else SYMMETRIC_DEFAULT


def _require_plain(call: AwsCall, body: Body) -> None:
    """Raise for a kind of key that is not here: none that looks right and is not."""
    if body.get("Origin", "AWS_KMS") != "AWS_KMS":
        raise AwsError(
            "UnsupportedOperationException", f"Origin {body['Origin']} is not supported here."
        )
    if body.get("MultiRegion"):
        raise AwsError("UnsupportedOperationException", "MultiRegion is not supported here.")
    if "Policy" in body:
        try:
            policy = orjson.loads(body["Policy"])
        except orjson.JSONDecodeError:
            raise AwsError(
                "MalformedPolicyDocumentException", "The policy is not valid JSON."
            ) from None
        if policy != policy_of(call.arns.account):
            raise AwsError(
                "UnsupportedOperationException",
                "Every key here has the default policy: the scopes of a token say what its "
                "holder may do.",
            )


_DAY: Final = 86_400 * 10**9
_WINDOW: Final = 30


@operation("EnableKey", "keys:write", BY_KEY_ID)
async def enable_key(call: AwsCall, body: Body) -> None:
    """Let a key be used; one that has expired stays as it is."""
    key = await call.key_to_change(body["KeyId"])
    if key.record.expires is not None and key.record.expires <= time.time_ns():
        raise AwsError("KMSInvalidStateException", f"{key.arn} has expired.")
    await call.service.update(call.profile, key.record.kid, {"state": "enabled"})


@operation("DisableKey", "keys:write", BY_KEY_ID)
async def disable_key(call: AwsCall, body: Body) -> None:
    """Let a key be used for nothing."""
    key = await call.key_to_change(body["KeyId"])
    await call.service.update(call.profile, key.record.kid, {"state": "disabled"})


_SCHEDULE_KEY_DELETION: Final[Shape] = {**BY_KEY_ID, "PendingWindowInDays": Integer(7, 30)}


@operation("ScheduleKeyDeletion", "keys:write", _SCHEDULE_KEY_DELETION)
async def schedule_key_deletion(call: AwsCall, body: Body) -> dict[str, Any]:
    """Have a key deleted after a while, in which it cannot be used."""
    key = await call.key(body["KeyId"], by_alias=False)
    days = body.get("PendingWindowInDays", _WINDOW)

    def check(record: KeyRecord) -> None:
        if record.deletes is not None:
            raise AwsError("KMSInvalidStateException", f"{key.arn} is pending deletion.")

    record = await call.service.schedule_deletion(
        call.profile, KeyRef(kid=key.record.kid), days * _DAY, check=check
    )
    return {
        "KeyId": key.arn,
        "DeletionDate": timestamp(record.deletes or 0),
        "KeyState": PENDING_DELETION,
        "PendingWindowInDays": days,
    }


@operation("CancelKeyDeletion", "keys:write", BY_KEY_ID)
async def cancel_key_deletion(call: AwsCall, body: Body) -> dict[str, Any]:
    """Keep a key that waits for its deletion, and leave it disabled."""
    key = await call.key(body["KeyId"], by_alias=False)

    def check(record: KeyRecord) -> None:
        if record.deletes is None:
            raise AwsError("KMSInvalidStateException", f"{key.arn} is not pending deletion.")

    await call.service.restore(call.profile, key.record.kid, state="disabled", check=check)
    return {"KeyId": key.arn}


OPERATIONS: Final = (
    create_key,
    describe_key,
    list_keys,
    update_key_description,
    get_key_policy,
    get_key_rotation_status,
    enable_key,
    disable_key,
    schedule_key_deletion,
    cancel_key_deletion,
)
