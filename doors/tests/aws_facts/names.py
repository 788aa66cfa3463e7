"""Answers of AWS about aliases and tags."""

from aws_facts.fact import Call, Fact, Has, Ref, Refused, invalid, key, with_key

PREFIX = (
    'Alias must start with the prefix "alias/". '
    "Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
)
RESERVED = Refused("TagException", "Tags beginning with aws: are reserved")


def tags(**values):
    return [{"TagKey": name, "TagValue": value} for name, value in values.items()]


def tagged(**values):
    """ListResourceTags: these."""
    return with_key("ListResourceTags", answer={"Tags": tags(**values), "Truncated": False})


ALIASES = (
    Fact(
        "test_create_alias",
        (
            key(),
            Call(
                "CreateAlias",
                {"AliasName": "1a2b3c4d", "TargetKeyId": Ref("key")},
                Refused("ValidationException", PREFIX),
            ),
        ),
    ),
    Fact(
        "test_create_list_delete_alias",
        (
            key(),
            Call("CreateAlias", {"AliasName": "alias/gone", "TargetKeyId": Ref("key")}, {}),
            Call("DeleteAlias", {"AliasName": "alias/gone"}, {}),
            with_key("ListAliases", answer={"Aliases": [], "Truncated": False}),
        ),
    ),
    Fact(
        "test_update_alias",
        (
            key("old"),
            key("new"),
            Call("CreateAlias", {"AliasName": "alias/moves", "TargetKeyId": Ref("old")}, {}),
            Call("UpdateAlias", {"AliasName": "alias/moves", "TargetKeyId": Ref("new")}, {}),
            with_key("ListAliases", "old", {"Aliases": [], "Truncated": False}),
            Call("DescribeKey", {"KeyId": "alias/moves"}, {"KeyMetadata": Has(KeyId=Ref("new"))}),
        ),
    ),
)

TAGS = (
    Fact(
        "test_tag_existing_key_and_untag",
        (
            key(),
            with_key("TagResource", answer={}, Tags=tags(tag1="value1", tag2="value2")),
            tagged(tag1="value1", tag2="value2"),
            with_key("UntagResource", answer={}, TagKeys=["tag1", "tag2"]),
            tagged(),
        ),
    ),
    Fact(
        "test_create_key_with_tag_and_untag",
        (
            key(Tags=tags(tag1="value1", tag2="value2")),
            tagged(tag1="value1", tag2="value2"),
            with_key("UntagResource", TagKeys=["tag1", "tag2"]),
            tagged(),
        ),
    ),
    Fact(
        "test_untag_key_partially",
        (
            key(Tags=tags(tag1="value1", tag2="value2", tag3="value3")),
            with_key("UntagResource", TagKeys=["tag2"]),
            tagged(tag1="value1", tag3="value3"),
        ),
    ),
    Fact(
        "test_update_and_add_tags_on_tagged_key",
        (
            key(Tags=tags(tag1="value1", tag2="value2", tag3="value3")),
            with_key("TagResource", Tags=tags(tag4="value4", tag2="updated_value2", tag5="value5")),
            tagged(
                tag1="value1", tag2="updated_value2", tag3="value3", tag4="value4", tag5="value5"
            ),
        ),
    ),
    Fact(
        "test_tag_key_with_duplicate_tag_keys_raises_error",
        (
            key(),
            with_key(
                "TagResource",
                Tags=tags(tag1="value1") + tags(tag1="another-value1"),
                answer=Refused("TagException", "Duplicate tag keys"),
            ),
        ),
    ),
    Fact(
        "test_create_key_with_too_many_tags_raises_error",
        (
            Call(
                "CreateKey",
                {"Tags": tags(**{f"key{number}": "value" for number in range(51)})},
                Refused("TagException", "Too many tags"),
            ),
        ),
    ),
    Fact(
        "test_tag_existing_key_with_invalid_tag_key",
        (key(), with_key("TagResource", Tags=tags(**{"aws:key1": "value1"}), answer=RESERVED)),
    ),
    *(
        Fact(
            "test_create_key_with_invalid_tag_key",
            (Call("CreateKey", {"Tags": tags(**{name: "value1"})}, answer),),
        )
        for name, answer in (
            ("aws:key1", RESERVED),
            ("AWS:key1", RESERVED),
            (
                "a" * 129,
                invalid("tags.1.member.tagKey", "a" * 129, "have length less than or equal to 128"),
            ),
        )
    ),
    Fact(
        "test_key_with_long_tag_value_raises_error",
        (
            Call(
                "CreateKey",
                {"Tags": tags(tag1="v" * 257)},
                invalid(
                    "tags.1.member.tagValue", "v" * 257, "have length less than or equal to 256"
                ),
            ),
        ),
    ),
)


FACTS = (*ALIASES, *TAGS)
