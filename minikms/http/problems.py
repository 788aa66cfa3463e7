"""Answers any failure as `application/problem+json` (RFC 9457); no other module makes such bodies.

Other protocols replace `problem_response` by their own function.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import orjson
from aiohttp import web

from minikms import errors
from minikms.http.logs import request_id
from minikms.http.tracebacks import is_of_an_algorithm, loggable

LOGGER = logging.getLogger(__name__)

CONTENT_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:minikms:problem:"

# Limit of the characters of a name that a problem repeats.
_SHOWN: Final = 64


def problem(error: errors.KmsError) -> dict[str, Any]:
    """Return the problem details of `error`."""
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + error.slug,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.errors:
        body["errors"] = [{"pointer": at, "detail": what} for at, what in error.errors]
    if error.outcome:
        body["outcome"] = error.outcome
    if isinstance(error, errors.ApprovalRequired) and error.approval is not None:
        body["approval"] = error.approval
    return body


def problem_response(request: web.BaseRequest, error: errors.KmsError) -> web.Response:
    """Make the answer for an `error` of any request."""
    return web.Response(
        body=orjson.dumps(problem(error), option=orjson.OPT_APPEND_NEWLINE),
        status=error.status,
        headers=error.headers,
        content_type=CONTENT_TYPE,
    )


# Makes the answer to a request for an error.
Respond: TypeAlias = Callable[[web.BaseRequest, errors.KmsError], web.Response]


def answer_failure(
    request: web.BaseRequest, exc: BaseException, respond: Respond = problem_response
) -> web.Response | None:
    """Answer a failure by `respond`; None for a redirect, or if the caller has left."""
    if isinstance(exc, errors.KmsError):
        return respond(request, exc)
    if not is_of_an_algorithm(exc):  # an algorithm may raise these for other reasons
        if isinstance(exc, web.HTTPException):
            return None if exc.status < 400 else respond(request, from_http(exc))
        if isinstance(exc, web.RequestPayloadError):
            unread = errors.BadRequest("The body cannot be read to its end.")
            return respond(request, unread)
        if isinstance(exc, ConnectionError):
            return None  # the caller has left, or is to be disconnected
    known = request_id(request)
    LOGGER.error("internal error", exc_info=loggable(exc), extra={"request_id": known})
    if request.writer.output_size > 0:
        raise ConnectionAbortedError("the caller has a part of its answer")
    return respond(request, errors.InternalError(f"The log has more under the id {known}."))


def slug_of(exc: BaseException) -> str:
    """Return the outcome of a call that `exc` ended, for the audit log."""
    if isinstance(exc, errors.KmsError):
        return exc.slug
    if not isinstance(exc, asyncio.CancelledError) and is_of_an_algorithm(exc):
        return errors.InternalError.slug
    if isinstance(exc, web.HTTPException):
        return from_http(exc).slug
    if isinstance(exc, web.RequestPayloadError):
        return errors.BadRequest.slug
    if isinstance(exc, (ConnectionError, asyncio.CancelledError)):
        return "broken-off"
    return errors.InternalError.slug


def from_http(exc: web.HTTPException) -> errors.KmsError:
    """Translate an exception of aiohttp into an error of this service."""
    if isinstance(exc, web.HTTPMethodNotAllowed):
        allow = ", ".join(sorted(exc.allowed_methods))
        return errors.MethodNotAllowed(f"Allowed here: {allow}.", headers={"Allow": allow})
    if isinstance(exc, (web.HTTPNotFound, web.HTTPForbidden)):
        return errors.RouteNotFound()
    return errors.BadRequest()


def pointer(name: object, parent: str = "#") -> str:
    """Make a JSON pointer (RFC 6901) to a member or a parameter, its name cut if long."""
    place = str(name)[:_SHOWN].replace("~", "~0").replace("/", "~1")
    return f"{parent}/{place}"
