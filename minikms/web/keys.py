"""Handlers of keys: make, look up, list, name, delete."""

from urllib.parse import urlencode

from aiohttp import web

from minikms.records import KeyRef
from minikms.web import schemas
from minikms.web.messages import answer, load, profile, service
from minikms.web.paging import strict_limit

_GENERATE = schemas.GenerateKey()
_ASSOCIATE = schemas.AssociateAlias()
_KEY = schemas.Key()
_ASSOCIATION = schemas.Association()
_DELETION = schemas.Deletion()


async def generate(request: web.Request) -> web.Response:
    """Generate a key.

    ---
    tags: [keys]
    parameters: [$ref: "#/components/parameters/Profile"]
    x-body: GenerateKey
    x-problems: [unsupported-algorithm, key-exists]
    responses:
      "200": {description: The new key., x-answer: Key}
    """
    body = await load(request, _GENERATE)
    return answer(_KEY, await service(request).generate(profile(request), body["alg"]))


async def get(request: web.Request, kid: str) -> web.Response:
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


async def find(request: web.Request, alias: str) -> web.Response:
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
    limit: int,
    after: str = "",
    alg: str | None = None,
    alias: str | None = None,
) -> web.Response:
    """List keys in order of creation.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Limit"
      - $ref: "#/components/parameters/After"
      - $ref: "#/components/parameters/AlgFilter"
      - $ref: "#/components/parameters/AliasFilter"
    x-problems: [unsupported-algorithm]
    responses:
      "200":
        description: The keys; a Link header with rel="next" while there are more.
        x-answer: [Key]
        headers: {Link: {description: "The next page (RFC 8288).", schema: {type: string}}}
    """
    strict_limit(request)
    keys, more = await service(request).list_keys(
        profile(request), limit=limit, after=after, alg=alg, alias=alias
    )
    headers = {}
    if more:
        query = {"limit": limit, "after": keys[-1].seq, "alg": alg}
        known = urlencode({name: value for name, value in query.items() if value is not None})
        headers["Link"] = f'<{request.path}?{known}>; rel="next"'
    return answer(_KEY, keys, many=True, headers=headers)


async def associate(request: web.Request, kid: str) -> web.Response:
    """Bind an alias to a key, moving it there from any other.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Kid"
    x-body: AssociateAlias
    x-problems: [key-not-found]
    responses:
      "200": {description: The alias and its key., x-answer: Association}
    """
    alias = (await load(request, _ASSOCIATE))["alias"]
    await service(request).associate(profile(request), kid, alias)
    return answer(_ASSOCIATION, {"alias": alias, "kid": kid})


async def delete(request: web.Request, kid: str) -> web.Response:
    """Delete a key and its aliases.

    ---
    tags: [keys]
    parameters:
      - $ref: "#/components/parameters/Profile"
      - $ref: "#/components/parameters/Kid"
    x-problems: [key-not-found]
    responses:
      "200": {description: The key is gone., x-answer: Deletion}
    """
    await service(request).delete(profile(request), kid)
    return answer(_DELETION, {"message": "Key deleted", "kid": kid})
