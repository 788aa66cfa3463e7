"""Handlers of keys: look up, list, change, name, delete."""

from urllib.parse import urlencode

from aiohttp import web

from minikms.http.answers import Answer
from minikms.records import KeyRef
from minikms.web.handlers.paging import DEFAULT_LIMIT, duration, label_filters, strict_limit
from minikms.web.messages import (
    NDJSON,
    answer,
    load,
    no_body,
    profile,
    require_own_aliases,
    service,
    stream,
)
from minikms.web.schemas import key_bodies as schemas

_ASSOCIATE = schemas.AssociateAlias()
_UPDATE = schemas.UpdateKey()
_KEY = schemas.Key()
_ASSOCIATION = schemas.Association()
_DELETION = schemas.Deletion()


async def get(request: web.Request, kid: str) -> Answer:
    """Retrieve a key by its kid.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Kid"
    x-problems: [key-not-found]
    responses:
      "200": {description: The key., x-answer: Key}
    """
    return answer(_KEY, await service(request).get(profile(request), KeyRef(kid=kid)))


async def find(request: web.Request, alias: str) -> Answer:
    """Retrieve a key by one of its aliases.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Alias"
    x-problems: [alias-not-found, key-not-found]
    responses:
      "200": {description: The key., x-answer: Key}
    """
    return answer(_KEY, await service(request).get(profile(request), KeyRef(alias=alias)))


async def list_keys(
    request: web.Request,
    limit: int = DEFAULT_LIMIT,
    after: str = "",
    alg: str | None = None,
    alias: str | None = None,
) -> Answer:
    """List keys in order of creation: a page of them, or all as NDJSON.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Limit"
      - $ref: "#/components/parameters/After"
      - $ref: "#/components/parameters/AlgFilter"
      - $ref: "#/components/parameters/AliasFilter"
    x-parameters: [LabelFilter]
    x-problems: [unsupported-algorithm]
    responses:
      "200":
        description: The keys; a Link header with rel="next" while there are more.
        x-answer: [Key]
        content: {application/x-ndjson: {schema: {type: string}}}
        headers: {Link: {description: "The next page (RFC 8288).", schema: {type: string}}}
    """
    strict_limit(request)
    tenant, labels = profile(request), label_filters(request)
    if NDJSON in request.headers.get("Accept", ""):
        pages = service(request).pages(tenant, after=after, alg=alg, alias=alias, labels=labels)
        return await stream(request, _KEY, pages)
    keys, more = await service(request).list_keys(
        tenant, limit=limit, after=after, alg=alg, alias=alias, labels=labels
    )
    headers = {}
    if more:
        query = [("limit", str(limit)), ("after", keys[-1].seq)]
        query += [(name, text) for name, text in request.query.items() if name in ("alg", "label")]
        headers["Link"] = f'<{request.path}?{urlencode(query)}>; rel="next"'
    return answer(_KEY, keys, many=True, headers=headers)


async def update(request: web.Request, kid: str) -> Answer:
    """Give a key another state, end or labels.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Kid"
    x-body: UpdateKey
    x-problems: [key-not-found, key-not-usable, too-large-record]
    responses:
      "200": {description: The key., x-answer: Key}
    """
    changes = await load(request, _UPDATE)
    return answer(_KEY, await service(request).update(profile(request), kid, changes))


async def associate(request: web.Request, kid: str) -> Answer:
    """Bind an alias to a key, moving it there from any other.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Kid"
    x-body: AssociateAlias
    x-problems: [key-not-found, alias-exists, too-many-aliases, too-large-record]
    responses:
      "200": {description: The alias and its key., x-answer: Association}
    """
    body = await load(request, _ASSOCIATE)
    require_own_aliases(request, body["alias"])
    await service(request).associate(profile(request), kid, body["alias"], body["alias_taken"])
    return answer(_ASSOCIATION, {"alias": body["alias"], "kid": kid})


async def dissociate(request: web.Request, kid: str, alias: str) -> Answer:
    """Unbind an alias from a key.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Kid"
      - $ref: "#/components/parameters/BoundAlias"
    x-problems: [key-not-found, alias-not-found]
    responses:
      "200": {description: The alias and the key that it named., x-answer: Association}
    """
    require_own_aliases(request, alias)
    await service(request).dissociate(profile(request), kid, alias)
    return answer(_ASSOCIATION, {"alias": alias, "kid": kid})


async def delete(request: web.Request, kid: str, after: str | None = None) -> Answer:
    """Delete a key and its aliases, at once or after a while.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Kid"
      - $ref: "#/components/parameters/DeleteAfter"
    x-problems: [key-not-found]
    responses:
      "200": {description: "The key is gone, or will be.", x-answer: Deletion}
    """
    return await _delete(request, KeyRef(kid=kid), after)


async def delete_by_alias(request: web.Request, alias: str, after: str | None = None) -> Answer:
    """Delete the key that an alias names, as by its kid.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/DeletedAlias"
      - $ref: "#/components/parameters/DeleteAfter"
    x-problems: [alias-not-found, key-not-found]
    responses:
      "200": {description: "The key is gone, or will be.", x-answer: Deletion}
    """
    return await _delete(request, KeyRef(alias=alias), after)


async def _delete(request: web.Request, ref: KeyRef, after: str | None) -> Answer:
    if after is None:
        key = await service(request).delete(profile(request), ref)
        return answer(_DELETION, {"message": "Key deleted", "kid": key.kid})
    key = await service(request).schedule_deletion(profile(request), ref, duration(after))
    done = {"message": "Key deletion scheduled", "kid": key.kid, "deletes": key.deletes}
    return answer(_DELETION, done)


async def restore(request: web.Request, kid: str) -> Answer:
    """Keep a key that is scheduled for deletion.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Kid"
    x-problems: [key-not-found]
    responses:
      "200": {description: The key., x-answer: Key}
    """
    await no_body(request)
    return answer(_KEY, await service(request).restore(profile(request), kid))
