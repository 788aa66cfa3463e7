"""An issuer of JWTs: its keys, its tokens, made without joserfc, and the server of its JWK Set."""

import asyncio
import ssl
import time
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer
from base64url import jose, part

from minikms.plugin import SignatureOptions
from minikms.plugin.registry import AlgorithmRegistry

ISSUER = "https://idp.example/realm"
AUDIENCE = "https://kms.example"

REGISTRY = AlgorithmRegistry.from_installed()


def compact(header, claims, sign):
    """A compact JWS of these parts, each an object or bytes as they are (RFC 7515 section 7.1)."""
    signing_input = f"{part(header)}.{part(claims)}"
    return f"{signing_input}.{jose(sign(signing_input.encode()))}"


class SigningKey:
    """A key pair of the provider, which publishes `jwk`."""

    def __init__(self, name="ed25519", kid="one", **members):
        self.algorithm = REGISTRY.get(name)
        self.key = self.algorithm.generate()
        self.alg = self.algorithm.signing_algs[0]
        self.jwk = {**self.algorithm.public_jwk(self.key), "kid": kid, **members}

    def signer(self, alg=None):
        return lambda message: self.algorithm.sign(
            self.key, message, SignatureOptions(alg or self.alg)
        )

    def token(self, claims=None, *, alg=None, **header):
        """Make a token valid for a minute; `claims` replace the usual ones, None omits a header."""
        alg = alg or self.alg
        header = {"alg": alg, "typ": "JWT", "kid": self.jwk["kid"], **header}
        header = {name: value for name, value in header.items() if value is not None}
        return compact(header, good(claims), self.signer(alg))


def good(claims=None):
    """Make valid claims, then replace the given ones; LEFT_OUT drops a claim."""
    now = int(time.time())
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 60}
    return {k: v for k, v in {**usual, **(claims or {})}.items() if v is not LEFT_OUT}


LEFT_OUT = object()


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Provider:
    """A server on loopback, which publishes `keys`, or the result of `answer`."""

    def __init__(self):
        self.keys = []
        self.asked = 0
        self.answer = self.publish

    async def publish(self, request):
        return web.json_response({"keys": [key.jwk for key in self.keys]})

    async def _handle(self, request):
        self.asked += 1
        return await self.answer(request)

    @asynccontextmanager
    async def serving(self, tls: ssl.SSLContext | None = None):
        app = web.Application()
        app.router.add_get("/{path:.*}", self._handle)
        server = TestServer(app)
        await server.start_server(ssl=tls)
        self.url = str(server.make_url("/jwks.json"))
        try:
            yield self
        finally:
            await server.close()


class Gate:
    """An answer that waits until it is opened; `reached` once somebody asks."""

    def __init__(self, answer):
        self._answer = answer
        self.reached, self.opened = asyncio.Event(), asyncio.Event()

    async def __call__(self, request):
        self.reached.set()
        await self.opened.wait()
        return await self._answer(request)
