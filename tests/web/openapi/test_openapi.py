"""The document: valid, complete, and true of the service that serves it."""

import json
import re
from pathlib import Path

import pytest
from marshmallow import ValidationError
from openapi_spec_validator import OpenAPIV30SpecValidator, validate
from problems import refused
from web.openapi.openapi_document import operations, validator

from minikms.plugin.registry import AlgorithmRegistry
from minikms.web.responses import error_classes
from minikms.web.routes import ROUTES

PROBLEM = "application/problem+json"
BODIES = {route.body.__name__: route.body for route in ROUTES if route.body}


@pytest.fixture
async def document(profile_client):
    return await (await profile_client.get("/openapi.json")).json()


def every(node, key):
    """Each value that stands under `key` anywhere below."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        for child in node.values():
            yield from every(child, key)
    elif isinstance(node, list):
        for child in node:
            yield from every(child, key)


async def test_is_valid_openapi_3_0(document):
    assert document["openapi"].startswith("3.0.")
    validate(document, cls=OpenAPIV30SpecValidator)


OTHER_FORMS = {
    "listKeys": ["application/x-ndjson"],
    "getKey": ["application/x-pem-file"],
    "findKey": ["application/x-pem-file"],
}


async def test_the_document_has_every_route(document):
    names = {operation["operationId"]: method for method, _, operation in operations(document)}
    assert names == {route.name: route.method for route in ROUTES}


async def test_every_operation_is_described(document):
    tags = {tag["name"] for tag in document["tags"]}
    for _, _, operation in operations(document):
        (tag,) = operation["tags"]
        assert tag in tags
        assert re.fullmatch(r"[A-Z][^.\n]+", operation["summary"])
        assert {"200", "default"} <= operation["responses"].keys()
        for status, response in operation["responses"].items():
            assert response["description"]
            assert "X-Request-Id" in response["headers"]
            if status == "304":
                assert response["content"] == {}
                continue
            kind = "application/json" if status == "200" else PROBLEM
            others = OTHER_FORMS.get(operation["operationId"], ()) if status == "200" else ()
            # In this order: a generated client reads the first.
            assert list(response["content"]) == [kind, *others]


async def test_a_body_brings_its_refusals(document):
    with_body = [op for _, _, op in operations(document) if "requestBody" in op]
    assert len(with_body) == len(BODIES)
    for operation in with_body:
        slugs = {slug for slug, _ in problems(operation)}
        assert {"malformed-json", "body-too-large", "unsupported-media-type"} <= slugs
        assert "validation-failed" in slugs


async def test_the_enum_of_algorithms_is_the_registry(document):
    names = AlgorithmRegistry.from_installed().names
    schemas = document["components"]["schemas"]
    assert schemas["AlgorithmName"]["enum"] == names
    there = {"$ref": "#/components/schemas/AlgorithmName"}
    assert schemas["GenerateKey"]["properties"]["alg"]["allOf"] == [there]
    assert schemas["ImportKeyWithSeed"]["properties"]["alg"]["allOf"] == [there]
    assert document["components"]["parameters"]["AlgFilter"]["schema"] == there


async def test_the_enum_of_jose_names_is_the_registry(document):
    names = AlgorithmRegistry.from_installed().signing_names
    assert {"EdDSA", "Ed25519", "ES256K", "PS512", "ML-DSA-87", "HS256"} <= set(names)
    schemas = document["components"]["schemas"]
    assert schemas["JoseName"]["enum"] == names
    for schema in ("SignRequest", "VerifyRequest", "BatchSignRequest", "SignJwsRequest"):
        alg = schemas[f"{schema}WithKid"]["properties"]["alg"]
        assert list(every(alg, "$ref")) == ["#/components/schemas/JoseName"]


async def test_the_only_extension_marks_the_texts_that_stand_for_bytes(client):
    text = await (await client.get("/openapi.json")).text()
    assert set(re.findall(r'"(x-[^"]*)"', text)) == {"x-bytes"}
    schemas = json.loads(text)["components"]["schemas"]
    for schema, member in (
        ("SignRequestWithKid", "data"),
        ("BatchSignItem", "data"),
        ("Signature", "sig"),
        ("CoseMessage", "cose"),
    ):
        assert schemas[schema]["properties"][member]["x-bytes"] is True


async def test_the_type_of_a_problem_is_one_of_all_slugs(document):
    schemas = document["components"]["schemas"]
    slugs = {error.slug for error in error_classes()}
    assert schemas["ProblemType"]["enum"] == [
        f"urn:minikms:problem:{error.slug}" for error in error_classes()
    ]
    assert {"key-not-found", "rule-violated", "audit-unavailable"} <= slugs


async def test_patterns_are_valid_in_ecma_262(document):
    patterns = set(every(document, "pattern"))
    assert patterns
    for pattern in patterns:
        assert pattern.startswith("^")
        assert pattern.endswith("$")
        assert r"\Z" not in pattern


async def test_every_component_is_used(document):
    used = set(every(document, "$ref"))
    for kind, group in document["components"].items():
        for name in group:
            assert f"#/components/{kind}/{name}" in used


def problems(operation):
    """Slug and status of each problem that an operation names."""
    for status, response in operation["responses"].items():
        if status == "default":
            for group in response["description"].partition(": ")[2].split("; "):
                slugs = re.findall(r"`([a-z-]+)`", group)
                assert slugs
                yield from ((slug, int(group.split()[0])) for slug in slugs)
        elif status != "200":
            for slug in re.findall(r"`([a-z-]+)`", response["description"]):
                yield slug, int(status)


async def test_problems_are_declared_by_slug(document):
    known = {(error.slug, error.status) for error in error_classes()}
    for _, _, operation in operations(document):
        declared = list(problems(operation))
        assert len(declared) == len(set(declared))
        assert set(declared) <= known
        assert ("internal-error", 500) in declared


async def test_a_problem_that_is_not_the_operations_own_is_in_the_default(document):
    for _, _, operation in operations(document):
        name, own = operation["operationId"], set(operation["responses"]) - {"200", "default"}
        assert len(own) <= 4, name
        assert {status for status in own if status >= "500"} == (
            {"503"} if name == "readyz" else set()
        )
        assert own.isdisjoint({"401", "408", "413", "415"}), name


async def test_problems_have_an_example_each(document):
    schema = document["components"]["schemas"]["Problem"]
    examples = document["components"]["examples"]
    seen = set()
    for _, _, operation in operations(document):
        named = set()
        for response in operation["responses"].values():
            for slug, there in response["content"].get(PROBLEM, {}).get("examples", {}).items():
                assert there == {"$ref": f"#/components/examples/{slug}"}
                value = examples[slug]["value"]
                assert value["type"] == f"urn:minikms:problem:{slug}"
                assert value.keys() >= set(schema["required"])
                named.add((slug, value["status"]))
        assert named == set(problems(operation))
        seen |= {slug for slug, _ in named}
    assert seen == examples.keys()
    assert {"key-not-found", "validation-failed", "unsupported-operation"} <= seen


async def test_examples_are_of_their_schemas(document):
    for _, _, operation in operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for body in (*bodies, *operation["responses"].values()):
            for content in body["content"].values():
                values = [content["example"]] if "example" in content else []
                for example in content.get("examples", {}).values():
                    named = example.get("$ref", "").rpartition("/")[2]
                    found = document["components"]["examples"][named] if named else example
                    values.append(found["value"])
                assert values
                for value in values:
                    validator(document, content["schema"]).validate(value)


async def test_a_field_that_may_be_left_out_has_no_default(document):
    """A generated client would send the default, or require the field."""
    responses = [operation["responses"]["default"] for _, _, operation in operations(document)]
    assert [found for found in every(document, "default") if found not in responses] == []


async def test_nullable_values_may_be_null(document):
    """Of an enum that has nothing but null, orval makes TypeScript that does not compile."""
    assert [None] not in every(document, "enum")
    key = document["components"]["schemas"]["Key"]["properties"]
    assert key["jwk"]["nullable"] is key["did"]["nullable"] is True


async def test_no_schema_has_the_name_of_a_property_of_its_own(document):
    """Python that is made of it would have one name for the class and for its attribute's type."""
    for name, schema in document["components"]["schemas"].items():
        assert name.lower() not in schema.get("properties", {})


async def test_a_schema_has_a_type(document):
    """A schema with only `required` has no type, and generators make none of it."""
    for name, schema in document["components"]["schemas"].items():
        if "oneOf" in schema:
            assert schema.keys() == {"description", "oneOf"}
            assert [form["$ref"].partition(f"/{name}With")[1] for form in schema["oneOf"]] == [
                f"/{name}With"
            ] * len(schema["oneOf"])
        else:
            assert "type" in schema, name
            assert schema.keys().isdisjoint({"anyOf", "allOf", "not"}), name


WRONG = [
    ("SignRequest", {"data": ""}),
    ("SignRequest", {"data": "", "kid": "a", "alias": "a"}),
    ("SignRequest", {"kid": "a"}),
    ("VerifyRequest", {"data": "", "sig": "", "kid": "a", "jwk": {}}),
    ("ImportKey", {"alg": "hs256"}),
    ("ImportKey", {"secret": ""}),
    ("ImportKey", {"alg": "hs256", "secret": "", "seed": ""}),
    ("ImportKey", {"alg": "hs256", "wrapped": ""}),
    ("ImportKey", {"jwk": {}, "unwrap_kid": "a"}),
    ("UpdateKey", {}),
]


@pytest.mark.parametrize(("schema", "body"), WRONG)
async def test_the_document_and_the_service_refuse_the_same(document, schema, body):
    assert not validator(document, document["components"]["schemas"][schema]).is_valid(body)
    with pytest.raises(ValidationError):
        BODIES[schema]().load(body)


async def test_the_page_explains_its_words(document):
    text = document["info"]["description"]
    for word in ("base64url", "kid", "alias", "profile"):
        assert f"| **{word}** | " in text
    assert "](" not in text  # the documents are a site of their own


async def test_swagger_ui_has_the_same_document(client, document):
    shown = json.loads(await (await client.get("/docs/swagger.json")).text())
    assert shown == document


async def test_the_files_of_swagger_ui_are_sent(client):
    index = await (await client.get("/docs/")).text()
    files = re.findall(r'"\./(swagger_ui_static/[^"]+)"', index)
    assert {Path(file).suffix for file in files} == {".css", ".js", ".png"}
    for file in files:
        async with client.get(f"/docs/{file}") as answer:
            assert answer.status == 200, file


@pytest.mark.parametrize("path", ["", "/", "/nothing.js", "/%2e%2e/routes.py"])
async def test_unknown_files_of_swagger_ui_are_not_found(client, path):
    async with client.get(f"/docs/swagger_ui_static{path}") as answer:
        await refused(answer, 404, "route-not-found")
