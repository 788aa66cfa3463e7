"""Operations that make, describe, list, enable, disable and delete keys."""

import time
import uuid
from contextlib import suppress
from typing import Any, Final

from minikms.doors import KeyPolicy, KeyRecord, KeyRef, errors
from minikms_aws.body import (
    BY_KEY_ID,
    Body,
    Boolean,
    Enum,
    Integer,
    Shape,
    Text,
    Unsupported,
    timestamp,
)
from minikms_aws.errors import AwsError, invalid, unsupported
from minikms_aws.identity import Arns, uuid_alias
from minikms_aws.listings import PAGE, behind, listed, position
from minikms_aws.operation import AwsCall, AwsKey, operation
from minikms_aws.policies import POLICY, require_default_policy
from minikms_aws.specs import (
    ENCRYPT_DECRYPT,
    KEY_SPECS,
    KEY_USAGES,
    OPERATIONS_OF,
    SYMMETRIC_DEFAULT,
)
from minikms_aws.tags import TAGS, description_of, new_labels, with_description

_PENDING_DELETION: Final = "PendingDeletion"
_ORIGINS: Final = ("AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")
_LIMIT: Final = 100
_DAY: Final = 86_400 * 10**9
_WINDOW: Final = 30

_CREATE_KEY: Final[Shape] = {
    "KeySpec": Enum(KEY_SPECS),
    "CustomerMasterKeySpec": Enum(KEY_SPECS),
    "KeyUsage": Enum(KEY_USAGES),
    "Description": Text(0, 8192),
    "Tags": TAGS,
    "Policy": POLICY,
    "Origin": Enum(_ORIGINS),
    "MultiRegion": Boolean(),
    "CustomKeyStoreId": Unsupported(),
    "XksKeyId": Unsupported(),
}
_UPDATE_KEY_DESCRIPTION: Final[Shape] = {**BY_KEY_ID, "Description": Text(0, 8192, required=True)}
_SCHEDULE_KEY_DELETION: Final[Shape] = {**BY_KEY_ID, "PendingWindowInDays": Integer(7, 30)}


@operation("CreateKey", "keys:write", _CREATE_KEY)
async def create_key(call: AwsCall, body: Body) -> dict[str, Any]:
    """Make a key with a new id and no alias."""
    _require_plain(call, body)
    spec = call.specs.get(_spec_name(body))
    usage = body.get("KeyUsage")
    if usage is None:
        if spec.name != SYMMETRIC_DEFAULT:
            raise invalid(
                "You must specify a KeyUsage value for all KMS keys except for symmetric "
                "encryption keys."
            )
        usage = ENCRYPT_DECRYPT
    if usage not in spec.algorithms:
        raise invalid(f"KeyUsage {usage} is not compatible with KeySpec {spec.name}")
    key_id = str(uuid.uuid4())
    policy = KeyPolicy(
        aliases=(uuid_alias(key_id),),
        labels=new_labels(body.get("Description", ""), body.get("Tags", ())),
        operations=OPERATIONS_OF[usage],
    )
    record = await call.service.generate(call.profile, spec.alg, policy)
    made = AwsKey(record, KeyRef(kid=record.kid), spec, usage, key_id, call.arns.key(key_id))
    return {"KeyMetadata": _metadata(made, call.arns)}


@operation("DescribeKey", "keys:read", BY_KEY_ID)
async def describe_key(call: AwsCall, body: Body) -> dict[str, Any]:
    """Describe a key."""
    return {"KeyMetadata": _metadata(await call.key(body["KeyId"]), call.arns)}


@operation("GetKeyLastUsage", "keys:read", BY_KEY_ID)
async def get_key_last_usage(call: AwsCall, body: Body) -> dict[str, Any]:
    """Return the time of the last use of a key, or of a predecessor that a rotation replaced."""
    key = await call.key(body["KeyId"], by_alias=False)
    earlier = await call.earlier(key, uuid_alias(key.key_id))
    used, since = 0, key.record.created
    for kid in (key.record.kid, *earlier):
        with suppress(errors.KeyNotFound):
            record = await call.service.describe(call.profile, KeyRef(kid=kid))
            used = max(used, record.last_used or 0)
            since = record.noted_since
    return {
        "KeyId": key.key_id,
        "KeyLastUsage": {"Timestamp": timestamp(used)} if used else {},
        "TrackingStartDate": timestamp(since),
        "KeyCreationDate": timestamp(key.record.created),
    }


@operation("ListKeys", "keys:read", PAGE)
async def list_keys(call: AwsCall, body: Body) -> dict[str, Any]:
    """List a page of keys; it is shorter if AWS lacks the kind of some keys."""
    records, more = await call.service.list_keys(
        call.profile, limit=body.get("Limit", _LIMIT), after=position(body).after
    )
    keys = [key for record in records if (key := call.named(record))]
    found = [{"KeyId": key.key_id, "KeyArn": key.arn} for key in keys]
    return listed("Keys", found, behind(records[-1].seq) if more else None)


@operation("UpdateKeyDescription", "keys:write", _UPDATE_KEY_DESCRIPTION)
async def update_key_description(call: AwsCall, body: Body) -> None:
    """Set the description of a key."""
    key = await call.key_to_change(body["KeyId"])
    await call.service.relabel(
        call.profile, key.record.kid, lambda labels: with_description(labels, body["Description"])
    )


@operation("EnableKey", "keys:write", BY_KEY_ID)
async def enable_key(call: AwsCall, body: Body) -> None:
    """Enable a key; raises KMSInvalidStateException if it has expired."""
    key = await call.key_to_change(body["KeyId"])
    if key.record.expires is not None and key.record.expires <= time.time_ns():
        raise AwsError("KMSInvalidStateException", f"{key.arn} has expired.")
    await call.service.update(call.profile, key.record.kid, {"state": "enabled"})


@operation("DisableKey", "keys:write", BY_KEY_ID)
async def disable_key(call: AwsCall, body: Body) -> None:
    """Disable a key."""
    key = await call.key_to_change(body["KeyId"])
    await call.service.update(call.profile, key.record.kid, {"state": "disabled"})


@operation("ScheduleKeyDeletion", "keys:delete", _SCHEDULE_KEY_DELETION)
async def schedule_key_deletion(call: AwsCall, body: Body) -> dict[str, Any]:
    """Schedule the deletion of a key; the key cannot be used from now on."""
    key = await call.key(body["KeyId"], by_alias=False)
    days = body.get("PendingWindowInDays", _WINDOW)

    def check(record: KeyRecord) -> None:
        if record.is_scheduled:
            raise AwsError("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        key.require_begun()  # otherwise it would be deleted at once

    now = time.time_ns()
    record = await call.service.schedule_deletion(
        call.profile,
        KeyRef(kid=key.record.kid),
        days * _DAY,
        check=check,
        may_delete=call.door.may_delete,
    )
    deletes = record.deletes or 0
    return {
        "KeyId": key.arn,
        "DeletionDate": timestamp(deletes),
        "KeyState": _PENDING_DELETION,
        "PendingWindowInDays": max(days, (deletes - now) // _DAY),  # the profile may require more
    }


@operation("CancelKeyDeletion", "keys:write", BY_KEY_ID)
async def cancel_key_deletion(call: AwsCall, body: Body) -> dict[str, Any]:
    """Cancel the scheduled deletion of a key, and leave it disabled."""
    key = await call.key(body["KeyId"], by_alias=False)

    def check(record: KeyRecord) -> None:
        if not record.is_scheduled:
            raise AwsError("KMSInvalidStateException", f"{key.arn} is not pending deletion.")

    await call.service.restore(call.profile, key.record.kid, state="disabled", check=check)
    return {"KeyId": key.arn}


def _metadata(key: AwsKey, arns: Arns) -> dict[str, Any]:
    """Return the KeyMetadata of a key.

    A `verify-only` key is shown as Disabled: it verifies and decrypts, but does not sign or
    encrypt.
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
    if record.deletes is not None and record.is_scheduled:
        found |= {"KeyState": _PENDING_DELETION, "DeletionDate": timestamp(record.deletes)}
    if key.spec.name == SYMMETRIC_DEFAULT:
        found["CurrentKeyMaterialId"] = key.material_id
    return found


def _spec_name(body: Body) -> str:
    """Return the key spec in a body, from the member's newer or older name."""
    named = [body[name] for name in ("KeySpec", "CustomerMasterKeySpec") if name in body]
    if len(named) > 1:
        raise invalid("You cannot specify KeySpec and CustomerMasterKeySpec in the same request.")
    return named[0] if named else SYMMETRIC_DEFAULT


def _require_plain(call: AwsCall, body: Body) -> None:
    """Raise UnsupportedOperationException for members that request another kind of key."""
    if body.get("Origin", "AWS_KMS") != "AWS_KMS":
        raise unsupported(f"Origin {body['Origin']}")
    if body.get("MultiRegion"):
        raise unsupported("MultiRegion")
    if "Policy" in body:
        require_default_policy(call, body["Policy"])
