"""Makes the OpenAPI document from routes, schemas, parameters, errors and the registry."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from minikms import errors
from minikms.access.callers import ANY_TOKEN, OPEN
from minikms.http.answers import NO_STORE
from minikms.http.logs import REQUEST_ID_HEADER
from minikms.http.problems import TYPE_PREFIX, problem
from minikms.plugin.registry import AlgorithmRegistry
from minikms.web.components import components, one_of, ref
from minikms.web.responses import (
    common_problems,
    error_classes,
    problem_responses,
    success_response,
)
from minikms.web.routes import Problems, Route
from minikms.web.schemas.system_bodies import Algorithm, Problem

_VERSION: Final = "3.0.0"
# In the order of the page: an example must not need a key that an earlier group deletes.
TAGS: Final = (
    {"name": "keys", "description": "Create, find, list, name and delete keys."},
    {"name": "operations", "description": "Use a key that stays in the service."},
    {"name": "boxes", "description": "Encrypt from one key pair to another (NaCl boxes)."},
    {"name": "didcomm", "description": "Pack and unpack DIDComm v1 messages."},
    {
        "name": "encapsulation",
        "description": "Key encapsulation and HPKE.",
    },
    {"name": "jose", "description": "JWS, JWE and JWK Sets."},
    {"name": "certificates", "description": "X.509: certificate requests and certificates."},
    {"name": "cose", "description": "COSE_Sign1 and COSE_Mac0."},
    {"name": "approvals", "description": "Uses of keys that others must sign first."},
    {"name": "profiles", "description": "Tenants: no profile sees another one's keys."},
    {"name": "tokens", "description": "Tokens of callers, with their scopes and profiles."},
    {"name": "audit", "description": "Past calls: who used which key, and when."},
    {"name": "system", "description": "The service itself."},
)

# The folder with a file of examples for each group.
_EXAMPLES: Final = Path(__file__).parent / "examples"

_DESCRIPTION: Final = """\
Creates, stores and uses keys for you; private keys stay in the service.

| Word | Meaning |
|---|---|
| **base64url** | Bytes as text: `A-Z a-z 0-9 - _` (RFC 4648 section 5). `aGVsbG8=` is `hello`. \
The service takes it padded with `=` or not, and gives it padded. |
| **kid** | The id of a key, chosen by the service: for a key pair the SHA-256 thumbprint of the \
public JWK (RFC 7638), for a symmetric key random. |
| **alias** | A name that you give to a key, such as a DID URL. A body can have it instead \
of the `kid`. |
| **profile** | A tenant. The header `X-Profile` names it; without the header it is `default`. |

"""
_HELP: Final = """\
Each example works unchanged, from the top of the page to its end. If it names a key that does not \
exist, the page first imports that key, which is an example of `POST /key/import`.
"""
_GUARDED_HELP: Final = """\
Calls need a token: enter it under **Authorize**. Each example works unchanged, from the top of \
the page to its end, after the examples of `POST /key/import` have been sent.
"""

_TOKEN_SCHEME: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "A token of Mini KMS, or a JWT of the operator's identity provider.",
}
_HEADERS: Final = {
    "NoStore": {
        "description": f"`{NO_STORE}`: the answer contains a secret.",
        "schema": {"type": "string"},
    },
    "RequestId": {
        "description": "The id of the request, also in the log.",
        "schema": {"type": "string"},
    },
    "RetryAfter": {
        "description": "With 429 and 503: seconds to wait (RFC 9110 section 10.2.3).",
        "schema": {"type": "integer"},
    },
}


def read_examples() -> dict[str, Any]:
    """Read the examples of all calls, by operationId: `requests` by title, and `answer`."""
    files = (_EXAMPLES / f"{tag['name']}.json" for tag in TAGS)
    return {name: call for file in files for name, call in orjson.loads(file.read_bytes()).items()}


def document(
    info: Mapping[str, Any],
    routes: Sequence[Route],
    registry: AlgorithmRegistry,
    *,
    guarded: bool,
) -> dict[str, Any]:
    """Make the document; `info` is its member of this name.

    `guarded` means that callers need a token.
    """
    head = {"openapi": _VERSION, "info": {name: info[name] for name in ("title", "version")}}
    examples = read_examples() | {
        "listAlgorithms": {"answer": Algorithm().dump(list(registry)[:2], many=True)},
        "openapi": {"answer": {**head, "paths": {}}},
    }
    description = _DESCRIPTION + (_GUARDED_HELP if guarded else _HELP)
    paths: dict[str, dict[str, Any]] = {}
    problems: set[type[errors.KmsError]] = set()
    for route in routes:
        common = common_problems(route, guarded=guarded)
        problems.update(route.problems, common)
        operation = _operation(route, common, examples, guarded=guarded)
        paths.setdefault(_path(route), {})[route.method.lower()] = operation
    made: dict[str, Any] = {
        "openapi": _VERSION,
        "info": {**info, "description": description},
        "tags": list(TAGS),
        "paths": paths,
        "components": components(
            {Problem, *(kind for route in routes for kind in route.schemas)},
            dict.fromkeys(one for route in routes for one in route.parameters),
            {
                "AlgorithmName": registry.names,
                "JoseName": registry.signing_names,
                "ProblemType": [TYPE_PREFIX + error.slug for error in error_classes()],
            },
        )
        | {
            "headers": _HEADERS,
            "examples": {
                error.slug: {"value": problem(error())}
                for error in error_classes()
                if error in problems
            },
        },
    }
    if guarded:
        made["components"]["securitySchemes"] = {"token": _TOKEN_SCHEME}
    _publish(made)
    return made


def _path(route: Route) -> str:
    """Return a route's path for the document, without regular expressions."""
    return re.sub(r"{(\w+):[^{}]*}", r"{\1}", route.path)


def _operation(
    route: Route, common: Problems, examples: Mapping[str, Any], *, guarded: bool
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "tags": [route.tag],
        "operationId": route.name,
        "summary": (inspect.getdoc(route.handler) or "").partition("\n")[0].rstrip("."),
    }
    if route.scope != OPEN:
        scope = "any" if route.scope == ANY_TOKEN else f"`{route.scope}`"
        operation["description"] = f"Scope: {scope}."
        if guarded:
            operation["security"] = [{"token": []}]
    if route.parameters:
        operation["parameters"] = [ref("parameters", one.component) for one in route.parameters]
    if route.body is not None:
        shown = {
            title: {"summary": title, "value": request}
            for title, request in _example_of(route, "requests", examples).items()
        }
        schema = one_of(route.body, route.other and route.other[0])
        content = {"application/json": {"schema": schema, "examples": shown}}
        operation["requestBody"] = {"required": True, "content": content}
    responses = {
        "200": success_response(route, _example_of(route, "answer", examples)),
        **{status: dict(more) for status, more in route.responses.items() if status != "200"},
        **problem_responses(route, common),
    }
    for response in responses.values():
        response["headers"] = {
            **response.get("headers", {}),
            REQUEST_ID_HEADER: ref("headers", "RequestId"),
        }
    return {**operation, "responses": responses}


def _example_of(route: Route, part: str, examples: Mapping[str, Any]) -> Any:
    example = examples.get(route.name, {})
    if part not in example:
        raise LookupError(f"{route.name} has no {part!r} in web/examples/{route.tag}.json.")
    return example[part]


def _publish(node: Any) -> None:
    """End each pattern with `$`, as in ECMA-262; Python's `$` also matches before a line feed."""
    if isinstance(node, dict):
        pattern = node.get("pattern")
        if isinstance(pattern, str):
            node["pattern"] = pattern.replace(r"\Z", "$")
        if node.get("type") == "object" and "maxLength" in node:
            # apispec writes `maxLength` for objects also.
            node["maxProperties"] = node.pop("maxLength")
    children: Iterable[Any] = node.values() if isinstance(node, dict) else ()
    for child in node if isinstance(node, list) else children:
        _publish(child)
