"""The handler of JWK Sets."""

import re
from collections.abc import Sequence

from aiohttp import web

from minikms.credentials.jose.jwk_set import JwkFilter
from minikms.http.answers import CACHE_CONTROL, Answer, BodyAnswer
from minikms.http.gate import GatedCall
from minikms.web.messages import credentials, named_profile

# Weak and strong tags are compared alike (RFC 9110 section 8.8.3).
_ETAG = re.compile(r'"([\x21\x23-\x7e\x80-\xff]*)"')


async def jwks(
    call: GatedCall,
    profile: str | None = None,
    kty: Sequence[str] = (),
    alg: Sequence[str] = (),
    use: Sequence[str] = (),
) -> Answer:
    """Get a profile's public keys as a JWK Set."""
    of_header = named_profile(call.request)  # checked even if the query overrides it
    name = call.enter(of_header if profile is None else profile)
    wanted = JwkFilter(frozenset(kty), frozenset(use), frozenset(alg))
    found = await credentials(call).jwk_sets.get(name, wanted)
    # Caches must ask each time whether the set has changed: a key may have been removed.
    headers = {"ETag": f'"{found.etag}"', CACHE_CONTROL: "no-cache"}
    given = ", ".join(call.request.headers.getall("If-None-Match", ()))
    if given.strip() == "*" or found.etag in _ETAG.findall(given):  # RFC 9110 section 13.1.2
        return web.Response(status=304, headers=headers)
    return BodyAnswer(body=found.body, headers=headers, content_type="application/json")
