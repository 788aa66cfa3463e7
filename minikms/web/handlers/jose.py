"""Handlers in the forms of JOSE: JWS and JWK Set."""

import re

from aiohttp import web

from minikms.errors import InvalidKey, UnsupportedOption
from minikms.http.answers import CACHE_CONTROL, Answer, BodyAnswer
from minikms.http.gate import enter
from minikms.keys.jws_signing import SignJws, VerifyJws
from minikms.web.handlers.operation import Body, operation
from minikms.web.handlers.paging import jwk_filter
from minikms.web.messages import named_profile, service
from minikms.web.schemas import jose_bodies as schemas

# Weak or not, which does not count here (RFC 9110 section 8.8.3).
_ETAG = re.compile(r'"([\x21\x23-\x7e\x80-\xff]*)"')


@operation(
    schemas.SignJwsRequest,
    schemas.JwsSignature,
    "The JWS.",
    member="jws",
    problems=(UnsupportedOption,),
    tag="jose",
)
def sign_jws(body: Body) -> SignJws:
    """Sign a payload as a compact JWS."""
    by_kid = body["kid_header"] == "kid"
    return SignJws(body["payload"], body["header"], body["alg"], body["detached"], by_kid)


@operation(
    schemas.VerifyJwsRequest,
    schemas.JwsVerification,
    "Whether it is good, and what it says.",
    problems=(UnsupportedOption, InvalidKey),
    tag="jose",
)
def verify_jws(body: Body) -> VerifyJws:
    """Verify a compact JWS with a key or a public JWK."""
    return VerifyJws(body["jws"], body["payload"])


async def jwks(request: web.Request) -> Answer:
    """Give a profile's public keys as a JWK Set.

    ---
    tags: [jose]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/ProfileQuery"
    x-parameters: [KtyFilter, JoseFilter, UseFilter, IfNoneMatch]
    responses:
      "200":
        description: The keys for signatures and key agreement, by kid and by alias.
        x-answer: JwkSet
        headers: {ETag: {description: "Changes with the set.", schema: {type: string}}}
      "304": {description: The caller has it as it is., content: {}}
    """
    of_header = named_profile(request)  # judged even where the query has the word
    name = enter(request, request.query.get("profile", of_header))
    found = await service(request).jwk_set(name, jwk_filter(request))
    # Whoever keeps it asks each time whether it has changed: a key may be gone by now.
    headers = {"ETag": f'"{found.etag}"', CACHE_CONTROL: "no-cache"}
    if _has(request, found.etag):
        return web.Response(status=304, headers=headers)
    return BodyAnswer(body=found.body, headers=headers, content_type="application/json")


def _has(request: web.Request, etag: str) -> bool:
    """Whether the caller has this already: `If-None-Match` (RFC 9110 section 13.1.2)."""
    given = ", ".join(request.headers.getall("If-None-Match", ()))
    return given.strip() == "*" or etag in _ETAG.findall(given)
