"""Operations on the tags of a key."""

from typing import Any, Final

from minikms.doors.aws.body import Body, key_id, text, texts
from minikms.doors.aws.keys import AwsCall, ByKeyId
from minikms.doors.aws.labels import MAX_READ, tag_list, tags_of, with_tags, without_tags
from minikms.doors.aws.operation import operation
from minikms.doors.aws.paging import Page, Position, listed, position

_LIMIT: Final = 50


class TagResourceRequest(ByKeyId):
    """Tags for a key."""

    Tags = tag_list(required=True)


@operation("TagResource", "keys:write", TagResourceRequest)
async def tag_resource(call: AwsCall, body: Body) -> None:
    """Give a key tags, in place of those with the same keys."""
    key = await call.key_to_change(body["KeyId"])
    await call.service.relabel(
        call.profile, key.record.kid, lambda labels: with_tags(labels, body["Tags"])
    )


class UntagResourceRequest(ByKeyId):
    """Keys of tags."""

    TagKeys = texts(text(1, 128), MAX_READ, required=True)


@operation("UntagResource", "keys:write", UntagResourceRequest)
async def untag_resource(call: AwsCall, body: Body) -> None:
    """Take tags from a key, where it has them."""
    key = await call.key_to_change(body["KeyId"])
    await call.service.relabel(
        call.profile, key.record.kid, lambda labels: without_tags(labels, body["TagKeys"])
    )


class ListResourceTagsRequest(Page):
    """The tags of a key."""

    KeyId = key_id()


@operation("ListResourceTags", "keys:read", ListResourceTagsRequest)
async def list_resource_tags(call: AwsCall, body: Body) -> dict[str, Any]:
    """A page of the tags of a key, sorted."""
    key = await call.key(body["KeyId"], by_alias=False)
    last, limit = position(body).name, body.get("Limit", _LIMIT)
    tags = [(name, value) for name, value in tags_of(key.record.labels).items() if name > last]
    found = [{"TagKey": name, "TagValue": value} for name, value in tags[:limit]]
    more = len(tags) > limit
    return listed("Tags", found, Position(name=tags[limit - 1][0]) if more else None)


OPERATIONS: Final = (tag_resource, untag_resource, list_resource_tags)
