"""The OpenAPI document, as clients read it and readers of its page send its examples."""

import json
import re
from collections.abc import Iterator
from typing import Any

import referencing
from jsonschema import validators
from openapi_schema_validator import OAS30Validator, oas30_format_checker
from referencing.jsonschema import DRAFT4

PROFILE_HEADER = {"$ref": "#/components/parameters/Profile"}
METHODS = {"get", "post", "put", "patch", "delete"}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the method, the path and the operation of each call."""
    for path, item in document["paths"].items():
        for method in (method for method in item if method in METHODS):
            yield method.upper(), path, item[method]


def profile_of(document: dict[str, Any], name: str, *, named: str) -> str | None:
    """The profile of the call `name` without a header: `named` if the call names one.

    None if the call belongs to no profile.
    """
    for _, path, operation in operations(document):
        if operation["operationId"] == name:
            if PROFILE_HEADER in operation.get("parameters", ()):
                return "default"
            return named if re.match(r"/profile\b", path) else None
    raise KeyError(name)


def sent_in_turn(document: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any], Any]]:
    """Yield every call with each of its examples, in the order of Swagger UI.

    A call is its operationId, its method, its path, its query and its body.
    """
    tags = [tag["name"] for tag in document["tags"]]
    in_page_order = sorted(
        operations(document), key=lambda call: (tags.index(call[2]["tags"][0]), call[0] == "DELETE")
    )
    parameters = document["components"]["parameters"]
    for method, path, operation in in_page_order:
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


def _all_of(validator: Any, schemas: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """Take null beside `nullable`, which OpenAPI 3.0.0 has for any schema."""
    if instance is not None or not schema.get("nullable"):
        yield from OAS30Validator.VALIDATORS["allOf"](validator, schemas, instance, schema)


_Validator = validators.extend(OAS30Validator, {"allOf": _all_of})


def validator(document: dict[str, Any], schema: Any) -> Any:
    """Make a validator of a schema of the document."""
    registry = referencing.Registry().with_resource(
        "urn:document", DRAFT4.create_resource(document)
    )
    whole = json.loads(json.dumps(schema).replace('"#/', '"urn:document#/'))
    return _Validator(whole, registry=registry, format_checker=oas30_format_checker)
