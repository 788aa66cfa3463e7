"""Tags and descriptions, which are labels at the other door."""

import asyncio

import pytest


def tags(**values):
    return [{"TagKey": key, "TagValue": value} for key, value in values.items()]


@pytest.fixture
def create(aws):
    """Make a key, and give its id."""

    async def call(**members):
        return (await aws.create_key(**members))["KeyMetadata"]["KeyId"]

    return call


@pytest.fixture
def tags_of(aws):
    async def call(key_id):
        found = await aws.list_resource_tags(KeyId=key_id, Limit=100)
        assert found["Truncated"] is False
        return {tag["TagKey"]: tag["TagValue"] for tag in found["Tags"]}

    return call


@pytest.fixture
def record_of(aws):
    """The key as the REST API shows it."""

    async def call(key_id):
        async with aws.rest.get(f"/key?alias=aws:{key_id}") as response:
            return await response.json()

    return call


async def test_tags_come_and_go(aws, create, tags_of):
    key_id = await create(Tags=tags(a="1", b=""))
    assert await tags_of(key_id) == {"a": "1", "b": ""}
    answer = await aws.tag_resource(KeyId=key_id, Tags=tags(b="2", c="3"))
    assert answer.keys() == {"ResponseMetadata"}
    assert await tags_of(key_id) == {"a": "1", "b": "2", "c": "3"}
    await aws.untag_resource(KeyId=key_id, TagKeys=["a", "c", "unknown"])
    assert await tags_of(key_id) == {"b": "2"}
    await aws.untag_resource(KeyId=key_id, TagKeys=["b"])
    assert await tags_of(key_id) == {}


async def test_tags_and_description_are_labels(aws, create, tags_of, record_of):
    key_id = await create(
        Tags=tags(
            **{"cost:center": "a:b", "50%": "100%", "%3A": "%25", "é\n": "x\ty", "plain": ""}
        ),
        Description="Signs 50% of:\nall",
    )
    record = await record_of(key_id)
    assert record["labels"] == {
        "cost%3Acenter": "a:b",
        "50%25": "100%25",
        "%253A": "%2525",
        "é%0A": "x%09y",
        "plain": "",
        "aws%3Adescription": "Signs 50%25 of:%0Aall",
    }
    expected = {"cost:center": "a:b", "50%": "100%", "%3A": "%25", "é\n": "x\ty", "plain": ""}
    assert await tags_of(key_id) == expected
    # They find the key, and are taken back as they are.
    query = {"label": "cost%3Acenter:a:b"}
    async with aws.rest.get("/keys", params=query) as response:
        assert [each["kid"] for each in await response.json()] == [record["kid"]]
    path = f"/key/{record['kid']}"
    async with aws.rest.patch(path, json={"labels": record["labels"]}) as response:
        assert response.status == 200
    assert await tags_of(key_id) == expected
    await aws.untag_resource(KeyId=key_id, TagKeys=list(expected))
    assert (await record_of(key_id))["labels"] == {"aws%3Adescription": "Signs 50%25 of:%0Aall"}
    await aws.update_key_description(KeyId=key_id, Description="")
    assert (await record_of(key_id))["labels"] == {}


async def test_labels_of_the_other_door_are_tags(aws, tags_of):
    labels = {"purpose": "assertion", "50%": "100%", "a%3ab": "%zz", "aws%3Adescription": "x",
              "url%20": "https://x/a%20b%3Ac"}  # fmt: skip
    body = {"alg": "p256", "labels": labels}
    async with aws.rest.post("/key/generate", json=body) as response:
        kid = (await response.json())["kid"]
    assert await tags_of(kid) == {n: v for n, v in labels.items() if not n.startswith("aws")}
    assert (await aws.describe_key(KeyId=kid))["KeyMetadata"]["Description"] == "x"
    await aws.tag_resource(KeyId=kid, Tags=tags(**{"50%": "0"}))
    await aws.untag_resource(KeyId=kid, TagKeys=["a%3ab", "purpose", "url%20"])
    assert await tags_of(kid) == {"50%": "0"}
    async with aws.rest.get(f"/key/{kid}") as response:
        assert (await response.json())["labels"] == {"50%": "0", "aws%3Adescription": "x"}


LONG = {"k" * 128: "v" * 256}


async def test_the_most_and_longest_tags_are_kept(aws, create, tags_of, record_of):
    most = {f"{'x' * 125}{number:03}": "%" + "x" * 255 for number in range(50)}
    description = "d" * 8192
    key_id = await create(Tags=tags(**most), Description=description)
    assert await tags_of(key_id) == most
    record = await record_of(key_id)
    assert len(record["labels"]) == 51
    async with aws.rest.patch(
        f"/key/{record['kid']}", json={"labels": record["labels"]}
    ) as response:
        assert response.status == 200
    await aws.tag_resource(KeyId=key_id, Tags=tags(**{next(iter(most)): "other"}))
    assert (
        await aws.refused("TagException", "tag_resource", KeyId=key_id, Tags=tags(one="more"))
        == "Too many tags"
    )
    found = (await aws.describe_key(KeyId=key_id))["KeyMetadata"]
    assert found["Description"] == description


async def test_tags_and_descriptions_that_are_too_large(aws, create, tags_of):
    """All labels of a key have 32 KiB together, in UTF-8 and percent-encoded."""
    largest = {f"{'x' * 125}{number:03}": "🔑" * 256 for number in range(28)}
    key_id = await create(Tags=tags(**largest))
    code, large = "LimitExceededException", "d" * 2048
    await aws.refused(code, "update_key_description", KeyId=key_id, Description=large)
    await aws.refused(code, "tag_resource", KeyId=key_id, Tags=tags(**{"%" * 128: "%" * 256}))
    await aws.refused(code, "create_key", Tags=tags(**largest), Description=large)
    assert await tags_of(key_id) == largest
    assert len((await aws.list_keys())["Keys"]) == 1
    await aws.update_key_description(KeyId=key_id, Description="d" * 256)


async def test_a_key_that_has_more_from_the_other_door(aws, tags_of):
    labels = {str(number): "" for number in range(64)}
    async with aws.rest.post("/key/generate", json={"alg": "p256", "labels": labels}) as response:
        kid = (await response.json())["kid"]
    await aws.refused("TagException", "tag_resource", KeyId=kid, Tags=tags(one="more"))
    await aws.refused(
        "LimitExceededException", "update_key_description", KeyId=kid, Description="one more"
    )
    await aws.tag_resource(KeyId=kid, Tags=tags(**{"7": "changed"}))
    assert await tags_of(kid) == labels | {"7": "changed"}
    await aws.untag_resource(KeyId=kid, TagKeys=["8"])
    await aws.update_key_description(KeyId=kid, Description="one more")
    await aws.update_key_description(KeyId=kid, Description="another")
    assert (await aws.describe_key(KeyId=kid))["KeyMetadata"]["Description"] == "another"


@pytest.mark.parametrize(
    ("code", "given", "message"),
    [
        ("TagException", tags(a="1") * 2, "Duplicate tag keys"),
        ("TagException", tags(**{str(n): "" for n in range(51)}), "Too many tags"),
        ("TagException", tags(**{"aws:a": "x"}), "Tags beginning with aws: are reserved"),
        ("TagException", tags(**{"AWS:a": "x"}), "Tags beginning with aws: are reserved"),
        ("TagException", tags(**{"aws:description": ""}), "Tags beginning with aws: are reserved"),
        (
            "ValidationException",
            tags(**{"a" * 129: "x"}),
            f"1 validation error detected: Value '{'a' * 129}' at 'tags.1.member.tagKey' failed "
            "to satisfy constraint: Member must have length less than or equal to 128",
        ),
        (
            "ValidationException",
            tags(a="x", b="v" * 257),
            f"1 validation error detected: Value '{'v' * 257}' at 'tags.2.member.tagValue' failed "
            "to satisfy constraint: Member must have length less than or equal to 256",
        ),
        ("ValidationException", tags(**{"": "x"}), "length greater than or equal to 1"),
        ("ValidationException", [{"TagKey": "a"}], "tags.1.member.tagValue"),
        ("ValidationException", [{"TagValue": "a"}], "tags.1.member.tagKey"),
        ("ValidationException", tags(**{str(n): "" for n in range(201)}), "'tags'"),
        ("SerializationException", [{"TagKey": 1, "TagValue": "x"}], "tags.1.member.tagKey"),
    ],
)  # fmt: skip
async def test_tags_that_are_none(aws, create, tags_of, code, given, message):
    key_id = await create(Tags=tags(a="before"))
    assert message in await aws.refused(code, "tag_resource", KeyId=key_id, Tags=given)
    assert await tags_of(key_id) == {"a": "before"}
    assert message in await aws.refused(code, "create_key", Tags=given)
    assert len((await aws.list_keys())["Keys"]) == 1


async def test_reserved_and_malformed_tag_keys_cannot_be_removed(aws, create):
    key_id = await create(Description="stays")
    for code, keys in [
        ("TagException", ["aws:description"]),
        ("TagException", ["Aws:x"]),
        ("ValidationException", [""]),
        ("ValidationException", ["x" * 129]),
        ("ValidationException", ["x"] * 201),
        ("SerializationException", [1]),
    ]:
        await aws.refused(code, "untag_resource", KeyId=key_id, TagKeys=keys)
    await aws.refused("ValidationException", "untag_resource", KeyId=key_id)
    await aws.refused("ValidationException", "tag_resource", KeyId=key_id)
    found = (await aws.describe_key(KeyId=key_id))["KeyMetadata"]
    assert found["Description"] == "stays"


async def test_tags_are_listed_in_pages(aws, create):
    expected = {f"k{number:02}": str(number) for number in range(50)}
    key_id = await create(Tags=tags(**expected), Description="is none of them")
    for limit in (1, 7, 50, 1000):
        found, marker = {}, {}
        while marker is not None:
            page = await aws.list_resource_tags(KeyId=key_id, Limit=limit, **marker)
            assert 0 < len(page["Tags"]) <= limit
            found |= {tag["TagKey"]: tag["TagValue"] for tag in page["Tags"]}
            assert page["Truncated"] == ("NextMarker" in page)
            marker = {"Marker": page["NextMarker"]} if page["Truncated"] else None
        assert list(found.items()) == list(expected.items())
    long = await create(Tags=tags(**{"\U0001f511" * 127 + n: "" for n in "abc"}))
    pages = aws.boto.get_paginator("list_resource_tags").paginate(
        KeyId=long, PaginationConfig={"PageSize": 1}
    )
    assert len((await asyncio.to_thread(pages.build_full_result))["Tags"]) == 3


@pytest.mark.each_store
async def test_tags_that_come_at_once_are_all_there(start_aws, any_store):
    aws = await start_aws(**any_store)
    key_id = (await aws.create_key(Tags=tags(first="")))["KeyMetadata"]["KeyId"]
    names = [f"k{number}" for number in range(8)]
    calls = [aws.tag_resource(KeyId=key_id, Tags=tags(**{name: name})) for name in names]
    await asyncio.gather(*calls, aws.update_key_description(KeyId=key_id, Description="d"))
    found = (await aws.list_resource_tags(KeyId=key_id))["Tags"]
    assert {tag["TagKey"] for tag in found} == {"first", *names}
    assert (await aws.describe_key(KeyId=key_id))["KeyMetadata"]["Description"] == "d"
