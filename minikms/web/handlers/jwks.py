"""The handler of JWK Sets."""

import re
from collections.abc import Sequence

from aiohttp import web

from minikms.credentials.jose.jwk_set import JwkFilter
from minikms.http.answers import CACHE_CONTROL, Answer, BodyAnswer
from minikms.http.gate import GatedCall
from minikms.profile_settings import NO_SETTINGS
from minikms.web.messages import credentials, named_profile, service

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
    # By default, caches must ask each time whether a key was removed.
    settings = service(call).profiles.settings.get(name, NO_SETTINGS)
    kept = "no-cache" if settings.jwks_max_age is None else f"max-age={settings.jwks_max_age}"
    headers = {"ETag": f'"{found.etag}"', CACHE_CONTROL: kept}
    given = ", ".join(call.request.headers.getall("If-None-Match", ()))
    if given.strip() == "*" or found.etag in _ETAG.findall(given):  # RFC 9110 section 13.1.2
        return web.Response(status=304, headers=headers)
    return BodyAnswer(body=found.body, headers=headers, content_type="application/json")
