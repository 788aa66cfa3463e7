"""The OpenAPI document: made from routes, handlers' docstrings, schemas, errors and registry."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from minikms import errors
from minikms.access.policy import OPEN
from minikms.http.answers import CACHE_CONTROL, NO_STORE
from minikms.http.logs import REQUEST_ID_HEADER
from minikms.http.problems import CONTENT_TYPE, problem
from minikms.plugin.registry import AlgorithmRegistry
from minikms.records import PROFILE_PATTERN
from minikms.web.components import parameter_components, ref, schema_components
from minikms.web.messages import NDJSON
from minikms.web.routes import Route
from minikms.web.schemas.examples import ANSWERS, EXAMPLES
from minikms.web.schemas.system_bodies import Algorithm

# In the order of the page: no tag needs what one above it deletes.
TAGS: Final = (
    {"name": "keys", "description": "Make, look up, list, name and delete keys."},
    {"name": "operations", "description": "Use a key without ever seeing it."},
    {"name": "boxes", "description": "Encrypt from one key pair to another, as NaCl does."},
    {"name": "didcomm", "description": "The envelope of DIDComm v1 messages."},
    {
        "name": "encapsulation",
        "description": "Share secrets with, and encrypt to, who has a key pair.",
    },
    {"name": "jose", "description": "The same, in the forms of JOSE."},
    {"name": "profiles", "description": "Tenants: no profile sees another's keys."},
    {"name": "tokens", "description": "Who is authorized, and for what."},
    {"name": "system", "description": "The service itself."},
)

_DESCRIPTION: Final = """\
Makes keys, keeps them, and uses them, so that you never hold them.

| Word | Meaning |
|---|---|
| **base64url** | Bytes as text: `A-Z a-z 0-9 - _` (RFC 4648 section 5). `aGVsbG8=` is `hello`. \
Taken with `=` at the end or without, given with it. |
| **kid** | The id of a key, which the service makes: of a key pair it is the SHA-256 thumbprint \
of the public JWK (RFC 7638), of a symmetric key it is random. |
| **alias** | A name that you give to a key, such as a DID URL. In a body it stands in \
place of the `kid`. |
| **profile** | A tenant. The header `X-Profile` picks one; without it, it is `default`. |

"""
_HELP: Final = """\
Each example works as it stands, from the top of the page to its end. Where it names a key that \
is not there, this page imports that key first: it is an example of `POST /key/import`.

"""
_GUARDED_HELP: Final = """\
Calls need a token: **Authorize** takes it. Each example works as it stands, from the top of the \
page to its end, once the examples of `POST /key/import` are imported.

"""

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
    """Every error of the service's own API, in the order of errors.py."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.KmsError) and "slug" in vars(kind):
            yield kind


def components() -> dict[str, Any]:
    """The parameters, which the routes refer to when they are added."""
    return {"parameters": parameter_components(), "schemas": {}}


def complete(
    spec: dict[str, Any],
    routes: Iterable[Route],
    registry: AlgorithmRegistry,
    *,
    guarded: bool,
    documents: Mapping[str, str],
) -> None:
    """Complete a document that has the routes: derive what their docstrings leave out.

    `guarded` says that callers need a token; `documents` has a URL for the name of each that the
    page is to link.
    """
    links = " · ".join(f"[{name}]({url})" for name, url in documents.items())
    spec["info"]["description"] = _DESCRIPTION + (_GUARDED_HELP if guarded else _HELP) + links
    bodies: set[str] = {"Problem"}
    slugs: set[str] = set()
    answers = {
        **ANSWERS,
        "listAlgorithms": Algorithm().dump(list(registry)[:2], many=True),
        "openapi": {
            "openapi": spec["openapi"],
            "info": {name: spec["info"][name] for name in ("title", "version")},
            "paths": {},
        },
    }
    for route in routes:
        operation = spec["paths"][_path(route)][route.method.lower()]
        _complete_operation(operation, route, bodies, slugs, guarded=guarded)
        _add_examples(operation["responses"]["200"]["content"], answers[route.name])
    spec["tags"] = list(TAGS)
    parts = spec["components"]
    if guarded:
        parts["securitySchemes"] = {"token": _TOKEN_SCHEME}
    parts["headers"] = _headers()
    parts["examples"] = {
        error.slug: {"value": problem(error())} for error in error_classes() if error.slug in slugs
    }
    # Not before the routes are added: aiohttp-swagger3 would accept an algorithm only as the enum
    # spells it, and of two profiles check only the first.
    parts["parameters"]["AlgFilter"]["schema"]["x-component"] = "AlgorithmName"
    parts["parameters"]["Profile"]["schema"]["pattern"] = PROFILE_PATTERN
    enums = {"AlgorithmName": registry.names, "JoseName": registry.signing_names}
    parts["schemas"] = schema_components(bodies, enums, parts["parameters"])
    _publish(spec)


def query_parameters(spec: Mapping[str, Any], route: Route) -> dict[str, bool]:
    """The query parameters of a route of `spec`, by name; whether each may be repeated."""
    operation = spec["paths"][_path(route)][route.method.lower()]
    names = [_component(one) for one in operation.get("parameters", ())]
    names += operation.get("x-parameters", ())
    parameters = [spec["components"]["parameters"][name] for name in names]
    return {
        one["name"]: one["schema"]["type"] == "array" for one in parameters if one["in"] == "query"
    }


def has_parameters(spec: Mapping[str, Any], route: Route) -> bool:
    """Whether a route of `spec` has a parameter besides the profile, which its handler checks."""
    operation = spec["paths"][_path(route)][route.method.lower()]
    profile = ref("parameters", "Profile")
    return any(parameter != profile for parameter in operation.get("parameters", ()))


def _path(route: Route) -> str:
    """The path of a route in the document: without regular expressions."""
    return re.sub(r"{(\w+):[^{}]*}", r"{\1}", route.path)


def _component(reference: Mapping[str, str]) -> str:
    """The name of the component that is referred to."""
    return reference["$ref"].rpartition("/")[2]


def _headers() -> dict[str, Any]:
    return {
        "NoStore": {
            "description": f"`{NO_STORE}`: the answer has a secret in it.",
            "schema": {"type": "string"},
        },
        "RequestId": {
            "description": "The id of the request, as in the log.",
            "schema": {"type": "string"},
        },
        "RetryAfter": {
            "description": "With 429 and 503: seconds to wait (RFC 9110 section 10.2.3).",
            "schema": {"type": "integer"},
        },
    }


def _complete_operation(
    operation: dict[str, Any], route: Route, bodies: set[str], slugs: set[str], *, guarded: bool
) -> None:
    """Derive the rest of an operation; adds the schemas and problems that it refers to."""
    operation["operationId"] = route.name
    operation["summary"] = (inspect.getdoc(route.handler) or "").partition("\n")[0].rstrip(".")
    own = operation.pop("x-problems", [])
    common = ["internal-error"]
    if route.scope != OPEN:
        common.append("audit-unavailable")
        operation["description"] = f"Scope: `{route.scope}`."
    if guarded and route.scope != OPEN:
        operation["security"] = [{"token": []}]
        common.extend(_TOKEN_PROBLEMS)
    if not guarded:
        common.append("misdirected-request")
    for name in operation.pop("x-parameters", []):
        operation["parameters"].append(ref("parameters", name))
    parameters = [_component(one) for one in operation.get("parameters", [])]
    if route.scope != OPEN:
        common.append("validation-failed")
    if "Profile" in parameters:
        common.extend(_PROFILE_PROBLEMS)
    if route.name != "healthz":
        common.append("too-busy")
    body = operation.pop("x-body", None)
    if body is not None or route.method == "POST":  # without a schema, it refuses one
        common.extend(_BODY_PROBLEMS)
    if body is not None:
        bodies.add(body)
        operation["requestBody"] = _request_body(body)
    for response in operation["responses"].values():
        answer = response.pop("x-answer", None)
        if answer is not None:
            many = isinstance(answer, list)
            name = answer[0] if many else answer
            bodies.add(name)
            schema = ref("schemas", name)
            # JSON first: generators take the first type that an answer may have.
            response["content"] = {
                "application/json": {"schema": {"type": "array", "items": schema}}
                if many
                else {"schema": schema},
                **response.get("content", {}),
            }
    operation["responses"].update(_problem_responses(own, common, route))
    slugs.update(own, common)
    if route.secret:
        success = operation["responses"]["200"].setdefault("headers", {})
        success[CACHE_CONTROL] = ref("headers", "NoStore")
    for response in operation["responses"].values():
        response.setdefault("headers", {})[REQUEST_ID_HEADER] = ref("headers", "RequestId")


def _request_body(schema: str) -> dict[str, Any]:
    examples = {
        title: {"summary": title, "value": example} for title, example in EXAMPLES[schema].items()
    }
    content = {"application/json": {"schema": ref("schemas", schema), "examples": examples}}
    return {"required": True, "content": content}


def _add_examples(content: dict[str, Any], example: Any) -> None:
    """Add the example to each content type of a success."""
    content["application/json"]["example"] = example
    if NDJSON in content:
        lines = [orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE).decode() for one in example]
        content[NDJSON]["example"] = "".join(lines)


def _problem_responses(own: list[str], common: list[str], route: Route) -> dict[str, Any]:
    """A response for each status of the operation's `own` problems, and one for all others."""
    by_status: dict[int, list[type[errors.KmsError]]] = {}
    for error in error_classes():
        if error.slug in {*own, *common}:
            by_status.setdefault(error.status, []).append(error)
    responses, others = {}, {}
    for status, group in by_status.items():
        # Any call can fail by the service, which is in the default; a health check asks for that.
        if (status < 500 or route.scope == OPEN) and any(error.slug in own for error in group):
            titles = "; ".join(f"`{error.slug}`: {error.title}" for error in group)
            responses[str(status)] = _problem_response(f"{titles}.", group)
        else:
            others[status] = group
    slugs = "; ".join(
        f"{status} " + ", ".join(f"`{error.slug}`" for error in group)
        for status, group in sorted(others.items())
    )
    all_others = [error for group in others.values() for error in group]
    return {**responses, "default": _problem_response(f"Any other problem: {slugs}.", all_others)}


def _problem_response(description: str, group: Iterable[type[errors.KmsError]]) -> dict[str, Any]:
    examples = {error.slug: ref("examples", error.slug) for error in group}
    response: dict[str, Any] = {
        "description": description,
        "content": {CONTENT_TYPE: {"schema": ref("schemas", "Problem"), "examples": examples}},
    }
    if any(error.status in (429, 503) for error in group):
        response["headers"] = {"Retry-After": ref("headers", "RetryAfter")}
    return response


def _publish(node: Any) -> None:
    """End each pattern by `$`, as ECMA-262 does: Python's `$` also matches before a line feed."""
    if isinstance(node, dict):
        pattern = node.get("pattern")
        if isinstance(pattern, str):
            node["pattern"] = pattern.replace(r"\Z", "$")
        if node.get("type") == "object" and "maxLength" in node:
            node["maxProperties"] = node.pop("maxLength")  # apispec has one word for both
    children: Iterable[Any] = node.values() if isinstance(node, dict) else ()
    for child in node if isinstance(node, list) else children:
        _publish(child)
