"""Rules of every operation on a key: its name, its profile, and its permitted operations."""

import pytest
from operation_calls import OTHER_BODIES, USES
from problems import refused

from minikms.access.callers import ANY_TOKEN, OPEN
from minikms.web.routes import ROUTES

pytestmark = pytest.mark.shared_service

# Scopes of routes that use no key.
ELSE = {
    *(OPEN, ANY_TOKEN, "admin", "approvals", "audit", "profiles"),
    *("keys:read", "keys:write", "keys:export", "keys:delete"),
}
# These need a ciphertext for the key: see their own tests.
OPENS = ("decrypt", "unwrap", "box-open", "hpke-open", "jwe-decrypt")
PLAIN_USES = [use for use in USES if use.operation not in OPENS and use.path != "/crl"]


def test_the_uses_are_all_routes_of_operations():
    routes = {route.path for route in ROUTES if route.scope not in ELSE}
    assert routes == {use.path for use in USES} | OTHER_BODIES.keys()


@pytest.mark.parametrize(("path", "rest", "alg", "operation", "other"), PLAIN_USES)
async def test_kid_and_alias_name_the_key_of_each_use(
    client, generate, path, rest, alg, operation, other
):
    key = await generate(alg, alias="did:example:1#k")
    assert operation in key["operations"]
    for ref in ({"kid": key["kid"]}, {"alias": "did:example:1#k"}):
        async with client.post(path, json=ref | rest) as response:
            assert response.status == 200


@pytest.mark.parametrize(("path", "rest", "alg", "operation", "other"), USES)
async def test_each_use_refuses_bad_references_and_bodies(
    client, refuses, generate, path, rest, alg, operation, other
):
    kid = (await generate(alg, alias="here"))["kid"]
    await client.post("/profile", json={"name": "other"})

    async def check(ref, status, slug, profile=""):
        headers = {"X-Profile": profile} if profile else {}
        await refused(await client.post(path, json=ref | rest, headers=headers), status, slug)

    await check({"kid": "unknown"}, 404, "key-not-found")
    await check({"alias": "unknown"}, 404, "alias-not-found")
    await check({"kid": kid}, 404, "key-not-found", "other")
    await check({"alias": "here"}, 404, "alias-not-found", "other")
    await check({"kid": kid}, 404, "profile-not-found", "nobody")
    await check({"kid": kid, "alias": "here"}, 422, "validation-failed")
    await check({}, 422, "validation-failed")
    await check({"kid": kid, "surplus": 1}, 422, "validation-failed")
    for field in rest:
        wrong = "7" if isinstance(rest[field], int) else 7
        body = {"kid": kid} | rest | {field: wrong}
        await refuses(path, body, 422, "validation-failed")
        del body[field]
        await refuses(path, body, 422, "validation-failed")

    cannot = await generate("bls12381g1")
    await check({"kid": cannot["kid"]}, 422, "unsupported-operation")
    may_not = await generate(alg, operations=[other], alias="restricted")
    assert may_not["operations"] == [other]
    await check({"kid": may_not["kid"]}, 422, "unsupported-operation")
    await check({"alias": "restricted"}, 422, "unsupported-operation")
