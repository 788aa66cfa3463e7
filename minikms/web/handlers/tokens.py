"""Handlers of tokens: create, list, revoke."""

from urllib.parse import urlencode

from aiohttp import web

from minikms.access.policy import SCOPES
from minikms.errors import ProfileNotFound, TokenNotFound
from minikms.http.answers import JSON, Answer, BodyAnswer
from minikms.http.gate import caller
from minikms.http.state import CONFIG
from minikms.web.messages import load
from minikms.web.parameters import DEFAULT_LIMIT
from minikms.web.schemas import token_bodies as schemas
from minikms.web.state import TOKENS

_CREATE = schemas.CreateToken()
_CREATED = schemas.TokenCreated()
_TOKEN = schemas.Token()
_OWN_TOKEN = schemas.OwnToken()
_REVOCATION = schemas.TokenRevoked()


async def create(request: web.Request) -> Answer:
    """Create a token; no other answer shows it again."""
    body = await load(request, _CREATE)
    maker = caller(request)
    profiles = body["profiles"]
    if profiles is None and maker.profiles is not None:
        profiles = tuple(sorted(maker.profiles))
        if not profiles:  # the provider's JWT names none
            raise ProfileNotFound()
    for profile in profiles or ():
        maker.permit(profile)
    token, record = await request.app[TOKENS].create(
        **{**body, "profiles": profiles},
        maker=maker.token,
        known=maker.ids,
        most=request.app[CONFIG].max_tokens,
    )
    return _CREATED.encode({"token": token.reveal(), "record": record})


async def list_tokens(request: web.Request, limit: int = DEFAULT_LIMIT, after: str = "") -> Answer:
    """List the tokens of the caller's profiles, by page."""
    page, more = await request.app[TOKENS].page(caller(request).profiles, limit, after)
    body = _TOKEN.encode(page, many=True)
    if not more:
        return body
    query = urlencode({"limit": limit, "after": page[-1].seq})
    link = f'<{request.path}?{query}>; rel="next"'
    return BodyAnswer(body=body, headers={"Link": link}, content_type=JSON.content_type)


async def get_own(request: web.Request) -> Answer:
    """Get the permissions of the caller's own token."""
    own = caller(request)
    return _OWN_TOKEN.encode(
        {
            "id": own.token or None,
            "name": own.name or None,
            "scopes": [scope for scope in SCOPES if scope in own.scopes],
            "profiles": None if own.profiles is None else sorted(own.profiles),
            "expires": own.expires,
        }
    )


async def revoke(request: web.Request, token: str) -> Answer:
    """Revoke a token."""
    record = await request.app[TOKENS].find(token)
    if record is None or not caller(request).covers(record.profiles):
        raise TokenNotFound()
    await request.app[TOKENS].revoke(token)
    return _REVOCATION.encode({"message": "Token revoked", "id": token})
