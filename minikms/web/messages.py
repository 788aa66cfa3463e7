"""Reads the profile and the body of a request for its handler, and streams long answers."""

import asyncio
import logging
import re
import zlib
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from aiohttp import web

from minikms.credentials.service import Credentials
from minikms.encodings import require_memory
from minikms.errors import (
    BadRequest,
    KmsError,
    MalformedJson,
    ProfileNotFound,
    UnsupportedMediaType,
    ValidationFailed,
)
from minikms.events import CURRENT, set_asked
from minikms.http.answers import JSON, Answer, BodyAnswer
from minikms.http.body_bounds import SMALL_BODY, BodyBound
from minikms.http.gate import GatedCall
from minikms.http.state import IN_FLIGHT, UNREAD
from minikms.keys.service import KeyService
from minikms.profile_settings import DEFAULT_PROFILE, PROFILE_PATTERN
from minikms.web.schemas.base import Body, Either, Request
from minikms.web.state import CREDENTIALS, SERVICE

PROFILE_HEADER: Final = "X-Profile"
NDJSON: Final = "application/x-ndjson"
PEM_FILE: Final = "application/x-pem-file"

LOGGER = logging.getLogger(__name__)

_PROFILE = re.compile(PROFILE_PATTERN)
_NOTHING = Request()
_LINES = 50
_IDENTITY = "identity"
_ENCODINGS = (_IDENTITY, "gzip", "deflate")
_JSON = "application/json"
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


def service(call: GatedCall) -> KeyService:
    """The service behind a call."""
    return call.request.app[SERVICE]


def credentials(call: GatedCall) -> Credentials:
    """The calls of credentials behind a call."""
    return call.request.app[CREDENTIALS]


def named_profile(request: web.Request) -> str:
    """The profile that the head of a request names; raises ValidationFailed."""
    if PROFILE_HEADER not in request.headers:
        return DEFAULT_PROFILE
    given = request.headers.getall(PROFILE_HEADER)
    if len(given) > 1 or not _PROFILE.match(given[0]):
        what = "Give it once, with 1 to 128 visible ASCII characters."
        raise ValidationFailed(errors=[(f"#/{PROFILE_HEADER}", what)])
    return given[0]


def asked_profile(request: web.Request) -> str | None:
    """Return the profile that a refused call names, or None."""
    name = request.match_info.get("name") or request.headers.get(PROFILE_HEADER) or ""
    return name if _PROFILE.match(name) else None


async def published_profile(request: web.Request) -> str | None:
    """Return the profile that the query names if its JWK Set is published, else None."""
    name = request.query.get("profile", "")
    if not _PROFILE.match(name):
        return None
    try:
        return name if await request.app[SERVICE].publications.publishes(name) else None
    except ProfileNotFound:
        return None


def load(call: GatedCall, schema: Request | Either) -> dict[str, Any]:
    """The body of a call, read by `schema`.

    Raises UnsupportedMediaType, BadRequest, BodyTooLarge, MalformedJson or ValidationFailed.
    A body without a Content-Type counts as JSON, but not from a web page: a browser sends such a
    body to any origin without asking that origin first.
    """
    headers, body = call.request.headers, call.body
    encoding = headers.get("Content-Encoding", _IDENTITY)
    if headers.get("Content-Type") != _JSON or encoding != _IDENTITY:
        refuse_type(call.request)
    most, values = call.route.most or 0, call.route.values
    if encoding.lower() != _IDENTITY:
        body = _inflate(body, BodyBound(most, values))
    elif len(body) > SMALL_BODY:
        BodyBound(most, values).add(body)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        require_memory(exc)
        raise MalformedJson(_where(body, exc)) from None
    try:
        return schema.parse(document)
    except ValidationFailed:
        if isinstance(document, dict):
            names = (document.get(name) for name in ("kid", "alias"))
            set_asked(*(name if isinstance(name, str) else None for name in names))
        raise


def refuse_type(request: web.Request) -> None:
    """Raise UnsupportedMediaType for a body that is not JSON, or has another encoding."""
    _require_json(request)
    if request.headers.get("Content-Encoding", _IDENTITY).lower() not in _ENCODINGS:
        raise UnsupportedMediaType(
            "Send the body as it is, or with the header Content-Encoding: gzip or deflate."
        )


def no_body(call: GatedCall) -> None:
    """Refuse a body that is not empty; raises as `load` does.

    A request without a body is refused if another origin's web page sent it: browsers send such a
    request without a preflight request.
    """
    request = call.request
    if request.body_exists:
        load(call, _NOTHING)
    elif request.headers.get("Origin", request.host).rpartition("://")[2] != request.host:
        _require_json(request)


def paged(call: GatedCall, body: bytes, query: Sequence[tuple[str, str]]) -> Answer:
    """A page in JSON; the call with `query` gets the next one (RFC 8288)."""
    link = f'<{call.request.path}?{urlencode(query)}>; rel="next"'
    return BodyAnswer(body=body, headers={"Link": link}, content_type=JSON.content_type)


async def stream(
    request: web.Request, schema: Body, pages: AsyncIterator[Sequence[Any]]
) -> web.StreamResponse:
    """Send a success as lines of JSON, page by page; a later failure truncates the answer."""
    page: Sequence[Any] | None = await anext(pages)  # a failure here is still answered by a problem
    if event := CURRENT.get():
        event.record()  # before anything is sent
    response = web.StreamResponse(headers={"Content-Type": NDJSON})
    await response.prepare(request)
    if request.method == "HEAD":
        page = None  # read above only to detect an early failure
    in_flight, unread = request.app[IN_FLIGHT], request.app[UNREAD]
    while page is not None:
        lines = await _lines(schema, page)
        page = None  # frees the page while the caller reads, perhaps slowly
        with in_flight.waiting():
            await unread.send(request, response.write, lines)
        try:
            page = await anext(pages, None)
        except KmsError as exc:
            LOGGER.warning("a listing broke off: %s", exc.slug)
            raise ConnectionAbortedError from exc
    return response


async def _lines(schema: Body, page: Sequence[Any]) -> bytes:
    """Encode a page as lines of JSON; other tasks run in between."""
    lines: list[bytes] = []
    for start in range(0, len(page), _LINES):
        part = (schema.dump(one) for one in page[start : start + _LINES])
        lines += (orjson.dumps(item, option=orjson.OPT_APPEND_NEWLINE) for item in part)
        await asyncio.sleep(0)
    return b"".join(lines)


def _inflate(body: bytes, bound: BodyBound) -> bytes:
    """Decode a body by its Content-Encoding (RFC 9110 section 8.4), within its bound.

    aiohttp would drop the connection after a malformed body, and accept a truncated one.
    """
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    parts = []
    try:
        while part := inflater.decompress(body, SMALL_BODY):
            bound.add(part)  # before more is inflated
            parts.append(part)
            body = inflater.unconsumed_tail
    except zlib.error:
        raise BadRequest("The body is not in its Content-Encoding.") from None
    if not inflater.eof or inflater.unused_data:
        raise BadRequest("The body is not in its Content-Encoding.")
    return b"".join(parts)


def _where(body: bytes, exc: orjson.JSONDecodeError) -> str:
    """Say in one sentence where a body stops being JSON, without quoting it."""
    if not body.strip():
        return "The body is empty."
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        return f"The body is not UTF-8: byte {wrong.start + 1}."
    return f"The body is not valid JSON: line {exc.lineno}, column {exc.colno}."


def _require_json(request: web.Request) -> None:
    headers = request.headers
    is_given = "Content-Type" in headers
    kind = request.content_type
    is_json = kind == _JSON or kind.endswith("+json")
    if not (is_json if is_given else "Origin" not in headers):
        raise UnsupportedMediaType("Send JSON, with the header Content-Type: application/json.")
