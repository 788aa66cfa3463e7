"""The document: valid, complete, and true of the service that serves it."""

import json
import re

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator, validate

from minikms.encodings import b58, b64url_decode, multikey, thumbprint
from minikms.registry import AlgorithmRegistry
from minikms.web.examples import EXAMPLES
from minikms.web.openapi import error_classes
from minikms.web.routes import ROUTES

PROBLEM = "application/problem+json"
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
async def document(client):
    return await (await client.get("/openapi.json")).json()


def operations(document):
    for path, item in document["paths"].items():
        for method in METHODS & item.keys():
            yield method.upper(), path, item[method]


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


async def test_has_every_route(document):
    names = {operation["operationId"]: method for method, _, operation in operations(document)}
    assert names == {route.name: route.method for route in ROUTES}


async def test_operations_are_described(document):
    tags = {tag["name"] for tag in document["tags"]}
    for _, _, operation in operations(document):
        (tag,) = operation["tags"]
        assert tag in tags
        assert re.fullmatch(r"[A-Z][^.\n]+", operation["summary"])
        assert "200" in operation["responses"]
        assert "500" in operation["responses"]
        for status, response in operation["responses"].items():
            assert response["description"]
            assert "X-Request-Id" in response["headers"]
            kind = "application/json" if status == "200" else PROBLEM
            streams = operation["operationId"] == "listKeys" and status == "200"
            assert set(response["content"]) == {kind, *(["application/x-ndjson"] * streams)}


async def test_a_body_brings_its_refusals(document):
    with_body = [op for _, _, op in operations(document) if "requestBody" in op]
    assert len(with_body) == len(EXAMPLES)
    for operation in with_body:
        assert {"400", "413", "415", "422"} <= operation["responses"].keys()


async def test_alg_is_what_the_registry_has(document):
    names = AlgorithmRegistry.from_installed().names
    components = document["components"]
    assert components["schemas"]["GenerateKey"]["properties"]["alg"]["enum"] == names
    assert components["schemas"]["ImportKey"]["properties"]["alg"]["enum"] == names
    assert components["parameters"]["AlgFilter"]["schema"]["enum"] == names


async def test_jose_names_are_what_the_registry_has(document):
    names = AlgorithmRegistry.from_installed().signing_names
    assert {"EdDSA", "Ed25519", "ES256K", "PS512", "ML-DSA-87", "HS256"} <= set(names)
    for schema in ("SignRequest", "VerifyRequest", "BatchSignRequest", "SignJwsRequest"):
        assert document["components"]["schemas"][schema]["properties"]["alg"]["enum"] == names


async def test_every_algorithm_of_the_enum_is_generated(client, document):
    for alg in document["components"]["schemas"]["GenerateKey"]["properties"]["alg"]["enum"]:
        assert (await client.post("/key/generate", json={"alg": alg})).status == 200


async def test_nothing_of_the_docstrings_is_left(client):
    assert '"x-' not in await (await client.get("/openapi.json")).text()


async def test_patterns_are_those_of_ecma_262(document):
    patterns = set(every(document, "pattern"))
    assert patterns
    for pattern in patterns:
        assert pattern.startswith("^")
        assert pattern.endswith("$")
        assert r"\Z" not in pattern


async def test_components_are_used(document):
    used = set(every(document, "$ref"))
    for kind, group in document["components"].items():
        for name in group:
            assert f"#/components/{kind}/{name}" in used


async def test_problems_are_declared_by_slug(document):
    declared = set()
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            slugs = set(re.findall(r"`([a-z-]+)`", response["description"]))
            assert bool(slugs) == (status != "200")
            declared |= {(slug, int(status)) for slug in slugs}
    assert declared <= {(error.slug, error.status) for error in error_classes()}


async def test_problems_have_an_example_each(document):
    problem = document["components"]["schemas"]["Problem"]
    seen = set()
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            for slug, example in response["content"].get(PROBLEM, {}).get("examples", {}).items():
                assert example["value"]["type"] == f"urn:minikms:problem:{slug}"
                assert example["value"]["status"] == int(status)
                assert example["value"].keys() >= set(problem["required"])
                seen.add(slug)
    assert {"key-not-found", "validation-failed", "unsupported-operation"} <= seen


async def test_example_of_a_key_is_that_key(document):
    example = document["components"]["schemas"]["Key"]["example"]
    assert example["kid"] == thumbprint(example["jwk"])
    assert example["b58"] == b58(b64url_decode(example["jwk"]["x"]))
    assert example["multikey"] == multikey(0xED, b64url_decode(example["jwk"]["x"]))
    assert example["did"] == f"did:key:{example['multikey']}"


def sent_in_turn(document):
    """Every call with each of its examples: keys are imported first, and deleted last."""
    last = ["dissociateAlias", "rotateKey", "deleteKey", "revokeToken", "deleteProfile"]
    turn = {"importKey": -2, **{name: number for number, name in enumerate(last)}}
    parameters = document["components"]["parameters"]
    calls = sorted(operations(document), key=lambda call: turn.get(call[2]["operationId"], -1))
    for method, path, operation in calls:
        query = {}
        for ref in operation.get("parameters", ()):
            parameter = parameters[ref["$ref"].rpartition("/")[2]]
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
            elif parameter["required"]:
                query[parameter["name"]] = parameter["example"]
        body = operation.get("requestBody", {"content": {"application/json": {}}})
        examples = body["content"]["application/json"].get("examples", {"": {"value": None}})
        for example in examples.values():
            yield operation["operationId"], method, path, query, example["value"]


async def test_examples_work_when_they_are_sent(client, document):
    revoked = ""
    for name, method, path, query, example in sent_in_turn(document):
        if name == "revokeToken":  # its id is random
            path = f"/tokens/{revoked}"
        async with client.request(method, path, params=query, json=example) as answer:
            body = await answer.json()
            assert answer.status == 200, (name, body)
        if name == "createToken":
            revoked = body["record"]["id"]
        if "valid" in body:
            assert body["valid"] is True, name
        if "success" in body:
            assert body["success"] is True, name
        for result in body.get("results", ()) if isinstance(body, dict) else ():
            assert result.keys() <= {"sig", "valid"}
            assert result.get("valid", True), name


async def test_swagger_ui_has_the_same_document(client, document):
    shown = json.loads(await (await client.get("/docs/swagger.json")).text())
    assert shown == document
