"""The door itself: its operations, its callers, and the form of its errors."""

import asyncio
import io
import json
import logging
import re
from typing import get_args
from unittest import mock

import botocore.session
import pytest
from aiohttp import ClientSession
from app_servers import keys_of_door

from minikms import errors
from minikms.web.responses import error_classes
from minikms_aws import body, door
from minikms_aws.errors import CODES, Code, as_aws
from minikms_aws.specs import (
    ENCRYPTION_ALGORITHMS,
    KEY_SPECS,
    KEY_USAGES,
    MAC_ALGORITHMS,
    MESSAGE_TYPES,
    SIGNING_ALGORITHMS,
)

MODEL = botocore.session.get_session().get_service_model("kms")
OPERATIONS = door._operations()
JSON = "application/x-amz-json-1.1"

# Members that the door ignores: there are no grants, keys have no policies of their own, and a
# listing shows only keys of the caller's profile.
IGNORED = {"GrantTokens", "BypassPolicyLockoutSafetyCheck", "ResourceOwners"}

# Members that differ from the model: AWS's documents say more, KeySpec's values are accepted, or
# the door ignores the member.
OTHER = {
    "ScheduleKeyDeletion.PendingWindowInDays",
    "CreateKey.CustomerMasterKeySpec",
    "CreateKey.Policy",
}


async def test_random_bytes_have_the_asked_length(aws):
    answer = await aws.generate_random(NumberOfBytes=1024)
    assert len(answer["Plaintext"]) == 1024
    again = await aws.generate_random(NumberOfBytes=1024)
    assert again["Plaintext"] != answer["Plaintext"]
    assert answer["ResponseMetadata"]["RequestId"]
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert (headers["content-type"], headers["cache-control"]) == (JSON, "no-store")
    assert await aws.refused("ValidationException", "generate_random") == (
        "NumberOfBytes is required."
    )
    for size in (0, 1025):
        await aws.refused("ValidationException", "generate_random", NumberOfBytes=size)
    for members in ({"CustomKeyStoreId": "cks-1"}, {"Recipient": {}}):
        await aws.refused(
            "UnsupportedOperationException", "generate_random", NumberOfBytes=1, **members
        )


# The operations of AWS


def test_every_operation_of_aws_is_here_or_refused():
    here = [operation.name for operation in OPERATIONS]
    assert sorted([*here, *door._ABSENT]) == sorted(MODEL.operation_names)
    assert len(here) == 41


def test_the_enums_equal_those_of_aws():
    for name, ours in (
        ("KeySpec", KEY_SPECS),
        ("KeyUsageType", KEY_USAGES),
        ("SigningAlgorithmSpec", SIGNING_ALGORITHMS),
        ("EncryptionAlgorithmSpec", ENCRYPTION_ALGORITHMS),
        ("MacAlgorithmSpec", MAC_ALGORITHMS),
        ("MessageType", MESSAGE_TYPES),
    ):
        assert list(ours) == MODEL.shape_for(name).enum, name


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_requests_have_the_members_of_aws(operation):
    compare(operation.request, MODEL.operation_model(operation.name).input_shape, operation.name)


def compare(ours, shape, where):
    """Hold the members of a structure against the shape that AWS's model has."""
    assert ours.keys() <= shape.members.keys(), where
    assert shape.members.keys() - ours.keys() <= IGNORED, where
    for name, member in ours.items():
        theirs, at = shape.members[name], f"{where}.{name}"
        if isinstance(member, body.Unsupported) or at in OTHER:
            continue
        assert KINDS[type(member)] == theirs.type_name, at
        if isinstance(member, body.Several) and isinstance(member.inner, body.Structure):
            compare(member.inner.shape, theirs.member, at)
        bounds = {"min": "least", "max": "most", "enum": "values", "pattern": "pattern"}
        for limit in bounds.keys() & theirs.metadata.keys():
            expected = theirs.metadata[limit]
            if limit == "enum":
                expected = tuple(expected)
            if limit == "pattern":
                expected = re.sub(r"\\u(\w{4})", lambda code: chr(int(code[1], 16)), expected)
            found = getattr(member, bounds[limit])
            assert found == expected or expected == 0, f"{at}: {limit}"
        # Only a DryRunModifier, which the door refuses, would make this member optional.
        if name != "CiphertextBlob":
            assert member.required == (name in shape.required_members), at


KINDS = {
    body.Blob: "blob",
    body.Boolean: "boolean",
    body.Context: "map",
    body.Enum: "string",
    body.Integer: "integer",
    body.Several: "list",
    body.Text: "string",
}


@pytest.mark.parametrize("name", sorted(door._ABSENT))
async def test_an_operation_that_is_not_here(aws, name):
    operation = botocore.xform_name(name)
    said = await aws.refused("UnsupportedOperationException", operation)
    assert said == f"{name} is not supported here."


# Requests that are not calls


@pytest.fixture
async def post(aws):
    """Send a request without boto3; gives its status, its headers and the body of its error."""

    async def send(target="TrentService.Sign", body=b"{}", method="POST", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if target is not None:
            named["X-Amz-Target"] = target
        async with session.request(method, aws.url, data=body, headers=named) as response:
            return response.status, response.headers, await response.read()

    async with ClientSession() as session:
        yield send


@pytest.mark.parametrize(
    ("target", "method"),
    [
        ("TrentService.Nothing", "POST"),
        ("TrentService.", "POST"),
        ("TrentService", "POST"),
        ("Sign", "POST"),
        ("DynamoDB_20120810.Sign", "POST"),
        ("DynamoDB_20120810.CreateGrant", "POST"),
        ("TrentService.Sign.Sign", "POST"),
        (None, "POST"),
        (None, "GET"),
        ("TrentService.Sign", "GET"),
        ("TrentService.Sign", "PUT"),
    ],
)
async def test_an_unknown_operation_is_refused(post, target, method):
    status, headers, body = await post(target, method=method)
    assert (status, json.loads(body)["__type"]) == (400, "UnknownOperationException")
    assert ("X-Amz-Target" in json.loads(body)["message"]) is (target is None)
    assert headers["Content-Type"] == JSON
    assert headers["x-amzn-RequestId"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"Sign"', b"\xff", b'{"KeyId": 1}'])
async def test_a_body_that_cannot_be_read(post, body):
    status, _, answer = await post(body=body)
    assert (status, json.loads(answer)["__type"]) == (400, "SerializationException")


async def test_a_body_without_members(post):
    for sent in (b"{}", b""):
        status, _, answer = await post(body=sent)
        assert (status, json.loads(answer)["__type"]) == (400, "ValidationException")


async def test_a_body_that_is_too_large(post):
    status, headers, answer = await post(body=io.BytesIO(bytes(2_000_000)))
    assert (status, json.loads(answer)["__type"]) == (413, "RequestEntityTooLargeException")
    assert headers["Content-Type"] == JSON


async def test_a_request_that_cannot_be_read(aws):
    host, _, port = aws.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST / HTTP/1.1\r\nHost\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.split()[1] == b"400"
    assert f"\r\nContent-Type: {JSON}\r\n".encode() in head
    assert b"\r\nx-amzn-RequestId: " in head
    body = json.loads(await reader.read())
    assert body["__type"] == "ValidationException"
    writer.close()


# Who calls


async def test_credentials_pick_a_profile(aws):
    key_id = await aws.make("p256")
    call = {"KeyId": key_id, "Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
    await aws.sign(**call)
    alice = await aws.new_profile("alice")
    await alice.refused("NotFoundException", "sign", **call)
    await aws.make("ed25519", profile="alice", key_id=key_id)
    signed = await alice.sign(**{**call, "SigningAlgorithm": "ED25519_SHA_512"})
    account = signed["KeyId"].split(":")[4]
    assert account != "000000000000"
    # Each by its own account.
    arn = f"arn:aws:kms:us-east-1:{account}:key/{key_id}"
    assert signed["KeyId"] == arn
    said = await aws.refused("NotFoundException", "sign", **{**call, "KeyId": arn})
    assert said == f"Key '{arn}' does not exist"
    nobody = aws.of("nobody")
    said = await nobody.refused("UnrecognizedClientException", "sign", **call)
    assert said.startswith("There is no such profile of Mini KMS")


async def test_the_region_is_that_of_the_caller(aws):
    key_id = await aws.make("p256")
    frankfurt = aws.of(region_name="eu-central-1")
    call = {"Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
    arn = (await frankfurt.sign(KeyId=key_id, **call))["KeyId"]
    assert arn == f"arn:aws:kms:eu-central-1:000000000000:key/{key_id}"
    assert (await frankfurt.sign(KeyId=arn, **call))["KeyId"] == arn
    assert await aws.refused("NotFoundException", "sign", KeyId=arn, **call) == (
        "Invalid arn eu-central-1"
    )


async def test_credentials_that_cannot_be_read(post):
    status, _, body = await post(Authorization="AWS4-HMAC-SHA256 Credential=profile-alice")
    assert (status, json.loads(body)["__type"]) == (400, "IncompleteSignatureException")


# Errors


async def test_an_error_is_as_its_code_says(aws, monkeypatch):
    key_id = await aws.make("p256")
    call = {"KeyId": key_id, "Message": b"m", "SigningAlgorithm": "ECDSA_SHA_256"}
    service = keys_of_door(aws.rest.app)
    for failure, code in (
        (errors.StoreUnavailable(), "DependencyTimeoutException"),
        (errors.TooBusy(), "ThrottlingException"),
        (errors.KeyUnreadable(), "KMSInternalException"),
        (errors.AliasNotFound(), "NotFoundException"),
    ):
        monkeypatch.setattr(service, "perform", mock.AsyncMock(side_effect=failure))
        await aws.refused(code, "sign", **call)


async def test_a_bug_is_an_internal_error(aws, monkeypatch, caplog):
    failing = mock.Mock(side_effect=RuntimeError("a secret"))
    monkeypatch.setattr(keys_of_door(aws.rest.app), "random", failing)
    said = await aws.refused("KMSInternalException", "generate_random", NumberOfBytes=1)
    assert "secret" not in said
    assert [each for each in caplog.records if each.levelno == logging.ERROR]


# Errors without a code of AWS's: of HTTP itself, and of calls that the door does not have.
WITHOUT_CODE = {
    errors.ApprovalNotFound,
    errors.BadRequest,
    errors.HeadersTooLarge,
    errors.InvalidApproval,
    errors.InvalidCertificate,
    errors.InvalidCose,
    errors.KeyExists,
    errors.MethodNotAllowed,
    errors.MisdirectedRequest,
    errors.NotAttestable,
    errors.NotExportable,
    errors.ProfileExists,
    errors.ProfileProtected,
    errors.RequestTimeout,
    errors.RulesLoosened,
    errors.ShuttingDown,
    errors.TooEarly,
    errors.TokenNotFound,
    errors.TooManyTokens,
    errors.UnsupportedMediaType,
}


@pytest.mark.parametrize("kind", list(error_classes()), ids=lambda kind: kind.__name__)
def test_each_error_of_the_service_has_a_code_of_aws_or_is_listed_without_one(kind):
    assert (kind in CODES) != (kind in WITHOUT_CODE), (
        f"Give {kind.__name__} a code in CODES (doors/minikms_aws/errors.py), or add it to "
        "WITHOUT_CODE in this test: one of the two, not both."
    )


def test_every_error_of_ours_has_a_code():
    codes = {each.name for each in MODEL.error_shapes} | {
        # Of all of AWS's services.
        "AccessDeniedException",
        "IncompleteSignatureException",
        "NotAuthorizedException",
        "RequestEntityTooLargeException",
        "SerializationException",
        "ThrottlingException",
        "UnknownOperationException",
        "UnrecognizedClientException",
        "ValidationException",
    }
    assert set(get_args(Code)) <= codes
    for kind in error_classes():
        status, code, _ = as_aws(kind())
        assert code in codes, kind
        expected = {"KMSInternalException": 500, "DependencyTimeoutException": 503}.get(code)
        if expected is not None:
            assert status == expected, kind
        if code not in {"ValidationException", "RequestEntityTooLargeException"}:
            assert status in {400, 500, 503}, kind
