import base64
import json
import subprocess
import sys

import pytest

from minikms.errors import KmsError
from minikms_aws import body
from minikms_aws.errors import AwsError

TAG = {"TagKey": body.Text(1, 128, required=True)}
SHAPE = {
    "KeyId": body.KEY_ID,
    "KeySpec": body.Enum(("A", "B")),
    "Message": body.Blob(4),
    "Limit": body.Integer(1, 1000),
    "Name": body.Text(1, 5, r"[a-z]{1,}"),
    "EncryptionContext": body.Context(),
    "DryRun": body.Boolean(),
    "Tags": body.Several(body.Structure(TAG), 3),
}


def read(**members):
    return body.read(json.dumps(members).encode(), SHAPE)


def test_a_body_is_read():
    context = {"a": "b"}
    assert read(
        KeyId="k",
        KeySpec="A",
        Message=base64.b64encode(b"\0\xff").decode(),
        Limit=1000,
        Name="abc",
        EncryptionContext=context,
        DryRun=True,
        Tags=[{"TagKey": "t"}],
    ) == {
        "KeyId": "k",
        "KeySpec": "A",
        "Message": b"\0\xff",
        "Limit": 1000,
        "Name": "abc",
        "EncryptionContext": context,
        "DryRun": True,
        "Tags": [{"TagKey": "t"}],
    }


def test_unknown_members_are_ignored_and_null_is_absent():
    assert read(KeyId="k", Limit=None, GrantTokens=["x"], Tags=[{"TagKey": "t", "More": 1}]) == {
        "KeyId": "k",
        "Tags": [{"TagKey": "t"}],
    }


def base64_of(size):
    return base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    ("members", "value", "rule"),
    [
        ({"KeyId": None}, "null at 'keyId'", "not be null"),
        ({"KeyId": ""}, "'' at 'keyId'", "have length greater than or equal to 1"),
        (
            {"KeyId": "k" * 2049},
            f"'{'k' * 1024}' at 'keyId'",
            "have length less than or equal to 2048",
        ),
        ({"KeySpec": "C"}, "'C' at 'keySpec'", "satisfy enum value set: [A, B]"),
        ({"Message": base64_of(5)}, "at 'message'", "have length less than or equal to 4"),
        ({"Message": ""}, "at 'message'", "have length greater than or equal to 1"),
        ({"Limit": 0}, "'0' at 'limit'", "have value greater than or equal to 1"),
        ({"Limit": 1001}, "'1001' at 'limit'", "have value less than or equal to 1000"),
        ({"Name": "A"}, "'A' at 'name'", "satisfy regular expression pattern: [a-z]{1,}"),
        (
            {"Tags": [{"TagKey": "t"}, {"TagKey": None}]},
            "null at 'tags.2.member.tagKey'",
            "not be null",
        ),
        ({"Tags": [{"TagKey": "t"}] * 4}, "at 'tags'", "have length less than or equal to 3"),
    ],
)
def test_a_constraint_that_is_not_met(members, value, rule):
    with pytest.raises(AwsError) as error:
        read(**{"KeyId": "k", **members})
    assert error.value.slug == "ValidationException"
    sentence = f"Value {value} failed to satisfy constraint: Member must {rule}"
    assert error.value.detail == f"1 validation error detected: {sentence}"


def test_a_required_member_is_missing():
    with pytest.raises(AwsError, match="Value null at 'keyId' failed"):
        read()


def test_several_faults_are_one_error():
    with pytest.raises(AwsError, match=r"^2 validation errors detected: .*; Value") as error:
        read(KeySpec="C")
    assert error.value.slug == "ValidationException"


@pytest.mark.parametrize(
    "members",
    [
        {"KeyId": 1},
        {"KeyId": "k", "Message": "not base64"},
        {"KeyId": "k", "Message": "_w=="},
        {"KeyId": "k", "Limit": "1"},
        {"KeyId": "k", "Limit": True},
        {"KeyId": "k", "Limit": 1.5},
        {"KeyId": "k", "DryRun": "true"},
        {"KeyId": "k", "EncryptionContext": {"a": 1}},
        {"KeyId": "k", "EncryptionContext": "a"},
        {"KeyId": "k", "Tags": {}},
        {"KeyId": "k", "Tags": ["t"]},
    ],
)
def test_a_value_of_another_type(members):
    with pytest.raises(AwsError) as error:
        read(**members)
    assert error.value.slug == "SerializationException"


@pytest.mark.parametrize("sent", [b"[]", b"1", b"null"])
def test_a_body_must_be_a_json_object(sent):
    with pytest.raises(AwsError) as error:
        body.read(sent, {})
    assert error.value.slug == "SerializationException"


def test_the_error_of_many_faults_is_short():
    with pytest.raises(AwsError) as error:
        body.read(
            json.dumps({"Many": [{}] * 10_000}).encode(),
            {"Many": body.Several(body.Structure(TAG), 10_000)},
        )
    assert error.value.slug == "ValidationException"
    assert len(error.value.detail) < 2000


@pytest.mark.parametrize("part", ['{"a": %s}', "[%s]"])
@pytest.mark.parametrize("member", ["KeyId", "Tags", "EncryptionContext", "Message"])
@pytest.mark.parametrize(
    ("deep", "slug"),
    [
        (500, "SerializationException"),
        (1000, "SerializationException"),
        (10_000, "SerializationException"),
        (100_000, "body-too-large"),  # of more values than any body may have
    ],
)
def test_a_deeply_nested_body_is_refused(part, member, deep, slug):
    before, behind = part.split("%s")
    nested = before * deep + "1" + behind * deep
    with pytest.raises(KmsError) as error:
        body.read(f'{{"{member}": {nested}}}'.encode(), SHAPE)
    assert error.value.slug == slug


def test_a_large_context_has_one_fault():
    with pytest.raises(AwsError) as error:
        read(KeyId="k", EncryptionContext={f"name {number}": 1 for number in range(19_000)})
    assert error.value.slug == "SerializationException"
    assert error.value.detail == "The value at 'encryptionContext' is not of its type."


@pytest.mark.process
def test_a_body_that_there_is_no_memory_for_is_not_taken_for_a_wrong_one():
    code = """
import resource, sys
from pathlib import Path
from minikms_aws.body import Text, read
body = b'{"Name":"' + b"A" * 100_000 + b'"}'
most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    read(body, {"Name": Text(1, 5)})
except MemoryError:
    sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 7
