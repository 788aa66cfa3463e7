"""Handlers of what is done with a key."""

from aiohttp import web

from minikms.web import schemas
from minikms.web.messages import answer, load, profile, service

_SIGN = schemas.SignRequest()
_VERIFY = schemas.VerifyRequest()
_SIGNATURE = schemas.Signature()
_VERIFICATION = schemas.Verification()


async def sign(request: web.Request) -> web.Response:
    """Sign bytes with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: SignRequest
    x-problems: [key-not-found, alias-not-found, unsupported-operation]
    responses:
      "200": {description: The signature., x-answer: Signature}
    """
    body = await load(request, _SIGN)
    signature = await service(request).sign(profile(request), body["ref"], body["data"])
    return answer(_SIGNATURE, {"sig": signature})


async def verify(request: web.Request) -> web.Response:
    """Verify a signature with a key.

    ---
    tags: [operations]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: VerifyRequest
    x-problems: [key-not-found, alias-not-found, unsupported-operation]
    responses:
      "200": {description: Whether the signature is good., x-answer: Verification}
    """
    body = await load(request, _VERIFY)
    valid = await service(request).verify(profile(request), body["ref"], body["data"], body["sig"])
    return answer(_VERIFICATION, {"valid": valid})
