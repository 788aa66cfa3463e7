"""Handlers of keys: look up, list, change, name, delete."""

from collections.abc import AsyncIterator, Sequence

from minikms.credentials.x509.public_keys import public_pem_of
from minikms.http.answers import Answer, BodyAnswer
from minikms.http.gate import GatedCall
from minikms.key_requests import KeyRef
from minikms.records import KeyRecord
from minikms.web.messages import (
    NDJSON,
    PEM_FILE,
    credentials,
    load,
    no_body,
    paged,
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

# Filters of a listing; the link to the next page repeats them.
_FILTERS = frozenset({"alg", "label", "unused", "state"})


async def get(call: GatedCall, kid: str) -> Answer:
    """Get a key by its kid, or its public key in PEM."""
    return await _described(call, KeyRef(kid=kid))


async def find(call: GatedCall, alias: str) -> Answer:
    """Get a key by one of its aliases, or its public key in PEM."""
    return await _described(call, KeyRef(alias=alias))


async def _described(call: GatedCall, ref: KeyRef) -> Answer:
    key = await service(call).descriptions.describe(call.profile, ref)
    if PEM_FILE in call.request.headers.get("Accept", ""):
        return BodyAnswer(body=public_pem_of(key.jwk), content_type=PEM_FILE)
    earlier: Sequence[str] = ()
    if key.aliases:  # the first is the oldest, so each of the replaced keys had it
        earlier = await service(call).aliases.predecessors(call.profile, key.kid, key.aliases[0])
    return _KEY_WITH_COSE.encode(schemas.KeyAndEarlier(key, earlier))


async def list_keys(
    call: GatedCall,
    limit: int = DEFAULT_LIMIT,
    after: str = "",
    alg: str | None = None,
    alias: str | None = None,
    label: Sequence[tuple[str, str]] = (),
    unused: int | None = None,
    state: str | None = None,
) -> Answer:
    """List keys in order of creation, by page, or all of them as NDJSON."""
    tenant = call.profile
    if NDJSON in call.request.headers.get("Accept", ""):
        pages = service(call).descriptions.pages(
            tenant, after=after, alg=alg, alias=alias, labels=label, only_next=state is not None
        )
        return await stream(call.request, _KEY, _unused(pages, unused))
    page, more = await service(call).descriptions.list_keys(
        tenant,
        limit=limit,
        after=after,
        alg=alg,
        alias=alias,
        labels=label,
        only_next=state is not None,
    )
    body = _KEY.encode([key for key in page if key.is_unused(unused)], many=True)
    if not more:
        return body
    query = [("limit", str(limit)), ("after", page[-1].seq)]
    query += [(name, text) for name, text in call.request.query.items() if name in _FILTERS]
    return paged(call, body, query)


async def _unused(
    pages: AsyncIterator[list[KeyRecord]], unused: int | None
) -> AsyncIterator[list[KeyRecord]]:
    """Filter pages: drop keys that were used within the last `unused` nanoseconds."""
    async for page in pages:
        yield [key for key in page if key.is_unused(unused)]


async def update(call: GatedCall, kid: str) -> Answer:
    """Change the state, expiry, labels, rules or schedule of a key."""
    changes = load(call, _UPDATE)
    return _KEY.encode(await service(call).changes.update(call.profile, kid, changes))


async def set_certificates(call: GatedCall, kid: str) -> Answer:
    """Give a key its certificates, instead of the ones that it has."""
    body = load(call, _CERTIFICATES)
    chain = body["certificates"]
    return _KEY.encode(await credentials(call).certificates.set_chain(call.profile, kid, chain))


async def remove_certificates(call: GatedCall, kid: str) -> Answer:
    """Remove the certificates of a key."""
    return _KEY.encode(await credentials(call).certificates.remove_chain(call.profile, kid))


async def associate(call: GatedCall, kid: str) -> Answer:
    """Bind an alias to a key; another key loses it."""
    body = load(call, _ASSOCIATE)
    await service(call).aliases.associate(call.profile, kid, body["alias"], body["alias_taken"])
    return _ASSOCIATION.encode({"alias": body["alias"], "kid": kid})


async def dissociate(call: GatedCall, kid: str, alias: str) -> Answer:
    """Unbind an alias from a key."""
    await service(call).aliases.dissociate(call.profile, kid, alias)
    return _ASSOCIATION.encode({"alias": alias, "kid": kid})


async def delete(call: GatedCall, kid: str, after: int | None = None) -> Answer:
    """Delete a key and its aliases, at once or after a time."""
    return await _delete(call, KeyRef(kid=kid), after)


async def delete_by_alias(call: GatedCall, alias: str, after: int | None = None) -> Answer:
    """Delete a key by one of its aliases, at once or after a time."""
    return await _delete(call, KeyRef(alias=alias), after)


async def _delete(call: GatedCall, ref: KeyRef, after: int | None) -> Answer:
    may_delete = call.caller.may_delete
    if after is None:
        key = await service(call).changes.delete(call.profile, ref, may_delete=may_delete)
    else:
        key = await service(call).changes.schedule_deletion(
            call.profile, ref, after, may_delete=may_delete
        )
    if key.deletes is None:
        return _DELETION.encode({"message": "Key deleted", "kid": key.kid})
    done = {"message": "Key deletion scheduled", "kid": key.kid, "deletes": key.deletes}
    return _DELETION.encode(done)


async def restore(call: GatedCall, kid: str) -> Answer:
    """Cancel the scheduled deletion of a key."""
    no_body(call)
    return _KEY.encode(await service(call).changes.restore(call.profile, kid))
