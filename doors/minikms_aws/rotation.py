"""Rotation of symmetric keys, which keep their id: scheduled, on demand, and listed."""

from typing import Any, Final

from minikms.doors import KeyRecord
from minikms_aws.body import BY_KEY_ID, KEY_ID, Body, Enum, Integer, Shape, timestamp
from minikms_aws.errors import AwsError
from minikms_aws.identity import uuid_alias
from minikms_aws.listings import PAGE, Position, listed, position
from minikms_aws.operation import AwsCall, AwsKey, material_id, operation
from minikms_aws.specs import SYMMETRIC_DEFAULT

_DAY: Final = 86_400
_DAYS: Final = 365
_LIMIT: Final = 100
_ALL: Final = "ALL_KEY_MATERIAL"

_ENABLE_KEY_ROTATION: Final[Shape] = {**BY_KEY_ID, "RotationPeriodInDays": Integer(90, 2560)}
_LIST_KEY_ROTATIONS: Final[Shape] = {
    **PAGE,
    "KeyId": KEY_ID,
    "IncludeKeyMaterial": Enum((_ALL, "ROTATIONS_ONLY")),
}


@operation("EnableKeyRotation", "keys:write", _ENABLE_KEY_ROTATION)
async def enable_key_rotation(call: AwsCall, body: Body) -> None:
    """Let the service rotate a key on a schedule, first after one period from now."""
    key = await _key_to_rotate(call, body)
    _require_lasting_id(key)
    days = body.get("RotationPeriodInDays", _DAYS)
    await call.service.update(call.profile, key.record.kid, {"rotate_every": days * _DAY})


@operation("DisableKeyRotation", "keys:write", BY_KEY_ID)
async def disable_key_rotation(call: AwsCall, body: Body) -> None:
    """Stop the scheduled rotation of a key."""
    key = await _key_to_rotate(call, body)
    await call.service.update(call.profile, key.record.kid, {"rotate_every": None})


@operation("GetKeyRotationStatus", "keys:read", BY_KEY_ID)
async def get_key_rotation_status(call: AwsCall, body: Body) -> dict[str, Any]:
    """Return the rotation schedule of a key; Terraform also requests it for asymmetric keys."""
    key = await call.key(body["KeyId"], by_alias=False)
    record = key.record
    if record.rotate_every is None or record.rotates is None or record.deletes is not None:
        return {"KeyRotationEnabled": False, "KeyId": key.key_id}
    return {
        "KeyRotationEnabled": True,
        "KeyId": key.key_id,
        # The main port also accepts periods of hours.
        "RotationPeriodInDays": -(-record.rotate_every // _DAY),
        "NextRotationDate": timestamp(record.rotates),
    }


@operation("RotateKeyOnDemand", "keys:write", BY_KEY_ID)
async def rotate_key_on_demand(call: AwsCall, body: Body) -> dict[str, Any]:
    """Rotate a key now; its schedule is unchanged."""
    key = await _key_to_rotate(call, body)
    _require_lasting_id(key)
    await call.service.rotate(call.profile, key.record.kid, keep_schedule=True)
    return {"KeyId": key.key_id}


@operation("ListKeyRotations", "keys:read", _LIST_KEY_ROTATIONS)
async def list_key_rotations(call: AwsCall, body: Body) -> dict[str, Any]:
    """List a page of the last rotations of a key, the oldest first."""
    key = await call.key(body["KeyId"], by_alias=False)
    _require_symmetric(key)
    earlier = await call.earlier(key, uuid_alias(key.key_id))
    records = await call.service.records(call.profile, earlier[::-1])
    start, limit = position(body).seq, body.get("Limit", _LIMIT)
    found = [
        record
        for number, record in enumerate([*records, key.record])
        # The first key was not made by a rotation.
        if record is not None
        and record.seq > start
        and (number > 0 or body.get("IncludeKeyMaterial") == _ALL)
    ]
    first = earlier[-1] if earlier else key.record.kid
    rotations = [_rotation(key, record, record.kid == first) for record in found[:limit]]
    more = len(found) > limit
    return listed("Rotations", rotations, Position(found[limit - 1].seq) if more else None)


def _rotation(key: AwsKey, record: KeyRecord, is_first: bool) -> dict[str, Any]:
    """Describe the key that a rotation made, or the first one."""
    made: dict[str, Any] = {
        "KeyId": key.key_id,
        "KeyMaterialId": material_id(record),
        "KeyMaterialState": "CURRENT" if record.kid == key.record.kid else "NON_CURRENT",
    }
    if not is_first:
        made["RotationDate"] = timestamp(record.created)
        made["RotationType"] = "AUTOMATIC" if record.scheduled else "ON_DEMAND"
    return made


async def _key_to_rotate(call: AwsCall, body: Body) -> AwsKey:
    """Find a symmetric key that is enabled; raises AwsError."""
    key = await call.key_to_change(body["KeyId"])
    key.require_usable("encrypt")  # checked first, as in AWS
    _require_symmetric(key)
    return key


def _require_symmetric(key: AwsKey) -> None:
    """Raise UnsupportedOperationException for a key that AWS does not rotate."""
    if key.spec.name != SYMMETRIC_DEFAULT:
        raise AwsError(
            "UnsupportedOperationException", f"{key.arn} is not a symmetric encryption key."
        )


def _require_lasting_id(key: AwsKey) -> None:
    """Raise UnsupportedOperationException for a key whose id would still name the old key."""
    if uuid_alias(key.key_id) not in key.record.aliases:
        raise AwsError(
            "UnsupportedOperationException",
            f"{key.arn} was made at another port, and a rotation would change its id: rotate it "
            "there.",
        )
