"""Policies and grants: every key has the default policy, and no key has a grant."""

from typing import Any, Final

import orjson

from minikms_aws.body import BY_KEY_ID, KEY_ID, Body, Boolean, Shape, Text
from minikms_aws.errors import AwsError
from minikms_aws.listings import PAGE, listed, position
from minikms_aws.operation import AwsCall, operation

POLICY: Final = Text(1, 131072)
_REQUIRED: Final = Text(1, 131072, "[\u0009\u000a\u000d\u0020-\u00ff]+", required=True)
_NAME: Final = Text(1, 128, r"[\w]+")
_DEFAULT: Final = "default"

_GET_KEY_POLICY: Final[Shape] = {**BY_KEY_ID, "PolicyName": _NAME}
_PUT_KEY_POLICY: Final[Shape] = {
    **BY_KEY_ID,
    "PolicyName": _NAME,
    "Policy": _REQUIRED,
    "BypassPolicyLockoutSafetyCheck": Boolean(),
}
_LIST_KEY_POLICIES: Final[Shape] = {**PAGE, "KeyId": KEY_ID}
_LIST_GRANTS: Final[Shape] = {
    **PAGE,
    "KeyId": KEY_ID,
    "GrantId": Text(1, 128),
    "GranteePrincipal": Text(1, 256, r"^[\w+=,.@:/-]+$"),
    "GranteeServicePrincipal": Text(
        1, 128, r"^([A-Za-z0-9\-]+)\.([A-Za-z0-9\-]+)(\.[A-Za-z0-9\-]+)+$"
    ),
}


@operation("GetKeyPolicy", "keys:read", _GET_KEY_POLICY)
async def get_key_policy(call: AwsCall, body: Body) -> dict[str, Any]:
    """Return the policy, which is the same for all keys."""
    await call.key(body["KeyId"], by_alias=False)
    _require_default(body)
    policy = orjson.dumps(_policy_of(call.arns.account), option=orjson.OPT_INDENT_2)
    return {"Policy": policy.decode(), "PolicyName": _DEFAULT}


@operation("PutKeyPolicy", "keys:write", _PUT_KEY_POLICY)
async def put_key_policy(call: AwsCall, body: Body) -> None:
    """Accept the policy that every key has, and refuse any other."""
    await call.key_to_change(body["KeyId"])
    _require_default(body)
    require_default_policy(call, body["Policy"])


@operation("ListKeyPolicies", "keys:read", _LIST_KEY_POLICIES)
async def list_key_policies(call: AwsCall, body: Body) -> dict[str, Any]:
    """List the one policy of a key; AWS has no error for a wrong marker here."""
    await call.key(body["KeyId"], by_alias=False)
    return listed("PolicyNames", [_DEFAULT], None)


@operation("ListGrants", "keys:read", _LIST_GRANTS)
async def list_grants(call: AwsCall, body: Body) -> dict[str, Any]:
    """List the grants of a key, which has none."""
    await call.key(body["KeyId"], by_alias=False)
    position(body)
    return listed("Grants", [], None)


def require_default_policy(call: AwsCall, text: str) -> None:
    """Raise for a policy other than the default one.

    MalformedPolicyDocumentException if it is not JSON, else UnsupportedOperationException.
    """
    try:
        policy = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise AwsError(
            "MalformedPolicyDocumentException", "The policy is not valid JSON."
        ) from None
    if policy != _policy_of(call.arns.account):
        raise AwsError(
            "UnsupportedOperationException",
            "Every key here has the default policy; the scopes of a token decide which calls "
            "its holder may make.",
        )


def _require_default(body: Body) -> None:
    """Raise NotFoundException for a policy of another name."""
    if body.get("PolicyName", _DEFAULT) != _DEFAULT:
        raise AwsError("NotFoundException", "No such policy exists")


def _policy_of(account: str) -> dict[str, Any]:
    """Return the policy of every key: it allows all uses by the account, a profile here."""
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
