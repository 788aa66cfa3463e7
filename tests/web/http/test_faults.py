"""Bodies with many faults: the answer names the first, and the others cost nothing."""

import gc
import sys

import pytest

from minikms.errors import ValidationFailed
from minikms.web.schemas.key_bodies import GenerateKey
from minikms.web.schemas.operation_bodies import BatchSignRequest, BatchVerifyRequest
from minikms.web.schemas.token_bodies import CreateToken

FIELDS = {f"f{number}": 0 for number in range(64)}
GOOD = {"data": "aGVsbG8", "sig": "aGVsbG8"}
KEY = {"kid": "k"}


def calls_to_read(schema, body):
    """Count the functions called until a body is refused: its cost on any machine."""
    number = 0

    def count(frame, event, argument):
        nonlocal number
        number += event in ("call", "c_call")

    gc.disable()  # or calls that it makes of others' garbage count, too
    sys.setprofile(count)
    try:
        schema.parse(body)
    except ValidationFailed as exc:
        return number, exc.errors
    finally:
        sys.setprofile(None)
        gc.enable()
    raise AssertionError("it was not refused")


def items(number, item):
    return {**KEY, "items": [item] * number}


@pytest.mark.parametrize(
    "item", [FIELDS, {**FIELDS, "g": 0, "h": 0}, {}, {"data": 1, "sig": 2}, 1, None, [], [GOOD]]
)
@pytest.mark.parametrize("schema", [BatchVerifyRequest(), BatchSignRequest()])
def test_a_batch_of_bad_items(schema, item):
    calls_to_read(schema, items(1, item))  # fills caches
    few, first = calls_to_read(schema, items(32, item))
    many, again = calls_to_read(schema, items(1000, item))
    assert len(first) == 32
    assert again == first
    assert many < few + 100


def test_the_fault_of_one_item_is_named_wherever_it_is():
    body = {**KEY, "items": [*[GOOD] * 998, {"data": "aGVsbG8"}, {**GOOD, "x": 1}], "y": 1}
    with pytest.raises(ValidationFailed) as refused:
        BatchVerifyRequest().parse(body)
    assert {pointer for pointer, _ in refused.value.errors} == {
        *("#/items/998/sig", "#/items/999/x", "#/y")
    }


@pytest.mark.parametrize(
    ("schema", "body"),
    [
        (BatchVerifyRequest(), lambda number: {str(at): 0 for at in range(number)}),
        (BatchVerifyRequest(), lambda number: items(number, FIELDS)),
        (GenerateKey(), lambda number: {"alg": "x", "operations": ["x"] * number}),
        (
            GenerateKey(),
            lambda number: {"alg": "x", "labels": {str(at): 0 for at in range(number)}},
        ),
        (
            CreateToken(),
            lambda number: {"name": "x", "scopes": ["sign"], "profiles": [" "] * number},
        ),
    ],
)
def test_a_body_that_is_too_wide(schema, body):
    calls_to_read(schema, body(1001))
    few, _ = calls_to_read(schema, body(1001))
    many, _ = calls_to_read(schema, body(20_000))
    assert many < few + 100
