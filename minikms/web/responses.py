"""The responses of a call in the OpenAPI document: its success, and its problems by status."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from minikms import errors
from minikms.access.callers import OPEN
from minikms.credentials.x509.public_keys import public_pem_of
from minikms.http.answers import CACHE_CONTROL
from minikms.http.problems import CONTENT_TYPE
from minikms.web.components import one_of, ref
from minikms.web.messages import NDJSON, PEM_FILE
from minikms.web.parameters import PROFILE_OF_CALL
from minikms.web.routes import Problems, Route

_BODY_PROBLEMS: Final[Problems] = (
    errors.MalformedJson,
    errors.BadRequest,
    errors.RequestTimeout,
    errors.BodyTooLarge,
    errors.UnsupportedMediaType,
    errors.ValidationFailed,
)
_TOKEN_PROBLEMS: Final[Problems] = (
    errors.Unauthenticated,
    errors.Forbidden,
    errors.TooManyAttempts,
    errors.StoreUnavailable,
)
_PROFILE_PROBLEMS: Final[Problems] = (errors.ProfileNotFound, errors.StoreUnavailable)


def error_classes() -> Iterator[type[errors.KmsError]]:
    """Yield every error of the service's own API, in the order of errors.py."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.KmsError) and "slug" in vars(kind):
            yield kind


def common_problems(route: Route, *, guarded: bool) -> Problems:
    """Return the problems that all calls of this kind share."""
    common: list[type[errors.KmsError]] = [errors.InternalError]
    if route.scope != OPEN:
        common += (errors.AuditUnavailable, errors.ValidationFailed)
        common += _TOKEN_PROBLEMS if guarded else ()
    if not guarded:
        common.append(errors.MisdirectedRequest)
    if PROFILE_OF_CALL in route.parameters:
        common += _PROFILE_PROBLEMS
        if route.method != "GET":  # even a signature may store its use
            common.append(errors.ProfileFrozen)
    is_counted = route.scope not in (OPEN, "profiles") and route.name != "jwks"
    if errors.ApprovalRequired in route.problems:
        common.append(errors.TooManyApprovals)
    if is_counted and (guarded or route.is_in_profile):
        common.append(errors.OverRate)
    if route.name != "healthz":
        common.append(errors.TooBusy)
    if errors.StoreUnavailable in (*route.problems, *common):
        common.append(errors.StatementTimeout)
        if route.scope != OPEN:
            common.append(errors.KeyUnreadable)
    if route.method == "POST" or route.body is not None:  # a POST without a schema refuses a body
        common += _BODY_PROBLEMS
    return tuple(common)


def success_response(route: Route, example: Any) -> dict[str, Any]:
    """Make the response of a success, with its example in each media type."""
    more = route.responses.get("200", {})
    # JSON first: generators use the first media type of an answer.
    content: dict[str, Any] = {}
    if route.answer is not None:
        schema = one_of(route.answer, route.other and route.other[1])
        content["application/json"] = {
            "schema": {"type": "array", "items": schema} if route.many else schema
        }
    content.update({kind: dict(described) for kind, described in more.get("content", {}).items()})
    content["application/json"]["example"] = example
    if NDJSON in content:
        lines = [orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE).decode() for one in example]
        content[NDJSON]["example"] = "".join(lines)
    if PEM_FILE in content:
        content[PEM_FILE]["example"] = public_pem_of(example["jwk"]).decode()
    headers = dict(more.get("headers", {}))
    if route.secret:
        headers[CACHE_CONTROL] = ref("headers", "NoStore")
    return {**more, "description": route.success, "content": content, "headers": headers}


def problem_responses(route: Route, common: Problems) -> dict[str, Any]:
    """Make a response for each status of the route's own problems, and a default response."""
    by_status: dict[int, list[type[errors.KmsError]]] = {}
    for error in error_classes():
        if error in route.problems or error in common:
            by_status.setdefault(error.status, []).append(error)
    responses, others = {}, {}
    for status, group in by_status.items():
        # Failures of the service belong to the default response, except in health checks.
        if (status < 500 or route.scope == OPEN) and any(one in route.problems for one in group):
            titles = "; ".join(f"`{error.slug}`: {error.title}" for error in group)
            responses[str(status)] = _problem_response(f"{titles}.", group)
        else:
            others[status] = group
    slugs = "; ".join(
        f"{status} " + ", ".join(f"`{error.slug}`" for error in group)
        for status, group in sorted(others.items())
    )
    all_others = [error for group in others.values() for error in group]
    return {**responses, "default": _problem_response(f"Others: {slugs}.", all_others)}


def _problem_response(description: str, group: Iterable[type[errors.KmsError]]) -> dict[str, Any]:
    examples = {error.slug: ref("examples", error.slug) for error in group}
    response: dict[str, Any] = {
        "description": description,
        "content": {CONTENT_TYPE: {"schema": ref("schemas", "Problem"), "examples": examples}},
    }
    if any(error.status in (429, 503) for error in group):
        response["headers"] = {"Retry-After": ref("headers", "RetryAfter")}
    return response
