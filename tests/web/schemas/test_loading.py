"""Bodies are loaded and dumped by their fields as by marshmallow, or left to marshmallow."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

from minikms.web.openapi import read_examples
from minikms.web.routes import ROUTES
from minikms.web.schemas.base import Body

KINDS = {kind for route in ROUTES for kind in route.schemas}
SCHEMAS = {kind.__name__: kind() for kind in KINDS}
EXAMPLES = read_examples()


def schema_of(route, body):
    """The name of the schema of an example: the other one of its call if that has its fields."""
    is_other = route.other and body.keys() <= set(SCHEMAS[route.other[0].__name__].fields)
    return (route.other[0] if is_other else route.body).__name__


BODIES = [
    (schema_of(route, body), body)
    for route in ROUTES
    if route.body
    for body in EXAMPLES[route.name]["requests"].values()
]
REQUESTS = {name: [body for other, body in BODIES if other == name] for name, _ in BODIES}

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from(["aGVsbG8=", "aGVsbG8", "a", "====", "a b", "raw", "der", "EdDSA", "public"]),
    st.sampled_from(
        [
            "x" * 128,
            "x" * 129,
            "x" * 512,
            "x" * 513,
            "x" * 4096,
            "x" * 4097,
            "a\n",
            "\ud800",
            "a+/b",
        ]
    ),
    st.lists(st.dictionaries(st.sampled_from(["data", "sig", "x"]), st.text(max_size=3))),
    st.dictionaries(st.text(max_size=2), st.none(), max_size=2),
)
NAMES = st.sampled_from(
    sorted({name for kind in SCHEMAS.values() for name in kind.load_fields} | {"other"})
)
CHANGES = st.dictionaries(NAMES, VALUES, max_size=3)


def load_by_marshmallow(name, document):
    try:
        return Schema.load(SCHEMAS[name], document)
    except ValidationError:
        return None


def load_by_fields(name, document):
    try:
        return SCHEMAS[name].read(document)
    except (ValueError, ValidationError):
        return None


def test_answers_of_frequent_calls_are_dumped_by_their_fields():
    for name in ("Signature", "Verification", "BatchSignature", "EncryptedData", "Key"):
        assert all(hasattr(field, "write") for field in SCHEMAS[name].dump_fields.values())


@pytest.mark.parametrize(("name", "body"), BODIES)
def test_a_valid_body_is_loaded(name, body):
    taken = load_by_fields(name, body)
    assert taken is not None
    assert taken == load_by_marshmallow(name, body)


@pytest.mark.parametrize("name", REQUESTS)
@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_body_that_is_loaded_is_valid(name, data):
    body = data.draw(st.sampled_from(REQUESTS[name]))
    left_out = data.draw(st.sets(st.sampled_from(sorted(body))))
    changes = data.draw(CHANGES)
    document = {k: v for k, v in body.items() if k not in left_out} | changes
    taken = load_by_fields(name, document)
    assert taken is None or taken == load_by_marshmallow(name, document)


@pytest.mark.parametrize("document", [None, [], "x", 1, True])
def test_a_body_that_is_no_object_is_left_to_marshmallow(document):
    for name in REQUESTS:
        assert load_by_fields(name, document) is None
        with pytest.raises(ValidationError):
            SCHEMAS[name].load(document)


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
        ("ProfileNames", {"profiles": ["a", "b"]}),
        ("Key", {**EXAMPLES["getKey"]["answer"], "created": 1, "deletes": 2, "last_used": 3}),
    ],
)
def test_answers_are_dumped_as_by_marshmallow(name, data):
    # By its fields; a key also leaves out absent values.
    assert Body.dump(SCHEMAS[name], data) == Schema.dump(SCHEMAS[name], data)
