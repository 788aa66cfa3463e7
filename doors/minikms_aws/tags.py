"""Tags: TagResource, UntagResource and ListResourceTags; and tags and descriptions as labels.

The name of a label has no colon, and neither its name nor its value has a control character. So
these characters and `%` are percent-encoded: the tag `cost:center` is the label `cost%3Acenter`.
The description is the label `aws%3Adescription`, since no caller's tag begins with `aws:`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from minikms.doors import MAX_LABEL_VALUE, MAX_LABELS
from minikms_aws.body import BY_KEY_ID, KEY_ID, Body, Several, Shape, Structure, Text
from minikms_aws.errors import AwsError, invalid
from minikms_aws.listings import PAGE, Position, listed, position
from minikms_aws.operation import AwsCall, operation

MAX_TAGS: Final = 50
MAX_READ: Final = 200
"""The number of tags that are read from a request; errors name the lower limit of tags."""

_RESERVED: Final = "aws:"
_DESCRIPTION: Final = "aws%3Adescription"

_IN_NAME: Final = re.compile(r"[%:\x00-\x1f\x7f-\x9f]")
_IN_VALUE: Final = re.compile(r"[%\x00-\x1f\x7f-\x9f]")
_ENCODED: Final = re.compile(r"%([0-9A-F]{2})")

_LIMIT: Final = 50

_TAG: Final = Structure(
    {"TagKey": Text(1, 128, required=True), "TagValue": Text(0, 256, required=True)}
)
TAGS: Final = Several(_TAG, MAX_READ)
"""The tags of a new key."""
_TAG_RESOURCE: Final[Shape] = {**BY_KEY_ID, "Tags": Several(_TAG, MAX_READ, required=True)}
_UNTAG_RESOURCE: Final[Shape] = {
    **BY_KEY_ID,
    "TagKeys": Several(Text(1, 128), MAX_READ, required=True),
}
_LIST_RESOURCE_TAGS: Final[Shape] = {**PAGE, "KeyId": KEY_ID}


@operation("TagResource", "keys:write", _TAG_RESOURCE)
async def tag_resource(call: AwsCall, body: Body) -> None:
    """Add tags to a key; they replace tags with the same tag keys."""
    key = await call.key_to_change(body["KeyId"])
    await call.service.relabel(
        call.profile, key.record.kid, lambda labels: with_tags(labels, body["Tags"])
    )


@operation("UntagResource", "keys:write", _UNTAG_RESOURCE)
async def untag_resource(call: AwsCall, body: Body) -> None:
    """Remove tags from a key."""
    key = await call.key_to_change(body["KeyId"])
    await call.service.relabel(
        call.profile, key.record.kid, lambda labels: without_tags(labels, body["TagKeys"])
    )


@operation("ListResourceTags", "keys:read", _LIST_RESOURCE_TAGS)
async def list_resource_tags(call: AwsCall, body: Body) -> dict[str, Any]:
    """List a page of the tags of a key, sorted."""
    key = await call.key(body["KeyId"], by_alias=False)
    last, limit = position(body).name, body.get("Limit", _LIMIT)
    tags = [(name, value) for name, value in tags_of(key.record.labels).items() if name > last]
    found = [{"TagKey": name, "TagValue": value} for name, value in tags[:limit]]
    more = len(tags) > limit
    return listed("Tags", found, Position(name=tags[limit - 1][0]) if more else None)


def tags_of(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the tags among labels, sorted by their keys."""
    tags = {
        _decode(name, _IN_NAME): _decode(value, _IN_VALUE)
        for name, value in labels.items()
        if name != _DESCRIPTION
    }
    return dict(sorted(tags.items()))


def description_of(labels: Mapping[str, str]) -> str:
    """Return the description among labels, or an empty string."""
    return _decode(labels.get(_DESCRIPTION, ""), _IN_VALUE)


def new_labels(description: str, tags: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the labels of a new key; raises TagException and ValidationException."""
    return with_description(with_tags({}, tags), description)


def with_tags(labels: Mapping[str, str], tags: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return labels with these tags; they replace tags with the same tag keys.

    Raises TagException for a tag that is not allowed, and if the number of tags grows above
    `MAX_TAGS`.
    """
    named = [(tag["TagKey"], tag["TagValue"]) for tag in tags]
    added = dict(named)
    if len(added) != len(named):
        raise AwsError("TagException", "Duplicate tag keys")
    _require_free(added)
    there = {_decode(name, _IN_NAME): name for name in labels}
    changed = dict(labels)
    for key, value in added.items():
        changed[there.get(key) or _encode(key, _IN_NAME)] = _encode(value, _IN_VALUE)
    if len(changed) > max(len(labels), MAX_TAGS + (_DESCRIPTION in changed)):
        raise AwsError("TagException", "Too many tags")
    return changed


def without_tags(labels: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    """Return labels without the tags with these keys; raises TagException."""
    removed = set(keys)
    _require_free(removed)
    return {name: value for name, value in labels.items() if _decode(name, _IN_NAME) not in removed}


def with_description(labels: Mapping[str, str], description: str) -> dict[str, str]:
    """Return labels with another description.

    Raises ValidationException if it is too long, and LimitExceededException if the limit of labels
    is reached.
    """
    changed = {name: value for name, value in labels.items() if name != _DESCRIPTION}
    if description:
        value = _encode(description, _IN_VALUE)
        if len(value) > MAX_LABEL_VALUE:
            raise invalid(
                f"The description has more than {MAX_LABEL_VALUE:,} characters, where each control "
                "character and each % counts as three."
            )
        if len(changed) >= MAX_LABELS:
            raise AwsError("LimitExceededException", f"The key already has {MAX_LABELS} labels.")
        changed[_DESCRIPTION] = value
    return changed


def _require_free(keys: Iterable[str]) -> None:
    if any(key[: len(_RESERVED)].casefold() == _RESERVED for key in keys):
        raise AwsError("TagException", "Tags beginning with aws: are reserved")


def _encode(text: str, escaped: re.Pattern[str]) -> str:
    return escaped.sub(lambda found: f"%{ord(found[0]):02X}", text)


def _decode(text: str, escaped: re.Pattern[str]) -> str:
    """Undo `_encode`; leave other sequences that look percent-encoded."""

    def original(found: re.Match[str]) -> str:
        char = chr(int(found[1], 16))
        return char if escaped.match(char) else found[0]

    return _ENCODED.sub(original, text)
