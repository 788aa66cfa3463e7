"""Routes of a door by method and path."""

import re

import pytest
from aiohttp.test_utils import make_mocked_request

from minikms.doors import DoorRoute
from minikms.doors.paths import PathRoutes
from minikms.errors import MethodNotAllowed, RouteNotFound
from minikms.http.state import PARAMETERS

PATHS = [
    "GET keys",
    "LIST keys",
    "GET keys/{name}",
    "POST keys/{name}",
    "POST keys/{name}/rotate",
    "POST keys/all/rotate",
    "POST sign/{name}",
    "POST sign/{name}/{hash...}",
    "GET random/{source}/{bytes}",
    "GET {anything...}",
]


@pytest.fixture
def find():
    """Find a call; gives the row of PATHS that it was made of, and the variables."""
    table = [(*path.split(" "), DoorRoute(path, "sign", None)) for path in PATHS]
    routes = PathRoutes(table, re.compile(r"[\w-]+", re.ASCII))

    def run(call):
        method, path = call.split(" ")
        request = make_mocked_request(method, f"/{path}")
        return routes.find(request, method, path).operation, dict(request.get(PARAMETERS, {}))

    run.at = routes.at
    return run


@pytest.mark.parametrize(
    ("call", "route", "variables"),
    [
        ("GET keys", "GET keys", {}),
        ("LIST keys", "LIST keys", {}),
        ("GET keys/a", "GET keys/{name}", {"name": "a"}),
        ("GET keys/%61", "GET keys/{name}", {"name": "a"}),
        ("POST keys/a/rotate", "POST keys/{name}/rotate", {"name": "a"}),
        ("POST keys/rotate/rotate", "POST keys/{name}/rotate", {"name": "rotate"}),
        ("POST keys/all/rotate", "POST keys/all/rotate", {}),
        ("POST sign/a", "POST sign/{name}", {"name": "a"}),
        ("POST sign/a/b", "POST sign/{name}/{hash...}", {"name": "a", "hash": "b"}),
        ("POST sign/a/b%2f/c", "POST sign/{name}/{hash...}", {"name": "a", "hash": "b//c"}),
        ("GET random/x/3", "GET random/{source}/{bytes}", {"source": "x", "bytes": "3"}),
        ("GET random/x", "GET {anything...}", {"anything": "random/x"}),
        ("GET keys/a%2fb", "GET {anything...}", {"anything": "keys/a/b"}),
        ("GET keys/caf%C3%A9", "GET {anything...}", {"anything": "keys/café"}),
    ],
)
def test_a_route_is_found_with_its_variables(find, call, route, variables):
    assert find(call) == (route, variables)


@pytest.mark.parametrize("call", ["GET ", "POST "])
def test_a_path_without_a_route(find, call):
    with pytest.raises(RouteNotFound):
        find(call)


@pytest.mark.parametrize(
    ("call", "allowed"),
    [("DELETE keys/a", "GET, POST"), ("GET keys/a/rotate", "POST"), ("POST nothing", "GET")],
)
def test_a_path_with_other_methods(find, call, allowed):
    with pytest.raises(MethodNotAllowed) as refused:
        find(call)
    assert refused.value.headers == {"Allow": allowed}


def test_the_routes_of_a_path(find):
    assert {method: route.operation for method, route in find.at("keys/a").items()} == {
        "GET": "GET keys/{name}",
        "POST": "POST keys/{name}",
    }
    assert find.at("") == {}
