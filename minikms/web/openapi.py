"""The OpenAPI document: made from routes, handlers' docstrings, schemas, errors and registry."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import Schema

from minikms import durations, errors
from minikms.access import OPEN
from minikms.registry import AlgorithmRegistry
from minikms.tokens import ID_PATTERN
from minikms.web import fields, schemas
from minikms.web.answers import CACHE_CONTROL, NO_STORE
from minikms.web.examples import ALIAS, ANSWERS, EXAMPLES, HOLDER, KID, PROFILE
from minikms.web.logs import HEADER as REQUEST_ID_HEADER
from minikms.web.messages import PROFILE_HEADER
from minikms.web.problems import CONTENT_TYPE, problem
from minikms.web.routes import Route

TAGS: Final = (
    {"name": "keys", "description": "Make, look up, list, name and delete keys."},
    {"name": "operations", "description": "Use a key without ever seeing it."},
    {"name": "jose", "description": "The same, in the forms of JOSE."},
    {"name": "profiles", "description": "Tenants: no profile sees another's keys."},
    {"name": "tokens", "description": "Who is let in, and for what."},
    {"name": "system", "description": "The service itself."},
)

_BODY_PROBLEMS: Final = (
    "malformed-json",
    "bad-request",
    "request-timeout",
    "body-too-large",
    "unsupported-media-type",
    "validation-failed",
)
_TOKEN_PROBLEMS: Final = ("unauthenticated", "forbidden", "too-many-attempts", "store-unavailable")
_TOKEN_SCHEME: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of Mini KMS, or a JWT of the operator's identity provider.",
}
_PROFILE_PROBLEMS: Final = ("profile-not-found", "store-unavailable")


def error_classes() -> Iterator[type[errors.KmsError]]:
    """Every error that has a slug, in the order of errors.py."""
    yield from errors.KmsError.__subclasses__()


def components() -> dict[str, Any]:
    """The parameters, which the routes refer to when they are added."""
    return {"parameters": _parameters(), "schemas": {}}


def complete(
    spec: dict[str, Any], routes: Iterable[Route], registry: AlgorithmRegistry, *, guarded: bool
) -> None:
    """Add to `spec`, once the routes are in it, what their docstrings leave to be derived.

    `guarded` says that callers need a token.
    """
    bodies = {"Problem"}
    for route in routes:
        operation = spec["paths"][_path(route)][route.method.lower()]
        bodies |= _complete_operation(operation, route, guarded=guarded)
    spec["tags"] = list(TAGS)
    if guarded:
        spec["components"]["securitySchemes"] = {"token": _TOKEN_SCHEME}
    spec["components"]["schemas"] = _schemas(bodies)
    parameters = spec["components"]["parameters"]
    # Not before: aiohttp-swagger3 would hold the algorithm to the spelling of the enum, and
    # check of two profiles only the first.
    parameters["AlgFilter"]["schema"]["x-enum"] = "algorithms"
    parameters["Profile"]["schema"]["pattern"] = fields.PROFILE_PATTERN
    _publish(spec, {"algorithms": registry.names, "jose": registry.signing_names})


def has_parameters(spec: Mapping[str, Any], route: Route) -> bool:
    """Whether a route, which is in `spec`, has any but the profile, which its handler judges."""
    operation = spec["paths"][_path(route)][route.method.lower()]
    profile = {"$ref": "#/components/parameters/Profile"}
    return any(parameter != profile for parameter in operation.get("parameters", ()))


def _path(route: Route) -> str:
    """The path of a route as the document has it: without expressions."""
    return re.sub(r"{(\w+):[^{}]*}", r"{\1}", route.path)


def _schemas(names: Iterable[str]) -> dict[str, Any]:
    """The schemas of these names, and those that they nest, as components."""
    spec = APISpec(
        "", "", "3.0.3", plugins=[MarshmallowPlugin(lambda cls: _class_of(cls).__name__)]
    )
    for name in sorted(names):
        if name not in spec.components.schemas:  # nested in one before
            spec.components.schema(name, schema=getattr(schemas, name))
    made: dict[str, Any] = spec.components.schemas
    for name, component in made.items():
        schema = getattr(schemas, name)
        component["description"] = inspect.getdoc(schema)
        if name in ANSWERS:
            component["example"] = ANSWERS[name]
        if issubclass(schema, schemas.Request):
            component["additionalProperties"] = False
            if schema.one_of:
                component["oneOf"] = [{"required": list(names)} for names in schema.one_of]
            if schema.any_of:
                component["anyOf"] = [{"required": [name]} for name in schema.any_of]
    return made


def _class_of(schema: Any) -> type[Schema]:
    return schema if isinstance(schema, type) else type(schema)


def _parameters() -> dict[str, Any]:
    def parameter(name: str, place: str, description: str, **schema: Any) -> dict[str, Any]:
        return {
            "name": name,
            "in": place,
            "required": place == "path",
            "description": description,
            "schema": schema,
        }

    alias = {"type": "string", "pattern": fields.ALIAS_PATTERN}
    profile = {"type": "string", "pattern": fields.PROFILE_PATTERN}
    return {
        "Profile": parameter(
            PROFILE_HEADER, "header", 'The profile; without it, "default".', type="string"
        ),
        "ProfileName": {
            **parameter("name", "path", "The profile.", **profile),
            "example": PROFILE,
        },
        "ProfileQuery": parameter(
            "profile", "query", "The profile; without it, that of the header.", **profile
        ),
        "Kid": {
            **parameter("kid", "path", "The key.", type="string", pattern=fields.KID_PATTERN),
            "example": KID,
        },
        "Token": {
            **parameter("token", "path", "The token's id.", type="string", pattern=ID_PATTERN),
            "example": HOLDER,
        },
        "Alias": {
            **parameter("alias", "query", "The alias.", **alias),
            "required": True,
            "example": ALIAS,
        },
        "AliasFilter": parameter("alias", "query", "Only the key with this alias.", **alias),
        "AlgFilter": parameter("alg", "query", "Only keys of this algorithm.", type="string"),
        "Limit": parameter(
            "limit", "query", "How many at most.", type="integer", minimum=1, maximum=1000,
            default=100,
        ),
        "After": parameter(
            "after", "query", "The cursor that the Link header of the page before has.",
            type="string", pattern=fields.CURSOR_PATTERN,
        ),
        "DeleteAfter": parameter(
            "after", "query", "How long it is kept, up to 365 days; without it, it is gone now.",
            type="string", pattern=durations.PATTERN,
        ),
        "LabelFilter": {
            **parameter(
                "label", "query", "Only keys with this label; all of them, if several.",
                type="array", items={"type": "string", "pattern": fields.LABEL_PATTERN},
            ),
            "style": "form",
            "explode": True,
        },
    }  # fmt: skip


def _complete_operation(operation: dict[str, Any], route: Route, *, guarded: bool) -> set[str]:
    """Derive the rest of an operation, and tell which schemas it refers to."""
    bodies = set()
    operation["operationId"] = route.name
    operation["summary"] = (inspect.getdoc(route.handler) or "").partition("\n")[0].rstrip(".")
    slugs = list(operation.pop("x-problems", []))
    if route.scope != OPEN:
        slugs.append("audit-unavailable")
        operation["description"] = f"Scope: `{route.scope}`."
    if guarded and route.scope != OPEN:
        operation["security"] = [{"token": []}]
        slugs.extend(_TOKEN_PROBLEMS)
    if not guarded:
        slugs.append("misdirected-request")
    for name in operation.pop("x-parameters", []):
        operation["parameters"].append({"$ref": f"#/components/parameters/{name}"})
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
            "content": {
                "application/json": {
                    "schema": _ref(body),
                    "examples": {
                        title: {"summary": title, "value": example}
                        for title, example in EXAMPLES[body].items()
                    },
                }
            },
        }
        bodies.add(body)
    for response in operation["responses"].values():
        answer = response.pop("x-answer", None)
        if answer is not None:
            name = answer[0] if isinstance(answer, list) else answer
            schema = {"type": "array", "items": _ref(name)} if name is not answer else _ref(name)
            bodies.add(name)
            response.setdefault("content", {})["application/json"] = {"schema": schema}
    if route.name != "healthz":
        slugs.append("too-busy")
    operation["responses"].update(_problem_responses({*slugs, "internal-error"}))
    if route.secret:
        operation["responses"]["200"]["headers"] = {
            CACHE_CONTROL: {
                "description": f"`{NO_STORE}`: the answer has a secret in it.",
                "schema": {"type": "string"},
            }
        }
    for response in operation["responses"].values():
        response.setdefault("headers", {})[REQUEST_ID_HEADER] = {
            "description": "The id of the request, as in the log.",
            "schema": {"type": "string"},
        }
    return bodies


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


def _publish(node: Any, enums: Mapping[str, list[str]]) -> None:
    """Fill in the enums, and end each pattern as OpenAPI has it: Python's `$` is too generous."""
    if isinstance(node, dict):
        pattern = node.get("pattern")
        if isinstance(pattern, str):
            node["pattern"] = pattern.replace(r"\Z", "$")
        if "x-enum" in node:
            node["enum"] = enums[node.pop("x-enum")]
        if node.get("type") == "object" and "maxLength" in node:
            node["maxProperties"] = node.pop("maxLength")  # apispec has one word for both
    children: Iterable[Any] = node.values() if isinstance(node, Mapping) else ()
    for child in node if isinstance(node, list) else children:
        _publish(child, enums)
