"""Aliases: CreateAlias, UpdateAlias, DeleteAlias and ListAliases."""

import re
from itertools import islice
from typing import Any, Final

from minikms.doors import errors
from minikms_aws.body import KEY_ID, OPTIONAL_KEY_ID, Body, Shape, Text
from minikms_aws.errors import AwsError, invalid
from minikms_aws.identity import ALIAS_PREFIX
from minikms_aws.listings import PAGE, Position, behind, listed, position
from minikms_aws.operation import AwsCall, AwsKey, operation
from minikms_aws.specs import SYMMETRIC_DEFAULT

_LONGEST: Final = 256
_RESERVED: Final = "alias/aws/"
_NAME: Final = re.compile(r"alias/[a-zA-Z0-9/_-]+")
_GUIDE: Final = "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
_LIMIT: Final = 50
_MOST: Final = 100
# The number of keys that are read for a page of aliases, with or without aliases.
_KEYS: Final = 100

_BY_ALIAS: Final[Shape] = {"AliasName": Text(1, _LONGEST, r"^[a-zA-Z0-9:/_-]+$", required=True)}
_ALIAS: Final[Shape] = {**_BY_ALIAS, "TargetKeyId": KEY_ID}
_LIST_ALIASES: Final[Shape] = {**PAGE, "KeyId": OPTIONAL_KEY_ID}


@operation("CreateAlias", "keys:write", _ALIAS)
async def create_alias(call: AwsCall, body: Body) -> None:
    """Give a key a new alias."""
    name = _checked(body)
    if name == ALIAS_PREFIX:  # only this operation of AWS has this error
        raise AwsError("InvalidAliasNameException", f"{name} has no name behind the prefix.")
    key = await _target(call, body)
    try:
        await call.service.associate(call.profile, key.record.kid, name, "create")
    except errors.AliasExists:
        raise AwsError(
            "AlreadyExistsException",
            f"An alias with the name {call.arns.alias(name)} already exists",
        ) from None


@operation("UpdateAlias", "keys:write", _ALIAS)
async def update_alias(call: AwsCall, body: Body) -> None:
    """Move an alias to another key of the same usage and type."""
    name = _checked(body)
    before = await call.key(name)
    key = await _target(call, body)  # looked up last, so that the audit log names this key
    if _kind(before) != _kind(key):
        raise invalid(f"The alias {name} names a key with another key usage, or of another type.")
    await call.service.associate(call.profile, key.record.kid, name, "update")


@operation("DeleteAlias", "keys:write", _BY_ALIAS)
async def delete_alias(call: AwsCall, body: Body) -> None:
    """Remove an alias."""
    name = _checked(body)
    await call.key(name)
    await call.service.dissociate(call.profile, None, name)


@operation("ListAliases", "keys:read", _LIST_ALIASES)
async def list_aliases(call: AwsCall, body: Body) -> dict[str, Any]:
    """List a page of aliases by the age of their keys; a page may be empty if keys lack aliases."""
    start, limit = position(body), min(body.get("Limit", _LIMIT), _MOST)
    goes_on = None
    if "KeyId" in body:
        keys = [await call.key(body["KeyId"], by_alias=False)]
    else:
        records, more = await call.service.list_keys(call.profile, limit=_KEYS, after=start.after)
        keys = [key for record in records if (key := call.named(record))]
        goes_on = behind(records[-1].seq) if more else None
    places = ((Position(key.record.seq, name), key) for key in keys for name in _aliases(key))
    found = list(islice((each for each in places if each[0] > start), limit + 1))
    if len(found) > limit:
        goes_on = found[limit - 1][0]
    aliases = [
        {
            "AliasName": place.name,
            "AliasArn": call.arns.alias(place.name),
            "TargetKeyId": key.key_id,
        }
        for place, key in found[:limit]
    ]
    return listed("Aliases", aliases, goes_on)


def _aliases(key: AwsKey) -> list[str]:
    """Return the aliases of a key that AWS allows, sorted."""
    return sorted(
        name for name in key.record.aliases if len(name) <= _LONGEST and _NAME.fullmatch(name)
    )


def _checked(body: Body) -> str:
    """Return the alias named in a body; raises if callers may not use the name."""
    name: str = body["AliasName"]
    if not name.startswith(ALIAS_PREFIX):
        raise invalid(f'Alias must start with the prefix "{ALIAS_PREFIX}". Please see {_GUIDE}')
    if ":" in name:
        raise invalid(f"{name} contains invalid characters for an alias")
    if name.startswith(_RESERVED):
        raise AwsError("NotAuthorizedException")
    return name


async def _target(call: AwsCall, body: Body) -> AwsKey:
    """Find the key that the alias will name."""
    target: str = body["TargetKeyId"]
    if ALIAS_PREFIX in target:
        raise invalid("Aliases must refer to keys. Not aliases")
    return await call.key_to_change(target)


def _kind(key: AwsKey) -> tuple[str, bool]:
    """Return what an alias keeps when it moves: the key usage, and whether the key is symmetric."""
    return key.usage, key.spec.name == SYMMETRIC_DEFAULT
