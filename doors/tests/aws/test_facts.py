"""The door answers what AWS itself has answered."""

import asyncio

import pytest
from aws_facts import FACTS
from aws_facts.fact import Call, Fact, Has, Refused
from botocore.exceptions import ClientError


def marked(fact):
    """A fact; it is marked slow if it makes large RSA keys."""
    specs = {call.arguments.get("KeySpec") for call in fact.calls}
    marks = [pytest.mark.slow] if specs & {"RSA_3072", "RSA_4096"} else []
    return pytest.param(fact, marks=marks, id=fact.name.removeprefix("test_"))


@pytest.mark.parametrize("fact", [marked(fact) for fact in FACTS])
async def test_the_door_answers_as_aws_did(aws, fact):
    await asyncio.to_thread(fact.check, aws.boto)


class Other:
    """A KMS that answers otherwise."""

    def __init__(self, answer):
        self.answer = answer

    def describe_key(self):
        if isinstance(self.answer, Exception):
            raise self.answer
        return {**self.answer, "ResponseMetadata": {}}


def refusal(code, message, status=400):
    error = {"Code": code, "Message": message}
    response = {"Error": error, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "DescribeKey")


RIGHT = refusal("NotFoundException", "It does not exist")


@pytest.mark.parametrize(
    ("expected", "right", "wrong"),
    [
        ({"A": 1, "B": str}, {"A": 1, "B": "b"}, {"A": 1, "B": 2}),
        ({"A": 1}, {"A": 1}, {}),
        ({"A": 1}, {"A": 1}, {"A": 1, "B": 2}),
        ({"A": {"B": 1}}, {"A": {"B": 1}}, {"A": {"B": 2}}),
        (Has(A=1), {"A": 1, "B": 2}, {"B": 2}),
        ({"A": 1}, {"A": 1}, RIGHT),
        (Refused("NotFoundException"), RIGHT, {"A": 1}),
        (Refused("NotFoundException"), RIGHT, refusal("DisabledException", "")),
        (Refused("NotFoundException"), RIGHT, refusal("NotFoundException", "", 404)),
        (
            Refused("NotFoundException", "It does not exist"),
            RIGHT,
            refusal("NotFoundException", ""),
        ),
        (Refused("E", "one of ["), refusal("E", "one of [A]"), refusal("E", "none of [A]")),
    ],
)
def test_a_fact_notices_a_different_answer(expected, right, wrong):
    fact = Fact("test_it", (Call("DescribeKey", {}, expected),))
    fact.check(Other(right))
    with pytest.raises(AssertionError):
        fact.check(Other(wrong))
