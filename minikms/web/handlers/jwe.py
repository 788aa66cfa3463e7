"""Handlers of JWE."""

from aiohttp import web

from minikms.http.answers import Answer
from minikms.keys.jwe import DecryptJwe
from minikms.web.handlers.operation import Body
from minikms.web.messages import answer, load, profile, service
from minikms.web.schemas import jwe_bodies as schemas

_REQUEST = schemas.EncryptJweRequest()
_ANSWER = schemas.EncryptedJwe()


async def encrypt_jwe(request: web.Request) -> Answer:
    """Encrypt a plaintext as JWE, for keys and for public JWKs."""
    body = await load(request, _REQUEST)
    made = await service(request).encrypt_jwe(profile(request), body["jwe"])
    return answer(_ANSWER, {"jwe": made})


def decrypt_jwe(body: Body) -> DecryptJwe:
    """Decrypt a JWE with a key."""
    return DecryptJwe(body["jwe"], body["sender"])
