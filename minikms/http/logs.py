"""The log line of a request, with its id and without its body."""

import itertools
import logging
import re
import secrets
from typing import Any, Final
from urllib.parse import unquote

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from minikms.access.token_record import PREFIX
from minikms.events import AuditEvent

REQUEST_ID_HEADER = "X-Request-Id"

# The audit event of a request, set by the gate; the log line names the event's caller.
EVENT: Final = web.RequestKey("event", AuditEvent)
# The id of a request's trace, if traces are sent.
TRACE_ID: Final = web.RequestKey("trace_id", str)

_REQUEST_ID = web.RequestKey("request_id", str)
_ACCEPTED = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")

# A token, a JWS or a private key. A search takes time in proportion to the length of the string.
_SECRET: Final = re.compile(
    rf"{PREFIX}[0-9a-f]{{16}}|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.|-----BEGIN"
    r"|\"(?:d|k|secret|seed)\"\s*:"
)

# Shorter paths contain no secret. Most paths are shorter, and are not searched.
_SHORTEST: Final = 20

# Ids unique to a process and its requests, made in 1 µs less than a UUID.
_PROCESS: Final = secrets.token_hex(10)
_numbers: Final = itertools.count()


def request_id(request: web.BaseRequest) -> str:
    """Return the caller's `X-Request-Id` if a log line may have it, else a new id."""
    known: str | None = request.get(_REQUEST_ID)
    if known is None:
        known = request.headers.get(REQUEST_ID_HEADER)
        if not known or not _ACCEPTED.fullmatch(known) or is_secret(known):
            known = f"{_PROCESS}{next(_numbers):012x}"
        request[_REQUEST_ID] = known
    return known


def is_secret(text: str) -> bool:
    """Tell whether a string contains a token, a JWS or a private key."""
    return _SECRET.search(text) is not None


def without_secrets(path: str) -> str:
    """Replace each segment of a path that contains a secret by `…`."""
    if len(path) < _SHORTEST or not is_secret(unquote(path)):
        return path
    return "/".join("…" if is_secret(unquote(each)) else each for each in path.split("/"))


class AccessLogger(AbstractAccessLogger):
    """Logs a line for each request, without body, query and secrets.

    Of the headers, it has only the request id. `route` is the operationId, and `who` the caller, if
    they are known.
    """

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        self.write(request, request_id(request), response.status, response.body_length, time)

    def write(
        self, request: web.BaseRequest, known_id: str, status: int, length: int, time: float
    ) -> None:
        """Write the line of a request with this id; `length` is in bytes, `time` in seconds."""
        facts: dict[str, Any] = {
            "request_id": known_id,
            "method": request.method,
            "path": without_secrets(request.rel_url.raw_path),
            "status": status,
            "bytes": length,
            "milliseconds": round(time * 1000, 1),
        }
        event = request.get(EVENT)
        if route := _route(request) if event is None else event.operation:
            facts["route"] = route
        if event is not None and event.who:
            facts["who"] = event.who
        self.logger.info(
            "%s %s %d %.1f ms",
            facts["method"],
            # The path at a door may not show the operation.
            f"{facts['path']} {route}" if route and ":" in route else facts["path"],
            facts["status"],
            facts["milliseconds"],
            extra=facts,
        )

    @property
    def enabled(self) -> bool:
        return self.logger.isEnabledFor(logging.INFO)


class _WithTrace(logging.LoggerAdapter[logging.Logger]):
    """Adds members to a line; LoggerAdapter alone would replace the line's own."""

    def process(self, msg: Any, kwargs: Any) -> Any:
        kwargs["extra"] = {**kwargs["extra"], **(self.extra or {})}
        return msg, kwargs


class TracedAccessLogger(AccessLogger):
    """Logs requests with the `trace_id` of each."""

    def write(
        self, request: web.BaseRequest, known_id: str, status: int, length: int, time: float
    ) -> None:
        logger = self.logger
        self.logger = _WithTrace(logger, {"trace_id": request.get(TRACE_ID)})  # type: ignore[assignment]
        try:
            super().write(request, known_id, status, length, time)
        finally:
            self.logger = logger


def _route(request: web.BaseRequest) -> str | None:
    """Return the operationId of a request; None if it did not parse or has no route."""
    try:
        match = getattr(request, "match_info", None)
    except AssertionError:  # aiohttp raises it if the router has not run
        return None
    return None if match is None else match.route.name
