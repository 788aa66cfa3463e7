"""Aliases: made, moved, removed and listed."""

import asyncio

import pytest
from botocore.exceptions import ClientError

ARN = "arn:aws:kms:us-east-1:000000000000:"


@pytest.fixture
def create(aws):
    """Make a key, and give its id."""

    async def call(spec="SYMMETRIC_DEFAULT", usage="ENCRYPT_DECRYPT"):
        made = await aws.create_key(KeySpec=spec, KeyUsage=usage)
        return made["KeyMetadata"]["KeyId"]

    return call


@pytest.fixture
def named(aws):
    """The id of the key that an alias names."""

    async def call(alias):
        return (await aws.describe_key(KeyId=alias))["KeyMetadata"]["KeyId"]

    return call


def entry(name, key_id):
    return {"AliasName": name, "AliasArn": ARN + name, "TargetKeyId": key_id}


async def test_the_life_of_an_alias(aws, create, named):
    one, other = await create(), await create()
    answer = await aws.create_alias(AliasName="alias/a/b_c-D1", TargetKeyId=one)
    assert answer.keys() == {"ResponseMetadata"}
    assert await named("alias/a/b_c-D1") == await named(f"{ARN}alias/a/b_c-D1") == one
    assert (await aws.list_aliases())["Aliases"] == [entry("alias/a/b_c-D1", one)]
    for target in (other, f"{ARN}key/{other}"):  # also if it names this key already
        await aws.update_alias(AliasName="alias/a/b_c-D1", TargetKeyId=target)
        assert await named("alias/a/b_c-D1") == other
    await aws.delete_alias(AliasName="alias/a/b_c-D1")
    message = await aws.refused("NotFoundException", "describe_key", KeyId="alias/a/b_c-D1")
    assert message == f"Alias {ARN}alias/a/b_c-D1 is not found."
    assert (await aws.list_aliases())["Aliases"] == []
    await aws.create_alias(AliasName="alias/a/b_c-D1", TargetKeyId=one)


async def test_an_alias_that_is_there_is_not_made(aws, create, named):
    one, other = await create(), await create()
    await aws.create_alias(AliasName="alias/a", TargetKeyId=one)
    for target in (one, other):
        message = await aws.refused(
            "AlreadyExistsException", "create_alias", AliasName="alias/a", TargetKeyId=target
        )
        assert message == f"An alias with the name {ARN}alias/a already exists"
    assert await named("alias/a") == one


async def test_an_alias_that_is_not_there(aws, create):
    key_id = await create()
    await aws.refused("NotFoundException", "update_alias", AliasName="alias/a", TargetKeyId=key_id)
    message = await aws.refused("NotFoundException", "delete_alias", AliasName="alias/a")
    assert message == f"Alias {ARN}alias/a is not found."
    assert (await aws.list_aliases())["Aliases"] == []


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        (
            "a",
            "ValidationException",
            'Alias must start with the prefix "alias/". Please see '
            "https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html",
        ),
        ("alias/a:b", "ValidationException", "alias/a:b contains invalid characters for an alias"),
        ("alias/aws/s3", "NotAuthorizedException", ""),
        (
            "alias/a b",
            "ValidationException",
            "1 validation error detected: Value 'alias/a b' at 'aliasName' failed to satisfy "
            "constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$",
        ),
        ("alias/a\n", "ValidationException", "regular expression"),
        ("alias/é", "ValidationException", "regular expression"),
        ("alias/" + "x" * 251, "ValidationException", "length less than or equal to 256"),
        ("", "ValidationException", "length greater than or equal to 1"),
    ],
)
async def test_names_that_no_alias_has(aws, create, name, code, message):
    key_id = await create()
    for operation, target in [
        ("create_alias", {"TargetKeyId": key_id}),
        ("update_alias", {"TargetKeyId": key_id}),
        ("delete_alias", {}),
    ]:
        assert message in await aws.refused(code, operation, AliasName=name, **target)


async def test_an_alias_of_the_prefix_alone_is_refused(aws, create):
    key_id = await create()
    call = {"AliasName": "alias/", "TargetKeyId": key_id}
    await aws.refused("InvalidAliasNameException", "create_alias", **call)
    await aws.refused("NotFoundException", "update_alias", **call)
    await aws.refused("NotFoundException", "delete_alias", AliasName="alias/")


async def test_an_alias_cannot_name_an_alias(aws, create):
    key_id = await create()
    await aws.create_alias(AliasName="alias/a", TargetKeyId=key_id)
    for operation, name in (("create_alias", "alias/b"), ("update_alias", "alias/a")):
        for target in ("alias/a", f"{ARN}alias/a"):
            message = await aws.refused(
                "ValidationException", operation, AliasName=name, TargetKeyId=target
            )
            assert message == "Aliases must refer to keys. Not aliases"
        unknown = "12345678-1234-1234-1234-123456789012"
        await aws.refused("NotFoundException", operation, AliasName=name, TargetKeyId=unknown)
        await aws.refused("ValidationException", operation, AliasName=name)


async def test_an_alias_stays_with_its_kind_of_key(aws, create, named):
    await aws.create_alias(AliasName="alias/a", TargetKeyId=(one := await create()))
    for spec, usage in [
        ("RSA_2048", "ENCRYPT_DECRYPT"),
        ("ECC_NIST_P256", "SIGN_VERIFY"),
        ("HMAC_256", "GENERATE_VERIFY_MAC"),
    ]:
        await aws.refused(
            "ValidationException",
            "update_alias",
            AliasName="alias/a",
            TargetKeyId=await create(spec, usage),
        )
    assert await named("alias/a") == one
    await aws.create_alias(
        AliasName="alias/s", TargetKeyId=await create("ECC_NIST_P256", "SIGN_VERIFY")
    )
    other = await create("ECC_NIST_EDWARDS25519", "SIGN_VERIFY")
    await aws.update_alias(AliasName="alias/s", TargetKeyId=other)
    assert await named("alias/s") == other


async def all_aliases(aws, **members):
    """All aliases, and on how many pages; each has as many as asked for at most."""
    found, pages, marker = [], 0, {}
    while marker is not None:
        page = await aws.list_aliases(**members, **marker)
        assert len(page["Aliases"]) <= members.get("Limit", 50)
        assert page["Truncated"] == ("NextMarker" in page)
        found += page["Aliases"]
        pages += 1
        marker = {"Marker": page["NextMarker"]} if page["Truncated"] else None
    return found, pages


async def test_aliases_are_listed_in_pages(aws, create):
    keys = [await create() for _ in range(3)]
    names = {keys[0]: ["alias/c", "alias/a", "alias/b"], keys[1]: [], keys[2]: ["alias/A"]}
    for key_id, aliases in names.items():
        for name in aliases:
            await aws.create_alias(AliasName=name, TargetKeyId=key_id)
    expected = [entry(name, key_id) for key_id in keys for name in sorted(names[key_id])]
    for limit, pages in ((1, 4), (2, 2), (3, 2), (4, 1), (1000, 1)):
        assert await all_aliases(aws, Limit=limit) == (expected, pages)
    for key_id in keys:
        of_key = [entry(name, key_id) for name in sorted(names[key_id])]
        for limit in (1, 2, 50):
            found, _ = await all_aliases(aws, KeyId=key_id, Limit=limit)
            assert found == of_key
    paginator = aws.boto.get_paginator("list_aliases")
    pages = paginator.paginate(PaginationConfig={"PageSize": 1})
    whole = await asyncio.to_thread(pages.build_full_result)
    assert whole["Aliases"] == expected


async def test_an_alias_that_goes_between_two_pages(aws, create):
    key_id = await create()
    for name in "abcd":
        await aws.create_alias(AliasName=f"alias/{name}", TargetKeyId=key_id)
    page = await aws.list_aliases(Limit=2)
    await aws.delete_alias(AliasName="alias/b")
    rest = await aws.list_aliases(Limit=2, Marker=page["NextMarker"])
    assert [each["AliasName"] for each in rest["Aliases"]] == ["alias/c", "alias/d"]
    assert rest["Truncated"] is False


async def test_a_page_reads_so_many_keys(aws, create):
    """A page costs the same whether its keys have aliases or not."""
    body = {"alg": "ed25519", "count": 200}
    async with aws.rest.post("/key/generate/batch", json=body) as response:
        assert response.status == 200
    key_id = await create()
    await aws.create_alias(AliasName="alias/last", TargetKeyId=key_id)
    first = await aws.list_aliases()
    assert (first["Aliases"], first["Truncated"]) == ([], True)
    assert await all_aliases(aws) == ([entry("alias/last", key_id)], 3)
    assert await all_aliases(aws, KeyId=key_id) == ([entry("alias/last", key_id)], 1)


async def test_only_valid_aws_alias_names_are_listed(aws, create):
    key_id = await create()
    async with aws.rest.get(f"/key?alias=aws:{key_id}") as response:
        path = f"/key/{(await response.json())['kid']}/associate"
    for alias in ("did:example:1", "alias", "alias/", "alias/é", "alias/a:b", "alias/" + "x" * 251,
                  "alias/ok", "xalias/y"):  # fmt: skip
        assert (await aws.rest.post(path, json={"alias": alias})).status == 200
    assert await all_aliases(aws) == ([entry("alias/ok", key_id)], 1)


async def test_the_other_door_shows_and_moves_them(aws, create, named):
    key_id = await create("ECC_NIST_P256", "SIGN_VERIFY")
    await aws.create_alias(AliasName="alias/a", TargetKeyId=key_id)
    async with aws.rest.get("/key?alias=alias/a") as response:
        assert sorted((await response.json())["aliases"]) == ["alias/a", f"aws:{key_id}"]
    body = {"alg": "ed25519", "alias": "alias/a"}
    async with aws.rest.post("/key/generate", json=body) as response:
        kid = (await response.json())["kid"]
    assert await named("alias/a") == kid
    assert (await all_aliases(aws))[0] == [entry("alias/a", kid)]
    await aws.update_alias(AliasName="alias/a", TargetKeyId=key_id)
    await aws.create_alias(AliasName="alias/b", TargetKeyId=kid)
    async with aws.rest.get(f"/key/{kid}") as response:
        assert (await response.json())["aliases"] == ["alias/b"]


@pytest.mark.each_store
async def test_a_name_with_nul_is_not_cut(start_aws, any_store):
    aws = await start_aws(**any_store)
    key_id = (await aws.create_key())["KeyMetadata"]["KeyId"]
    await aws.create_alias(AliasName="alias/a", TargetKeyId=key_id)
    for name in (
        "alias/a\0",
        "alias/a\0b",
        "alias/a\n",
        f"{ARN}alias/a\0b",
        f"alias/a\0{'b' * 999}",
    ):
        for _ in range(2):
            await aws.refused("NotFoundException", "describe_key", KeyId=name)
            await aws.refused("NotFoundException", "encrypt", KeyId=name, Plaintext=b"x")


@pytest.mark.each_store
async def test_one_of_eight_callers_makes_an_alias(start_aws, any_store):
    aws = await start_aws(**any_store)
    keys = [(await aws.create_key())["KeyMetadata"]["KeyId"] for _ in range(2)]
    calls = [aws.create_alias(AliasName="alias/a", TargetKeyId=key_id) for key_id in keys * 4]
    results = await asyncio.gather(*calls, return_exceptions=True)
    refused = [result for result in results if isinstance(result, ClientError)]
    assert [error.response["Error"]["Code"] for error in refused] == ["AlreadyExistsException"] * 7
    [made] = [key_id for key_id, result in zip(keys * 4, results, strict=True)
              if not isinstance(result, ClientError)]  # fmt: skip
    assert (await aws.list_aliases())["Aliases"] == [entry("alias/a", made)]


@pytest.mark.each_store
async def test_an_alias_that_is_moved_and_removed_at_once(start_aws, any_store):
    """One call removes the alias; later moves are refused, and none makes it again."""
    aws = await start_aws(**any_store)
    keys = [(await aws.create_key())["KeyMetadata"]["KeyId"] for _ in range(3)]
    await aws.create_alias(AliasName="alias/a", TargetKeyId=keys[0])
    moves = [aws.update_alias(AliasName="alias/a", TargetKeyId=key_id) for key_id in keys[1:] * 2]
    removals = [aws.delete_alias(AliasName="alias/a") for _ in range(4)]
    results = await asyncio.gather(*moves, *removals, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            assert isinstance(result, ClientError)
            assert result.response["Error"]["Code"] == "NotFoundException"
    assert sum(not isinstance(result, Exception) for result in results[4:]) == 1
    assert (await aws.list_aliases())["Aliases"] == []


@pytest.mark.parametrize("operation", ["create_alias", "update_alias"])
async def test_aliases_that_have_as_many_bytes_as_they_may(aws, operation):
    key_id, other = await aws.make("p256", "sign"), await aws.make("p256", "sign")
    await aws.create_alias(AliasName="alias/other", TargetKeyId=other)
    kid = await aws.kid(key_id)
    for place in range(16):  # its UUID is an alias of 40 bytes
        body = {"alias": chr(0x10000 + place) + "🔑" * (4095 if place else 4084)}
        async with aws.rest.post(f"/key/{kid}/associate", json=body) as response:
            assert response.status == 200
    name = "alias/other" if operation == "update_alias" else "alias/new"
    await aws.refused("LimitExceededException", operation, AliasName=name, TargetKeyId=key_id)
    assert (await aws.describe_key(KeyId="alias/other"))["KeyMetadata"]["KeyId"] == other
