"""A fact about AWS KMS: a sequence of boto3 calls, and AWS's answers.

The facts come from recordings of AWS by the LocalStack project
(github.com/localstack/localstack, tests/aws/services/kms/test_kms.py and its snapshots), and are
written here in a form of our own. A fact has the name of the test there.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from botocore import xform_name
from botocore.exceptions import ClientError

# Members that AWS has had since June 2025: recordings from before lack them.
LATER = {"CurrentKeyMaterialId", "DestinationKeyMaterialId", "KeyMaterialId", "SourceKeyMaterialId"}


class Ref(NamedTuple):
    """A value kept by an earlier call, changed by a function."""

    name: str
    change: Callable[[Any], Any] = lambda value: value


class Size(NamedTuple):
    """So many bytes."""

    number: int


class Has(dict):
    """Members of an answer, which may have more members."""


class Refused(NamedTuple):
    """An error: its code and message; `{name}` stands for a kept value.

    `message` is empty if AWS's is. A message that ends with `[` is compared up to there: AWS
    lists a set in any order, and has more members by now.
    """

    code: str
    message: str | Ref = ""


class Call(NamedTuple):
    """A call, its answer, and the values of the answer to keep, by their paths.

    An answer has exactly these members, each with the given value or type. None stands
    for an answer that is not looked at.
    """

    operation: str
    arguments: Mapping[str, Any]
    answer: Mapping[str, Any] | Refused | None = None
    kept: Mapping[str, str] = {}


class Fact(NamedTuple):
    """A test of LocalStack's that passed on AWS, and its calls."""

    name: str
    calls: tuple[Call, ...]

    def check(self, client):
        """Make the calls; AssertionError where something else is answered."""
        kept = {}
        for call in self.calls:
            make(client, call, kept)


def key(name="key", **spec):
    """Make a key; its KeyId is kept under this name, and its ARN under `NAME_arn`."""
    paths = {name: "KeyMetadata.KeyId", f"{name}_arn": "KeyMetadata.Arn"}
    return Call("CreateKey", spec, None, paths)


def with_key(operation, name="key", answer=None, **arguments):
    """A call with a key's id and other arguments."""
    return Call(operation, {"KeyId": Ref(name), **arguments}, answer)


def invalid(member, value, constraint):
    """The sentence for a member that breaks a constraint of AWS's model."""
    return Refused(
        "ValidationException",
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: "
        f"Member must {constraint}",
    )


def make(client, call, kept):
    method = getattr(client, xform_name(call.operation))
    try:
        answer = method(**resolved(call.arguments, kept))
    except ClientError as exc:
        expect_refusal(call, exc.response, kept)
        return
    assert not isinstance(call.answer, Refused), f"{call.operation} was not refused: {answer}"
    del answer["ResponseMetadata"]
    if call.answer is not None:
        expect(answer, resolved(call.answer, kept), call.operation)
    for name, path in call.kept.items():
        found = answer
        for member in path.split("."):
            found = found[member]
        kept[name] = found


def resolved(value, kept):
    if isinstance(value, Ref):
        return value.change(kept[value.name])
    if isinstance(value, dict):
        return type(value)((name, resolved(member, kept)) for name, member in value.items())
    if isinstance(value, list):
        return [resolved(member, kept) for member in value]
    return value


def expect_refusal(call, response, kept):
    error = response["Error"]
    assert isinstance(call.answer, Refused), f"{call.operation} was refused: {error}"
    assert error["Code"] == call.answer.code, error
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    found, expected = error["Message"], resolved(call.answer.message, kept).format_map(kept)
    if expected.endswith("["):
        assert found.startswith(expected)
    elif expected:
        assert found == expected


def expect(found, expected, where):
    if isinstance(expected, type):
        assert isinstance(found, expected), f"{where}: {found!r}"
    elif isinstance(expected, Size):
        assert isinstance(found, bytes), f"{where}: {found!r}"
        assert len(found) == expected.number, f"{where}: {found!r}"
    elif isinstance(expected, dict):
        assert not expected.keys() - found.keys(), f"{where}: {found!r}"
        if not isinstance(expected, Has):
            assert not found.keys() - expected.keys() - LATER, f"{where}: {found!r}"
        for member, value in expected.items():
            expect(found[member], value, f"{where}.{member}")
    else:
        assert found == expected, f"{where}: {found!r}"
