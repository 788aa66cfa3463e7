"""Handlers of tokens: create, list, revoke."""

from aiohttp import web

from minikms.access.policy import SCOPES
from minikms.errors import ProfileNotFound, TokenNotFound
from minikms.http.answers import Answer
from minikms.http.gate import caller
from minikms.web.messages import load
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
        **{**body, "profiles": profiles}, maker=maker.token
    )
    return _CREATED.encode({"token": token.reveal(), "record": record})


async def list_tokens(request: web.Request) -> Answer:
    """List the tokens of the caller's profiles."""
    covers = caller(request).covers
    records = await request.app[TOKENS].list_all()
    return _TOKEN.encode([one for one in records if covers(one.profiles)], many=True)


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
