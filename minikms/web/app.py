"""The application: routes behind the gate, and the document."""

import warnings
from collections.abc import Iterator
from contextlib import (
    contextmanager,
)
from functools import partial
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp_swagger3 import (
    SwaggerDocs,
    SwaggerInfo,
    SwaggerLicense,
    SwaggerUiSettings,
    swagger,
    swagger_docs,
)

from minikms.access.policy import OPEN, SCOPES
from minikms.addresses import is_loopback
from minikms.config import Config
from minikms.errors import AccessError
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store.location import StoreLocation
from minikms.web import openapi, page
from minikms.web.callers import parse_proxies
from minikms.web.gate import GATE, Gate
from minikms.web.handlers.system import openapi as openapi_document
from minikms.web.handlers.system import to_docs
from minikms.web.http.direct import DIRECT, DirectWay
from minikms.web.http.hosts import Hosts, parse_hosts
from minikms.web.http.limits import IN_FLIGHT, InFlight
from minikms.web.routes import ROUTES
from minikms.web.state import (
    BODY_TIMEOUT,
    CONFIG,
    DOCUMENT,
    REGISTRY,
)

# All that answers without a token.
_OPEN_ROUTES: Final = {"healthz", "readyz", "openapi"}


def create_app(config: Config, registry: AlgorithmRegistry | None = None) -> web.Application:
    """The application of one service; raises PluginError where an algorithm cannot be used.

    `registry` stands in for that of the installed packages.
    """
    registry = registry or AlgorithmRegistry.from_installed()
    app = web.Application(client_max_size=config.max_body)
    app[IN_FLIGHT] = InFlight(config.max_in_flight)
    app[GATE] = Gate(app[IN_FLIGHT], parse_proxies(config.trusted_proxy), _hosts(config))
    app[DIRECT] = {}
    app[BODY_TIMEOUT] = config.body_timeout
    app[CONFIG] = config
    app[REGISTRY] = registry
    with warnings.catch_warnings(), _quickly():
        # aiohttp-swagger3 keeps its own things in the app under plain strings.
        warnings.simplefilter("ignore", web.NotAppKeyWarning)
        app[DOCUMENT] = _add_routes(app, registry)
    return app


def _add_routes(app: web.Application, registry: AlgorithmRegistry) -> bytes:
    routes = [
        route for route in ROUTES if app[CONFIG].docs or route.handler is not openapi_document
    ]
    for route in routes:
        if route.scope not in SCOPES and (route.scope, route.name in _OPEN_ROUTES) != (OPEN, True):
            raise AccessError(f"The route {route.name} has no scope.")
    documents: dict[str, str] = {}
    if app[CONFIG].docs:
        # Before Swagger UI's own redirect, which returns an exception and makes aiohttp warn.
        app.router.add_get("/docs", to_docs)
        app.router.add_get("/", to_docs)
        # And before its own copy of the document, which ends without a line feed.
        app.router.add_get("/docs/swagger.json", openapi_document)
        documents = page.add_to(app)
    ui = SwaggerUiSettings(path="/docs", validatorUrl=None)
    docs = SwaggerDocs(
        app,
        info=SwaggerInfo(
            title="Mini KMS",
            version=version("minikms"),
            license=SwaggerLicense(
                name="Apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0"
            ),
        ),
        swagger_ui_settings=ui if app[CONFIG].docs else None,
    )
    for shown in app.router.routes():
        _replace_handler(shown, app[GATE].page(shown.handler))
    docs.spec["components"] = openapi.components()
    for route in routes:
        added = docs.add_route(
            route.method,
            route.path,
            route.handler,
            name=route.name,
            expect_handler=app[GATE].expecting(route),
        )
        # Without a parameter there is nothing that aiohttp-swagger3 would check, and that takes it
        # 10 µs. Middlewares would come before its checks and after the route is known, like this,
        # but for each of them aiohttp takes 5 µs.
        inner: Any = added.handler if openapi.has_parameters(docs.spec, route) else route.handler
        handler = app[GATE].behind(route, inner)
        _replace_handler(added, handler)
        if route.method == "GET":  # HEAD is that without its content (RFC 9110 section 9.3.2)
            resource: Any = added.resource
            resource.add_route("HEAD", handler, expect_handler=app[GATE].expecting(route))
        if route.at_once:
            guarded = app[GATE].before(route, route.at_once)
            way = DirectWay.to(guarded, added, app, no_store=route.secret)
            app[DIRECT][route.method, route.path] = way
    openapi.complete(
        docs.spec, routes, registry, guarded=needs_token(app[CONFIG]), documents=documents
    )
    return orjson.dumps(docs.spec, option=orjson.OPT_APPEND_NEWLINE)


def _replace_handler(route: web.AbstractRoute, handler: Any) -> None:
    """Have a route that was added answered by another handler; raises AccessError if it is not."""
    route._handler = handler
    if route.handler is not handler:
        raise AccessError("This version of aiohttp does not let calls be guarded.")


@contextmanager
def _quickly() -> Iterator[None]:
    """Let aiohttp-swagger3 add routes without what makes it slow.

    It makes what checks a whole document, after each route again: that takes 0.3 s and leaves
    45 MiB in the heap; a test checks the document once, complete. And it reads the docstrings by
    PyYAML's loader in Python, which takes as long as all the rest; most builds have one in C.
    """
    checks: Any = swagger.fastjsonschema  # type: ignore[attr-defined]
    docstrings: Any = swagger_docs
    make, yaml = checks.compile, docstrings.yaml
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    checks.compile = lambda *_, **__: lambda _: None
    docstrings.yaml = SimpleNamespace(safe_load=partial(yaml.load, Loader=loader))
    try:
        yield
    finally:
        checks.compile, docstrings.yaml = make, yaml


def needs_token(config: Config) -> bool:
    """Whether callers are asked for a token."""
    if config.auth == "auto":
        return StoreLocation.parse(config.store).kept
    return config.auth == "token"


def _hosts(config: Config) -> Hosts | None:
    """What a request may name as its host: anything, where whoever reaches the port is asked."""
    hosts = parse_hosts(config.allowed_host)
    return None if needs_token(config) or not is_loopback(config.host) else hosts
