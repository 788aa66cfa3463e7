"""Handlers that generate, import, rotate and export keys."""

from aiohttp import web

from minikms.http.answers import Answer
from minikms.http.gate import caller
from minikms.http.presence import Presence
from minikms.keys.exporting import Export
from minikms.records import KeyRef
from minikms.web.messages import load, no_body, profile, service
from minikms.web.schemas import key_bodies as schemas

_GENERATE = schemas.GenerateKey()
_GENERATE_BATCH = schemas.GenerateKeys()
_IMPORT = schemas.ImportKey()
_KEY = schemas.Key()
_KEYS = schemas.GeneratedKeys()
_PRIVATE = schemas.PrivateJwk()


async def generate(request: web.Request) -> Answer:
    """Generate a key."""
    body = await load(request, _GENERATE)
    key = await service(request).generate(profile(request), body["alg"], body["policy"])
    return _KEY.encode(key)


async def generate_batch(request: web.Request) -> Answer:
    """Generate many keys: all of them or none."""
    body = await load(request, _GENERATE_BATCH)
    keys = await service(request).generate_batch(
        profile(request), body["alg"], body["count"], body["policy"], Presence(request)
    )
    return _KEYS.encode({"keys": keys})


async def import_key(request: web.Request) -> Answer:
    """Import a key."""
    body = await load(request, _IMPORT)
    if body["source"].wrapped is not None:
        caller(request).require("wrap")  # a key is used as `POST /unwrap` uses it
    key = await service(request).import_key(
        profile(request), body["source"], body["policy"], keep=body["if_exists"] == "keep"
    )
    return _KEY.encode(key)


async def rotate(request: web.Request, kid: str) -> Answer:
    """Rotate a key: generate its successor; the old key then only verifies and decrypts."""
    await no_body(request)
    return _KEY.encode(await service(request).rotate(profile(request), kid))


async def export(request: web.Request, kid: str) -> Answer:
    """Export the private JWK of an exportable key."""
    jwk = await service(request).perform(profile(request), KeyRef(kid=kid), Export())
    return _PRIVATE.encode({"jwk": jwk})
