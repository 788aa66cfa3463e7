"""Handlers that generate, import, rotate and export keys."""

from minikms.http.answers import Answer
from minikms.http.gate import GatedCall
from minikms.http.presence import presence
from minikms.key_requests import KeyRef
from minikms.keys.exporting import Export
from minikms.web.messages import load, no_body, service
from minikms.web.schemas import key_bodies as schemas

_GENERATE = schemas.GenerateKey()
_GENERATE_BATCH = schemas.GenerateKeys()
_IMPORT = schemas.ImportKey()
_KEY = schemas.Key()
_KEYS = schemas.GeneratedKeys()
_PRIVATE = schemas.PrivateJwk()


async def generate(call: GatedCall) -> Answer:
    """Generate a key."""
    body = load(call, _GENERATE)
    key = await service(call).creation.generate(call.profile, body["alg"], body["policy"])
    return _KEY.encode(key)


async def generate_batch(call: GatedCall) -> Answer:
    """Generate many keys: all of them or none."""
    body = load(call, _GENERATE_BATCH)
    keys = await service(call).creation.generate_batch(
        call.profile, body["alg"], body["count"], body["policy"], presence(call.request)
    )
    return _KEYS.encode({"keys": keys})


async def import_key(call: GatedCall) -> Answer:
    """Import a key."""
    body = load(call, _IMPORT)
    if body["source"].wrapped is not None:
        call.caller.require("wrap")  # a key is used as `POST /unwrap` uses it
    key = await service(call).creation.import_key(
        call.profile, body["source"], body["policy"], keep=body["if_exists"] == "keep"
    )
    return _KEY.encode(key)


async def make_next(call: GatedCall, kid: str) -> Answer:
    """Make the next key of a key, which the next rotation puts in its place, or find it."""
    no_body(call)
    return _KEY.encode(await service(call).rotation.make_next(call.profile, kid))


async def rotate(call: GatedCall, kid: str, if_published: int | None = None) -> Answer:
    """Rotate a key: its next key, or a new one, takes its place.

    The old key then only verifies and decrypts.
    """
    no_body(call)
    key = await service(call).rotation.rotate(call.profile, kid, if_published=if_published)
    return _KEY.encode(key)


async def export(call: GatedCall, kid: str) -> Answer:
    """Export the private JWK of an exportable key."""
    jwk = await service(call).operations.perform(call.profile, KeyRef(kid=kid), Export())
    return _PRIVATE.encode({"jwk": jwk})
