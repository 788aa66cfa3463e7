"""The words of an approval are refused where its parts do not belong together."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from minikms_client.cli.approval_words import in_words
from minikms_client.models import Approval
from minikms_client.wire import encode


def approval(what, data=(), operation="sign", **document):
    facts = {"sub": "kid", "who": "app", "operation": operation, "what": what, **document}
    signed = json.dumps(facts).encode()
    return Approval(
        id="A" * 22,
        kid="kid",
        state="pending",
        threshold=1,
        approved_by=(),
        approvers=(),
        expires=datetime.now(UTC),
        document=signed,
        challenge=hashlib.sha256(signed).digest(),
        data=data,
    )


def of(data):
    return {"alg": "ES256", "sha256": encode(hashlib.sha256(data).digest())}


def words(found):
    return in_words(found, "issuer")


def test_bytes_are_those_of_the_document():
    assert words(approval([of(b"one")], (b"one",))) == ["sign with issuer: the text one"]
    for found in (
        approval([of(b"one")], (b"two",)),
        approval([of(b"one"), of(b"two")], (b"one",)),
        approval([of(b"one")], (b"one", b"two")),
        approval([{"alg": "ES256", "prehashed": encode(b"one")}], (b"two",)),
        approval([of(b"one")], (b"one",), sub="another"),
        replace(approval([of(b"one")], (b"one",)), challenge=b""),
    ):
        with pytest.raises(ValueError, match=r"of this document|of the document|another key"):
            words(found)


@pytest.mark.parametrize(
    "data",
    [
        b"e30.e30",
        b"bnVsbA.e30",
        b"W10.W10",
        b"e30.bnVsbA",
        b"aaaaa.aaaaa",
        b"eyJ0eXAiOltdfQ.eyJleHAiOiIxIiwiaXNzIjp7fX0",
        b"eyJ0eXAiOltdfQ.eyJleHAiOjFlOTl9",
        b"[" * 5000,
        encode(b"[" * 9000).encode() + b".e30",
        b"e30." + encode(b"[" * 9000).encode(),
        b"\x84\x6aSignature1",
        b"\xff",
        b"",
    ],
)
def test_bytes_of_any_form_are_described(data):
    (line,) = words(approval([of(data)], (data,)))
    assert line.startswith("sign with issuer: ")
    assert len(line) < 600


def test_a_long_claim_is_cut():
    payload = encode(json.dumps({"iss": "a" * 9000}).encode())
    data = f"e30.{payload}".encode()
    (line,) = words(approval([of(data)], (data,)))
    assert line.endswith("… (9002 characters)")


def test_a_name_that_is_there_twice_is_not_read():
    payload = encode(b'{"iss": 1, "iss": 2}')
    data = f"e30.{payload}".encode()
    (line,) = words(approval([of(data)], (data,)))
    assert "iss" not in line.removeprefix("sign with issuer: ")


def test_another_operation_is_shown_as_it_is():
    assert words(approval([{"a": 1}], operation="new")) == ['new with issuer: {"a": 1}']
    assert words(approval([{"after": 604800}], operation="delete")) == [
        "delete issuer after 604800 seconds"
    ]
