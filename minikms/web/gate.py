"""The gate that every call passes: who calls, whether they may, and what is told of it."""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp import web

from minikms.access import OPEN, Access, Caller
from minikms.acts import CURRENT, Act
from minikms.errors import KmsError, ProfileNotFound
from minikms.tokens import ID_PATTERN
from minikms.web import callers
from minikms.web.fields import KID_PATTERN, PROFILE_PATTERN
from minikms.web.logs import ACT, request_id
from minikms.web.messages import PROFILE_HEADER, service
from minikms.web.problems import Handler, from_http

ACCESS: Final[web.AppKey[Access]] = web.AppKey("access", Access)
SCOPES_OF: Final[web.AppKey[dict[str, str]]] = web.AppKey("scopes", dict)
WITNESS: Final[web.AppKey[Callable[[Act, str], None]]] = web.AppKey("witness")

_KID, _PROFILE, _TOKEN = map(re.compile, (KID_PATTERN, PROFILE_PATTERN, ID_PATTERN))

# Who asks for the public keys of a profile that publishes them.
_PUBLIC: Final = frozenset({"keys:read"})


@web.middleware
async def gate_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let through who may do this, and tell of it before the answer is sent."""
    app, match = request.app, request.match_info
    name = match.route.name or ""
    scope = app[SCOPES_OF].get(name)
    if scope == OPEN or match.http_exception or (scope is None and _is_of_docs(request)):
        return await handler(request)
    act = Act(
        name,
        app[WITNESS],
        request_id=request_id(request),
        address=callers.address(request),
        subject=callers.certificate_subject(request),
        kid=_asked(match, "kid", _KID),
        token=_asked(match, "token", _TOKEN),
    )
    request[ACT] = act
    outer = CURRENT.set(act)
    try:
        request[callers.CALLER] = await _let_in(request, act, scope)
        response = await handler(request)
    except BaseException as exc:
        if act.profile is None:
            act.profile = _asked_profile(request)
        act.tell(_slug_of(exc))
        raise
    else:
        act.tell()
        return response
    finally:
        CURRENT.reset(outer)


async def _let_in(request: web.Request, act: Act, scope: str | None) -> Caller:
    """Who calls, where they have the scope; raises as Access does, and Forbidden."""
    if act.operation == "jwks" and (published := await _published(request)):
        return Caller("", _PUBLIC, frozenset({published}))
    sent = request.headers.getall("Authorization", ())
    found = await request.app[ACCESS].caller(", ".join(sent) if sent else None, act.address)
    act.who = found.name
    if scope is not None:
        found.require(scope)
    return found


async def _published(request: web.Request) -> str | None:
    """The profile that is asked for, where it lets everybody have its public keys."""
    name = request.query.get("profile", "")
    if not _PROFILE.match(name):
        return None
    try:
        return name if await service(request).publishes(name) else None
    except ProfileNotFound:
        return None


def _is_of_docs(request: web.Request) -> bool:
    return request.path == "/" or request.path == "/docs" or request.path.startswith("/docs/")


def _asked(match: Mapping[str, str], name: str, form: re.Pattern[str]) -> str | None:
    """What the path names, where it has the form."""
    text = match.get(name, "")
    return text if form.match(text) else None


def _asked_profile(request: web.Request) -> str | None:
    """The profile that a call was to be in that was refused, where it has the form."""
    name = request.match_info.get("name") or request.headers.get(PROFILE_HEADER) or ""
    return name if _PROFILE.match(name) else None


def _slug_of(exc: BaseException) -> str:
    """What became of a call that `exc` ended."""
    if isinstance(exc, KmsError):
        return exc.slug
    if isinstance(exc, web.HTTPException):
        return from_http(exc).slug
    if isinstance(exc, web.RequestPayloadError):
        return "bad-request"
    if isinstance(exc, (ConnectionError, asyncio.CancelledError)):
        return "broken-off"
    return "internal-error"
