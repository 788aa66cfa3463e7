"""Handlers of keys: look up, list, change, name, delete."""

from collections.abc import AsyncIterator, Sequence
from urllib.parse import urlencode

from aiohttp import web

from minikms.http.answers import JSON, Answer, BodyAnswer
from minikms.http.gate import caller
from minikms.keys.x509.public_keys import public_pem_of
from minikms.records import KeyRecord, KeyRef
from minikms.web.messages import (
    NDJSON,
    PEM_FILE,
    load,
    no_body,
    profile,
    service,
    stream,
)
from minikms.web.parameters import DEFAULT_LIMIT
from minikms.web.schemas import key_bodies as schemas

_ASSOCIATE = schemas.AssociateAlias()
_UPDATE = schemas.UpdateKey()
_CERTIFICATES = schemas.SetCertificates()
_KEY = schemas.Key()
_KEY_WITH_COSE = schemas.KeyWithCose()
_ASSOCIATION = schemas.Association()
_DELETION = schemas.Deletion()

# Filters of a listing, which the link to the next page keeps.
_FILTERS = frozenset({"alg", "label", "unused"})


async def get(request: web.Request, kid: str) -> Answer:
    """Get a key by its kid, or its public key in PEM."""
    return await _described(request, KeyRef(kid=kid))


async def find(request: web.Request, alias: str) -> Answer:
    """Get a key by one of its aliases, or its public key in PEM."""
    return await _described(request, KeyRef(alias=alias))


async def _described(request: web.Request, ref: KeyRef) -> Answer:
    key = await service(request).describe(profile(request), ref)
    if PEM_FILE in request.headers.get("Accept", ""):
        return BodyAnswer(body=public_pem_of(key.jwk), content_type=PEM_FILE)
    return _KEY_WITH_COSE.encode(key)


async def list_keys(
    request: web.Request,
    limit: int = DEFAULT_LIMIT,
    after: str = "",
    alg: str | None = None,
    alias: str | None = None,
    label: Sequence[tuple[str, str]] = (),
    unused: int | None = None,
) -> Answer:
    """List keys in order of creation, by page, or all of them as NDJSON."""
    tenant = profile(request)
    if NDJSON in request.headers.get("Accept", ""):
        pages = service(request).pages(tenant, after=after, alg=alg, alias=alias, labels=label)
        return await stream(request, _KEY, _unused(pages, unused))
    page, more = await service(request).list_keys(
        tenant, limit=limit, after=after, alg=alg, alias=alias, labels=label
    )
    body = _KEY.encode([key for key in page if key.is_unused(unused)], many=True)
    if not more:
        return body
    query = [("limit", str(limit)), ("after", page[-1].seq)]
    query += [(name, text) for name, text in request.query.items() if name in _FILTERS]
    link = f'<{request.path}?{urlencode(query)}>; rel="next"'
    return BodyAnswer(body=body, headers={"Link": link}, content_type=JSON.content_type)


async def _unused(
    pages: AsyncIterator[list[KeyRecord]], unused: int | None
) -> AsyncIterator[list[KeyRecord]]:
    """The pages, without keys that were used more recently than `unused` nanoseconds ago."""
    async for page in pages:
        yield [key for key in page if key.is_unused(unused)]


async def update(request: web.Request, kid: str) -> Answer:
    """Change the state, expiry, labels or schedule of a key."""
    changes = await load(request, _UPDATE)
    return _KEY.encode(await service(request).update(profile(request), kid, changes))


async def set_certificates(request: web.Request, kid: str) -> Answer:
    """Give a key its certificates, instead of the ones that it has."""
    body = await load(request, _CERTIFICATES)
    chain = body["certificates"]
    return _KEY.encode(await service(request).set_certificates(profile(request), kid, chain))


async def remove_certificates(request: web.Request, kid: str) -> Answer:
    """Remove the certificates of a key."""
    return _KEY.encode(await service(request).remove_certificates(profile(request), kid))


async def associate(request: web.Request, kid: str) -> Answer:
    """Bind an alias to a key; another key loses it."""
    body = await load(request, _ASSOCIATE)
    await service(request).associate(profile(request), kid, body["alias"], body["alias_taken"])
    return _ASSOCIATION.encode({"alias": body["alias"], "kid": kid})


async def dissociate(request: web.Request, kid: str, alias: str) -> Answer:
    """Unbind an alias from a key."""
    await service(request).dissociate(profile(request), kid, alias)
    return _ASSOCIATION.encode({"alias": alias, "kid": kid})


async def delete(request: web.Request, kid: str, after: int | None = None) -> Answer:
    """Delete a key and its aliases, at once or after a time."""
    return await _delete(request, KeyRef(kid=kid), after)


async def delete_by_alias(request: web.Request, alias: str, after: int | None = None) -> Answer:
    """Delete a key by one of its aliases, at once or after a time."""
    return await _delete(request, KeyRef(alias=alias), after)


async def _delete(request: web.Request, ref: KeyRef, after: int | None) -> Answer:
    may_delete = caller(request).may_delete
    if after is None:
        key = await service(request).delete(profile(request), ref, may_delete=may_delete)
    else:
        key = await service(request).schedule_deletion(
            profile(request), ref, after, may_delete=may_delete
        )
    if key.deletes is None:
        return _DELETION.encode({"message": "Key deleted", "kid": key.kid})
    done = {"message": "Key deletion scheduled", "kid": key.kid, "deletes": key.deletes}
    return _DELETION.encode(done)


async def restore(request: web.Request, kid: str) -> Answer:
    """Cancel the scheduled deletion of a key."""
    await no_body(request)
    return _KEY.encode(await service(request).restore(profile(request), kid))
