"""Operations that make keys and say what they are."""

from typing import Any, Final

import orjson

from minikms.doors.aws.body import Body, Shape, Unsupported, boolean, enum, text
from minikms.doors.aws.errors import (
    MalformedPolicyDocumentException,
    NotFoundException,
    UnsupportedOperationException,
    ValidationException,
)
from minikms.doors.aws.identity import new_uuid, uuid_alias
from minikms.doors.aws.keys import AwsCall, ByKeyId
from minikms.doors.aws.labels import new_labels, tag_list, with_description
from minikms.doors.aws.metadata import metadata, policy_of
from minikms.doors.aws.operation import operation
from minikms.doors.aws.paging import Page, behind, listed, position
from minikms.doors.aws.specs import (
    ENCRYPT_DECRYPT,
    KEY_SPECS,
    KEY_USAGES,
    SYMMETRIC_DEFAULT,
)
from minikms.doors.aws.specs import OPERATIONS as OPERATIONS_OF
from minikms.records import KeyPolicy

_ORIGINS: Final = ("AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE")
_POLICY: Final = "default"
_LIMIT: Final = 100


class CreateKeyRequest(Shape):
    """A key to make."""

    KeySpec = enum(KEY_SPECS)
    CustomerMasterKeySpec = enum(KEY_SPECS)
    KeyUsage = enum(KEY_USAGES)
    Description = text(0, 8192)
    Tags = tag_list()
    Policy = text(1, 131072)
    Origin = enum(_ORIGINS)
    MultiRegion = boolean()
    CustomKeyStoreId = Unsupported()
    XksKeyId = Unsupported()


@operation("CreateKey", "keys:write", CreateKeyRequest)
async def create_key(call: AwsCall, body: Body) -> dict[str, Any]:
    """A new key, with an id of its own, and no alias."""
    _require_plain(call, body)
    spec = call.specs.get(_spec_name(body))
    usage = body.get("KeyUsage")
    if usage is None:
        if spec.name != SYMMETRIC_DEFAULT:
            raise ValidationException(
                "You must specify a KeyUsage value for all KMS keys except for symmetric "
                "encryption keys."
            )
        usage = ENCRYPT_DECRYPT
    if usage not in spec.algorithms:
        raise ValidationException(f"KeyUsage {usage} is not compatible with KeySpec {spec.name}")
    policy = KeyPolicy(
        aliases=(uuid_alias(new_uuid()),),
        labels=new_labels(body.get("Description", ""), body.get("Tags", ())),
        operations=OPERATIONS_OF[usage],
    )
    record = await call.service.generate(call.profile, spec.alg, policy)
    return {"KeyMetadata": metadata(call.made(record), call.arns)}


@operation("DescribeKey", "keys:read", ByKeyId)
async def describe_key(call: AwsCall, body: Body) -> dict[str, Any]:
    """What is known of a key."""
    return {"KeyMetadata": metadata(await call.key(body["KeyId"]), call.arns)}


@operation("ListKeys", "keys:read", Page)
async def list_keys(call: AwsCall, body: Body) -> dict[str, Any]:
    """A page of keys; fewer than asked for where some are of a kind that AWS does not have."""
    records, more = await call.service.list_keys(
        call.profile, limit=body.get("Limit", _LIMIT), after=position(body).after
    )
    keys = [key for record in records if (key := call.named(record))]
    found = [{"KeyId": key.key_id, "KeyArn": key.arn} for key in keys]
    return listed("Keys", found, behind(records[-1].seq) if more else None)


class UpdateKeyDescriptionRequest(ByKeyId):
    """Another description."""

    Description = text(0, 8192, required=True)


@operation("UpdateKeyDescription", "keys:write", UpdateKeyDescriptionRequest)
async def update_key_description(call: AwsCall, body: Body) -> None:
    """Describe a key in other words."""
    key = await call.key_to_change(body["KeyId"])
    await call.service.relabel(
        call.profile, key.record.kid, lambda labels: with_description(labels, body["Description"])
    )


class GetKeyPolicyRequest(ByKeyId):
    """The policy of a key; each has one."""

    PolicyName = text(1, 128, r"[\w]+")


@operation("GetKeyPolicy", "keys:read", GetKeyPolicyRequest)
async def get_key_policy(call: AwsCall, body: Body) -> dict[str, Any]:
    """The policy that all keys have."""
    await call.key(body["KeyId"], by_alias=False)
    if body.get("PolicyName", _POLICY) != _POLICY:
        raise NotFoundException("No such policy exists")
    policy = orjson.dumps(policy_of(call.arns.account), option=orjson.OPT_INDENT_2)
    return {"Policy": policy.decode(), "PolicyName": _POLICY}


@operation("GetKeyRotationStatus", "keys:read", ByKeyId)
async def get_key_rotation_status(call: AwsCall, body: Body) -> dict[str, Any]:
    """That no key here is rotated by itself; Terraform asks of every one, as AWS answers."""
    key = await call.key(body["KeyId"], by_alias=False)
    return {"KeyRotationEnabled": False, "KeyId": key.key_id}


OPERATIONS: Final = (
    create_key,
    describe_key,
    list_keys,
    update_key_description,
    get_key_policy,
    get_key_rotation_status,
)


def _spec_name(body: Body) -> str:
    """The key spec that is asked for, by its newer or by its older name."""
    named = [body[name] for name in ("KeySpec", "CustomerMasterKeySpec") if name in body]
    if len(named) > 1:
        raise ValidationException(
            "You cannot specify KeySpec and CustomerMasterKeySpec in the same request."
        )
    return named[0] if named else SYMMETRIC_DEFAULT


def _require_plain(call: AwsCall, body: Body) -> None:
    """Raise for a kind of key that is not here: none that looks right and is not."""
    if body.get("Origin", "AWS_KMS") != "AWS_KMS":
        raise UnsupportedOperationException(f"Origin {body['Origin']} is not supported here.")
    if body.get("MultiRegion"):
        raise UnsupportedOperationException("MultiRegion is not supported here.")
    if "Policy" in body:
        try:
            policy = orjson.loads(body["Policy"])
        except orjson.JSONDecodeError:
            raise MalformedPolicyDocumentException("The policy is not valid JSON.") from None
        if policy != policy_of(call.arns.account):
            raise UnsupportedOperationException(
                "Every key here has the default policy: the scopes of a token say what its "
                "holder may do."
            )
