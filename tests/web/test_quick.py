"""The quick way through a schema comes to what the schema comes to, or leaves it to that."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import ValidationError

from minikms.web import components
from minikms.web.schemas import compiled as quick
from minikms.web.schemas.examples import ANSWERS, EXAMPLES

SCHEMAS = {name: kind() for name, kind in components.SCHEMAS.items()}
QUICK = [name for name in EXAMPLES if quick._loader(SCHEMAS[name])]
BODIES = [(name, body) for name in QUICK for body in EXAMPLES[name].values()]

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["aGVsbG8=", "aGVsbG8", "a", "====", "a b", "raw", "der", "EdDSA", "public"]),
    st.sampled_from(["x" * 128, "x" * 129, "x" * 512, "x" * 513, "a\n", "\ud800", "a+/b"]),
    st.lists(st.dictionaries(st.sampled_from(["data", "sig", "x"]), st.text(max_size=3))),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
)
NAMES = st.sampled_from(
    sorted({name for kind in SCHEMAS.values() for name in kind.load_fields} | {"other"})
)
CHANGES = st.dictionaries(NAMES, VALUES, max_size=3)


def full(schema, document):
    try:
        return schema.load(document)
    except ValidationError:
        return None


def quickly(schema, document):
    try:
        return quick._loader(schema)(document)
    except ValueError:
        return None


def test_the_hot_calls_go_that_way():
    assert {"SignRequest", "VerifyRequest", "BatchSignRequest", "EncryptRequest"} <= set(QUICK)
    for name in ("Signature", "Verification", "BatchSignature", "Ciphertext", "Key"):
        assert quick._dumper(SCHEMAS[name])


@pytest.mark.parametrize(("name", "body"), BODIES)
def test_what_is_as_it_should_be_is_taken(name, body):
    taken = quickly(SCHEMAS[name], body)
    assert taken is not None
    assert taken == full(SCHEMAS[name], body)


@pytest.mark.parametrize("name", QUICK)
@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_nothing_else_is_taken(name, data):
    body = data.draw(st.sampled_from(list(EXAMPLES[name].values())))
    left_out = data.draw(st.sets(st.sampled_from(sorted(body))))
    changes = data.draw(CHANGES)
    document = {k: v for k, v in body.items() if k not in left_out} | changes
    taken = quickly(SCHEMAS[name], document)
    assert taken is None or taken == full(SCHEMAS[name], document)


@pytest.mark.parametrize("document", [None, [], "x", 1, True])
def test_what_is_no_object_is_left_to_the_schema(document):
    for name in QUICK:
        assert quickly(SCHEMAS[name], document) is None
        with pytest.raises(ValidationError):
            quick.load(SCHEMAS[name], document)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("Signature", {"sig": b"\x00\xff", "alg": "EdDSA", "kid": "k"}),
        ("Verification", {"valid": False}),
        ("BatchSignature", {"results": [{"sig": b"a"}, {"problem": {"title": "t", "status": 1}}]}),
        ("BatchVerification", {"results": [{"valid": True}]}),
        ("JwsVerification", {"valid": False, "header": None, "payload": None}),
        ("JwkSet", {"keys": [{"kty": "OKP"}]}),
        ("Deletion", {"message": "Key deleted", "kid": "k", "deletes": 1_700_000_000_000_000_000}),
        ("Profiles", {"profiles": ["a", "b"]}),
        ("Key", {**ANSWERS["getKey"], "created": 1, "expires": None, "deletes": 2}),
    ],
)
def test_answers_are_written_as_the_schema_does(name, data):
    assert quick.dump(SCHEMAS[name], data) == SCHEMAS[name].dump(data)
