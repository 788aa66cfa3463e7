"""Operations that change the state of a key."""

import time
from typing import Any, Final

from minikms.doors.aws.body import Body, integer, timestamp
from minikms.doors.aws.errors import KMSInvalidStateException
from minikms.doors.aws.keys import AwsCall, ByKeyId
from minikms.doors.aws.metadata import PENDING_DELETION
from minikms.doors.aws.operation import operation
from minikms.records import KeyRecord, KeyRef

_DAY: Final = 86_400 * 10**9
_WINDOW: Final = 30


@operation("EnableKey", "keys:write", ByKeyId)
async def enable_key(call: AwsCall, body: Body) -> None:
    """Let a key be used; one that has expired stays as it is."""
    key = await call.key_to_change(body["KeyId"])
    if key.record.expires is not None and key.record.expires <= time.time_ns():
        raise KMSInvalidStateException(f"{key.arn} has expired.")
    await call.service.update(call.profile, key.record.kid, {"state": "enabled"})


@operation("DisableKey", "keys:write", ByKeyId)
async def disable_key(call: AwsCall, body: Body) -> None:
    """Let a key be used for nothing."""
    key = await call.key_to_change(body["KeyId"])
    await call.service.update(call.profile, key.record.kid, {"state": "disabled"})


class ScheduleKeyDeletionRequest(ByKeyId):
    """A key to delete, and in how many days."""

    PendingWindowInDays = integer(7, 30)


@operation("ScheduleKeyDeletion", "keys:write", ScheduleKeyDeletionRequest)
async def schedule_key_deletion(call: AwsCall, body: Body) -> dict[str, Any]:
    """Have a key deleted after a while, in which it cannot be used."""
    key = await call.key(body["KeyId"], by_alias=False)
    days = body.get("PendingWindowInDays", _WINDOW)

    def permit(record: KeyRecord) -> None:
        if record.deletes is not None:
            raise KMSInvalidStateException(f"{key.arn} is pending deletion.")

    record = await call.service.schedule_deletion(
        call.profile, KeyRef(kid=key.record.kid), days * _DAY, permit=permit
    )
    return {
        "KeyId": key.arn,
        "DeletionDate": timestamp(record.deletes or 0),
        "KeyState": PENDING_DELETION,
        "PendingWindowInDays": days,
    }


@operation("CancelKeyDeletion", "keys:write", ByKeyId)
async def cancel_key_deletion(call: AwsCall, body: Body) -> dict[str, Any]:
    """Keep a key that waits for its deletion, and leave it disabled."""
    key = await call.key(body["KeyId"], by_alias=False)

    def permit(record: KeyRecord) -> None:
        if record.deletes is None:
            raise KMSInvalidStateException(f"{key.arn} is not pending deletion.")

    await call.service.restore(call.profile, key.record.kid, state="disabled", permit=permit)
    return {"KeyId": key.arn}


OPERATIONS: Final = (enable_key, disable_key, schedule_key_deletion, cancel_key_deletion)
