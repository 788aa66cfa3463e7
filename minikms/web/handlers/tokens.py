"""Handlers of tokens: create, list, revoke."""

from minikms.access.callers import SCOPES, Grant
from minikms.errors import ProfileNotFound, TokenNotFound
from minikms.http.answers import Answer
from minikms.http.gate import GatedCall
from minikms.http.state import CONFIG
from minikms.web.messages import load, paged
from minikms.web.parameters import DEFAULT_LIMIT
from minikms.web.schemas import token_bodies as schemas
from minikms.web.state import TOKENS

_CREATE = schemas.CreateToken()
_CREATED = schemas.TokenCreated()
_TOKEN = schemas.Token()
_OWN_TOKEN = schemas.OwnToken()
_REVOCATION = schemas.TokenRevoked()


async def create(call: GatedCall) -> Answer:
    """Create a token; no other answer shows it again."""
    body = load(call, _CREATE)
    maker = call.caller
    profiles = body["profiles"]
    if profiles is None and maker.profiles is not None:
        profiles = tuple(sorted(maker.profiles))
        if not profiles:  # a JWT names no token of the store
            raise ProfileNotFound()
    for profile in profiles or ():
        maker.permit(profile)
    token, record = await call.request.app[TOKENS].create(
        **{**body, "profiles": profiles},
        maker=maker.token,
        known=maker.ids,
        most=call.request.app[CONFIG].max_tokens,
    )
    return _CREATED.encode({"token": token.reveal(), "record": record})


async def list_tokens(call: GatedCall, limit: int = DEFAULT_LIMIT, after: str = "") -> Answer:
    """List the tokens of the caller's profiles, by page."""
    page, more = await call.request.app[TOKENS].page(call.caller.profiles, limit, after)
    body = _TOKEN.encode(page, many=True)
    if not more:
        return body
    return paged(call, body, [("limit", str(limit)), ("after", page[-1].seq)])


async def get_own(call: GatedCall) -> Answer:
    """Get the permissions of the caller's own token, or of its roles."""
    own = call.caller
    everything = Grant(own.scopes, own.profiles)
    # The call needs no scope, so the caller has the grants of all its roles.
    roles = zip(own.roles, own.grants or [everything] * len(own.roles), strict=True)
    return _OWN_TOKEN.encode(
        {
            "id": own.token or None,
            "name": own.name or None,
            "issuer": own.issuer or None,
            "subject": own.subject or None,
            "roles": [{"name": name, **_shown(grant)} for name, grant in roles],
            **_shown(everything),
            "expires": own.expires,
        }
    )


def _shown(grant: Grant) -> dict[str, list[str] | None]:
    return {
        "scopes": [scope for scope in SCOPES if scope in grant.scopes],
        "profiles": None if grant.profiles is None else sorted(grant.profiles),
    }


async def revoke(call: GatedCall, token: str) -> Answer:
    """Revoke a token."""
    record = await call.request.app[TOKENS].find(token)
    if record is None or not call.caller.covers(record.profiles):
        raise TokenNotFound()
    await call.request.app[TOKENS].revoke(token)
    return _REVOCATION.encode({"message": "Token revoked", "id": token})
