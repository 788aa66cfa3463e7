"""Operations on the aliases of keys."""

import re
from itertools import islice
from typing import Any, Final

from minikms.doors import errors
from minikms.doors.aws.body import (
    KEY_ID,
    OPTIONAL_KEY_ID,
    PAGE,
    Body,
    Position,
    Shape,
    Text,
    behind,
    listed,
    position,
)
from minikms.doors.aws.errors import (
    AwsError,
)
from minikms.doors.aws.identity import ALIAS_PREFIX
from minikms.doors.aws.operation import AwsCall, AwsKey, operation
from minikms.doors.aws.specs import SYMMETRIC_DEFAULT

_LONGEST: Final = 256
_RESERVED: Final = "alias/aws/"
_NAME: Final = re.compile(r"alias/[a-zA-Z0-9/_-]+")
_GUIDE: Final = "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
_LIMIT: Final = 50
_MOST: Final = 100
# How many keys are read for a page of aliases, whether they have any or not.
_KEYS: Final = 100


_BY_ALIAS: Final[Shape] = {"AliasName": Text(1, _LONGEST, r"^[a-zA-Z0-9:/_-]+$", required=True)}


_ALIAS: Final[Shape] = {**_BY_ALIAS, "TargetKeyId": KEY_ID}


@operation("CreateAlias", "keys:write", _ALIAS)
async def create_alias(call: AwsCall, body: Body) -> None:
    """Give a key an alias that there is not."""
    name = _checked(body)
    if name == ALIAS_PREFIX:  # an error that AWS has for no other operation
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
    """Let an alias name another key, of the same usage, and symmetric where that was."""
    name = _checked(body)
    before = await call.key(name)
    key = await _target(call, body)  # the one that the audit log names
    if _kind(before) != _kind(key):
        raise AwsError(
            "ValidationException",
            f"The alias {name} names a key with another key usage, or of another type.",
        )
    await call.service.associate(call.profile, key.record.kid, name, "update")


@operation("DeleteAlias", "keys:write", _BY_ALIAS)
async def delete_alias(call: AwsCall, body: Body) -> None:
    """Take an alias from its key."""
    name = _checked(body)
    await call.key(name)
    await call.service.dissociate(call.profile, None, name)


_LIST_ALIASES: Final[Shape] = {**PAGE, "KeyId": OPTIONAL_KEY_ID}


@operation("ListAliases", "keys:read", _LIST_ALIASES)
async def list_aliases(call: AwsCall, body: Body) -> dict[str, Any]:
    """A page of aliases by the age of their keys, maybe without any where many keys have none."""
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


OPERATIONS: Final = (create_alias, update_alias, delete_alias, list_aliases)


def _aliases(key: AwsKey) -> list[str]:
    """The aliases of a key that AWS could have, too, sorted."""
    return sorted(
        name for name in key.record.aliases if len(name) <= _LONGEST and _NAME.fullmatch(name)
    )


def _checked(body: Body) -> str:
    """The name of an alias; raises for one that a caller may not have."""
    name: str = body["AliasName"]
    if not name.startswith(ALIAS_PREFIX):
        raise AwsError(
            "ValidationException",
            f'Alias must start with the prefix "{ALIAS_PREFIX}". Please see {_GUIDE}',
        )
    if ":" in name:
        raise AwsError("ValidationException", f"{name} contains invalid characters for an alias")
    if name.startswith(_RESERVED):
        raise AwsError("NotAuthorizedException")
    return name


async def _target(call: AwsCall, body: Body) -> AwsKey:
    """The key that an alias is to name."""
    target: str = body["TargetKeyId"]
    if ALIAS_PREFIX in target:
        raise AwsError("ValidationException", "Aliases must refer to keys. Not aliases")
    return await call.key_to_change(target)


def _kind(key: AwsKey) -> tuple[str, bool]:
    """What two keys that one alias names, one after the other, have in common."""
    return key.usage, key.spec.name == SYMMETRIC_DEFAULT
