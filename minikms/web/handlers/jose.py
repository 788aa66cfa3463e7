"""Handlers in the forms of JOSE: JWS and JWK Set."""

import re

from aiohttp import web

from minikms.web.callers import enter
from minikms.web.http.answers import CACHE_CONTROL
from minikms.web.messages import answer, load, named_profile, profile, service
from minikms.web.schemas import jose as schemas

_SIGN = schemas.SignJwsRequest()
_VERIFY = schemas.VerifyJwsRequest()
_SIGNATURE = schemas.JwsSignature()
_VERIFICATION = schemas.JwsVerification()

# Weak or not, which does not count here (RFC 9110 section 8.8.3).
_ETAG = re.compile(r'"([\x21\x23-\x7e\x80-\xff]*)"')


async def sign_jws(request: web.Request) -> web.Response:
    """Sign a payload as a compact JWS.

    ---
    tags: [jose]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: SignJwsRequest
    x-problems:
      [key-not-found, alias-not-found, key-not-usable, unsupported-operation, unsupported-option]
    responses:
      "200": {description: The JWS., x-answer: JwsSignature}
    """
    body = await load(request, _SIGN)
    text = await service(request).sign_jws(
        profile(request),
        body["ref"],
        body["payload"],
        header=body["header"],
        alg=body["alg"],
        detached=body["detached"],
    )
    return answer(_SIGNATURE, {"jws": text})


async def verify_jws(request: web.Request) -> web.Response:
    """Verify a compact JWS with a key or a public JWK.

    ---
    tags: [jose]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: VerifyJwsRequest
    x-problems:
      - key-not-found
      - alias-not-found
      - key-not-usable
      - unsupported-operation
      - unsupported-option
      - invalid-key
    responses:
      "200": {description: "Whether it is good, and what it says.", x-answer: JwsVerification}
    """
    body = await load(request, _VERIFY)
    result = await service(request).verify_jws(
        profile(request), body["by"], body["jws"], body["payload"]
    )
    return answer(_VERIFICATION, result)


async def jwks(request: web.Request) -> web.Response:
    """Give a profile's public keys as a JWK Set.

    ---
    tags: [jose]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/ProfileQuery"
    x-parameters: [IfNoneMatch]
    responses:
      "200":
        description: The keys for signatures and key agreement, by kid and by alias.
        x-answer: JwkSet
        headers: {ETag: {description: "Changes with the set.", schema: {type: string}}}
      "304": {description: The caller has it as it is., content: {}}
    """
    of_header = named_profile(request)  # judged even where the query has the word
    name = enter(request, request.query.get("profile", of_header))
    found = await service(request).jwk_set(name)
    # Whoever keeps it asks each time whether it has changed: a key may be gone by now.
    headers = {"ETag": f'"{found.etag}"', CACHE_CONTROL: "no-cache"}
    if _has(request, found.etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=found.body, headers=headers, content_type="application/json")


def _has(request: web.Request, etag: str) -> bool:
    """Whether the caller has this already: `If-None-Match` (RFC 9110 section 13.1.2)."""
    given = ", ".join(request.headers.getall("If-None-Match", ()))
    return given.strip() == "*" or etag in _ETAG.findall(given)
