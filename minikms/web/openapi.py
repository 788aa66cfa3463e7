"""The OpenAPI document: made from routes, handlers' docstrings, schemas, errors and registry."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from minikms import errors
from minikms.registry import AlgorithmRegistry
from minikms.web import schemas
from minikms.web.logs import HEADER as REQUEST_ID_HEADER
from minikms.web.messages import PROFILE_HEADER
from minikms.web.problems import CONTENT_TYPE, problem
from minikms.web.routes import Route

TAGS: Final = (
    {"name": "keys", "description": "Make, look up, list, name and delete keys."},
    {"name": "operations", "description": "Use a key without ever seeing it."},
    {"name": "profiles", "description": "Tenants: no profile sees another's keys."},
    {"name": "system", "description": "The service itself."},
)

_BODY_PROBLEMS: Final = (
    "malformed-json",
    "bad-request",
    "body-too-large",
    "unsupported-media-type",
    "validation-failed",
)
_PROFILE_PROBLEMS: Final = ("profile-not-found", "store-unavailable")


def error_classes() -> Iterator[type[errors.KmsError]]:
    """Every error that has a slug, in the order of errors.py."""
    yield from errors.KmsError.__subclasses__()


def components(registry: AlgorithmRegistry) -> dict[str, Any]:
    """Schemas and parameters, which the routes refer to when they are added."""
    spec = APISpec("", "", "3.0.3", plugins=[MarshmallowPlugin(_schema_name)])
    for schema in (*schemas.REQUESTS, *schemas.ANSWERS):
        spec.components.schema(_schema_name(schema), schema=schema)
    made: dict[str, Any] = spec.to_dict()["components"]
    for schema in (*schemas.REQUESTS, *schemas.ANSWERS):
        _finish_schema(made["schemas"][_schema_name(schema)], schema)
    made["schemas"]["GenerateKey"]["properties"]["alg"]["enum"] = registry.names
    made["parameters"] = _parameters()
    return made


def complete(spec: dict[str, Any], routes: Iterable[Route], registry: AlgorithmRegistry) -> None:
    """Add to `spec`, once the routes are in it, what their docstrings leave to be derived."""
    handlers = {route.name: route for route in routes}
    for route in handlers.values():
        path = route.path.partition(":")[0] + "}" + route.path.rpartition("}")[2]
        operation = spec["paths"][path if "{" in route.path else route.path][route.method.lower()]
        _complete_operation(operation, route)
    spec["tags"] = list(TAGS)
    # Not before: aiohttp-swagger3 would hold the algorithm to the spelling of the enum, and
    # check of two profiles only the first.
    parameters = spec["components"]["parameters"]
    parameters["AlgFilter"]["schema"]["enum"] = registry.names
    parameters["Profile"]["schema"]["pattern"] = schemas.PROFILE_PATTERN
    _publish_patterns(spec)


def _schema_name(schema: Any) -> str:
    cls = schema if isinstance(schema, type) else type(schema)
    return cls.__name__


def _finish_schema(made: dict[str, Any], schema: type[Schema]) -> None:
    made["description"] = inspect.getdoc(schema)
    if issubclass(schema, schemas.Request):
        made["additionalProperties"] = False
    if hasattr(schema, "example"):
        made["example"] = schema.example
    if issubclass(schema, schemas.KeyRefSchema):
        made["oneOf"] = [{"required": ["kid"]}, {"required": ["alias"]}]


def _parameters() -> dict[str, Any]:
    def parameter(name: str, place: str, description: str, **schema: Any) -> dict[str, Any]:
        return {
            "name": name,
            "in": place,
            "required": place == "path",
            "description": description,
            "schema": schema,
        }

    alias = {"type": "string", "pattern": schemas.ALIAS_PATTERN}
    profile = {"type": "string", "pattern": schemas.PROFILE_PATTERN}
    return {
        "Profile": parameter(
            PROFILE_HEADER, "header", 'The profile; without it, "default".', type="string"
        ),
        "ProfileName": parameter("name", "path", "The profile.", **profile),
        "Kid": parameter("kid", "path", "The key.", type="string", pattern=schemas.KID_PATTERN),
        "Alias": {**parameter("alias", "query", "The alias.", **alias), "required": True},
        "AliasFilter": parameter("alias", "query", "Only the key with this alias.", **alias),
        "AlgFilter": parameter("alg", "query", "Only keys of this algorithm.", type="string"),
        "Limit": parameter(
            "limit", "query", "How many at most.", type="integer", minimum=1, maximum=1000,
            default=100,
        ),
        "After": parameter(
            "after", "query", "The cursor that the Link header of the page before has.",
            type="string", pattern=schemas.CURSOR_PATTERN,
        ),
    }  # fmt: skip


def _complete_operation(operation: dict[str, Any], route: Route) -> None:
    operation["operationId"] = route.name
    operation["summary"] = (inspect.getdoc(route.handler) or "").partition("\n")[0].rstrip(".")
    slugs = list(operation.pop("x-problems", []))
    parameters = [ref["$ref"].rpartition("/")[2] for ref in operation.get("parameters", [])]
    if parameters:
        slugs.append("validation-failed")
    if "Profile" in parameters:
        slugs.extend(_PROFILE_PROBLEMS)
    body = operation.pop("x-body", None)
    if body is not None:
        slugs.extend(_BODY_PROBLEMS)
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(body)}},
        }
    for response in operation["responses"].values():
        answer = response.pop("x-answer", None)
        if answer is not None:
            schema = _ref(answer)
            if isinstance(answer, list):
                schema = {"type": "array", "items": _ref(answer[0])}
            response["content"] = {"application/json": {"schema": schema}}
    operation["responses"].update(_problem_responses({*slugs, "internal-error"}))
    for response in operation["responses"].values():
        response.setdefault("headers", {})[REQUEST_ID_HEADER] = {
            "description": "The id of the request, as in the log.",
            "schema": {"type": "string"},
        }


def _problem_responses(slugs: set[str]) -> dict[str, Any]:
    by_status: dict[str, list[type[errors.KmsError]]] = {}
    for error in error_classes():
        if error.slug in slugs:
            by_status.setdefault(str(error.status), []).append(error)
    responses: dict[str, Any] = {
        status: {
            "description": "; ".join(f"`{error.slug}`: {error.title}" for error in group) + ".",
            "content": {
                CONTENT_TYPE: {
                    "schema": _ref("Problem"),
                    "examples": {error.slug: {"value": problem(error())} for error in group},
                }
            },
        }
        for status, group in by_status.items()
    }
    if "503" in responses:
        responses["503"]["headers"] = {
            "Retry-After": {
                "description": "Seconds to wait (RFC 9110 section 10.2.3).",
                "schema": {"type": "integer"},
            }
        }
    return responses


def _ref(name: Any) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _publish_patterns(node: Any) -> None:
    """Write the end of each pattern as OpenAPI has it: Python's `$` lets a newline through."""
    if isinstance(node, dict):
        pattern = node.get("pattern")
        if isinstance(pattern, str):
            node["pattern"] = pattern.replace(r"\Z", "$")
    children: Iterable[Any] = node.values() if isinstance(node, Mapping) else ()
    for child in node if isinstance(node, list) else children:
        _publish_patterns(child)
