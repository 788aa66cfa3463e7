"""Queries: each call takes the parameters of its own, and refuses others and repetitions."""

import re
from urllib.parse import urlencode

import pytest
from problems import refused

from minikms.access.callers import OPEN
from minikms.web.routes import ROUTES

pytestmark = pytest.mark.shared_service

PATHS = {route: re.sub(r"{\w+:.*}", "x", route.path) for route in ROUTES}


def parameters_of(document, route):
    """The query parameters of a route in the document."""
    path = re.sub(r"{(\w+):[^{}]*}", r"{\1}", route.path)
    known = document["components"]["parameters"]
    operation = document["paths"][path][route.method.lower()]
    found = [known[one["$ref"].rpartition("/")[2]] for one in operation.get("parameters", ())]
    return [one for one in found if one["in"] == "query"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_an_unknown_parameter_is_refused(client, route):
    """Open routes do not refuse them: monitors and browsers add parameters of their own."""
    query = "a/b=c&delay=604800"
    response = await client.request(route.method, f"{PATHS[route]}?{query}")
    if route.scope == OPEN:
        assert response.status == 200
        return
    problem = await refused(response, 422, "validation-failed")
    assert [error["pointer"] for error in problem["errors"]] == ["#/a~1b", "#/delay"]


async def test_a_repeated_single_parameter_is_refused(client):
    document, seen = await (await client.get("/openapi.json")).json(), set()
    for route in ROUTES:
        for parameter in parameters_of(document, route):
            name = parameter["name"]
            query = urlencode({name: parameter.get("example", "1")})
            response = await client.request(route.method, f"{PATHS[route]}?{query}&{query}")
            if parameter["schema"].get("type") == "array":
                assert response.status in (200, 422)
                seen.add((route.name, name))
                continue
            problem = await refused(response, 422, "validation-failed")
            assert f"#/{name}" in [error["pointer"] for error in problem["errors"]]
    assert seen == {("listKeys", "label"), ("jwks", "kty"), ("jwks", "alg"), ("jwks", "use")}


@pytest.mark.parametrize("query", ["delay=604800", "After=7d", "after=7d&after=8d", "=", "%FF=7d"])
async def test_a_deletion_with_a_wrong_parameter_deletes_nothing(client, generate, query):
    kid = (await generate(alias="kept"))["kid"]
    await refused(await client.delete(f"/key/{kid}?{query}"), 422, "validation-failed")
    await refused(await client.delete(f"/key?alias=kept&{query}"), 422, "validation-failed")
    key = await (await client.get(f"/key/{kid}")).json()
    assert (key["aliases"], key["deletes"]) == (["kept"], None)


async def test_very_many_parameters_make_a_small_answer(client):
    response = await client.get("/keys?" + "&".join(f"p{number}" for number in range(5_000)))
    await refused(response, 422, "validation-failed")
    assert len(await response.read()) < 10_000


async def test_very_many_unknown_fields_are_one_fault(client):
    body = {f"f{number}": number for number in range(65)}
    problem = await refused(await client.post("/sign", json=body), 422, "validation-failed")
    assert [error["pointer"] for error in problem["errors"]] == ["#"]


async def test_pages_accept_queries_added_by_browsers(client):
    for path in ("/docs/", "/docs/page.js", "/docs/swagger.json"):
        async with client.get(f"{path}?v=1") as response:
            assert (response.status, await response.read() != b"") == (200, True)
