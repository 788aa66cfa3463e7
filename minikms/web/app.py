"""The application of the API: routes behind the gate, and the page."""

from typing import Any, Final

from aiohttp import web

from minikms.access.callers import ANY_TOKEN, OPEN, SCOPES
from minikms.config import Config
from minikms.http.gate import GATE, ExpectHandler, Gate, Gated
from minikms.http.hosts import known_hosts
from minikms.http.limits import InFlight, expect
from minikms.http.proxies import parse_proxies
from minikms.http.server import KmsRunner
from minikms.http.state import CONFIG, IN_FLIGHT, OBSERVERS, SHUTDOWN, UNREAD, Shutdown
from minikms.http.unread import UnreadAnswers
from minikms.plugin.providers import make_providers
from minikms.plugin.registry import AlgorithmRegistry
from minikms.startup_errors import AccessError
from minikms.web import console, page
from minikms.web.handlers.system import openapi as openapi_document
from minikms.web.messages import asked_profile, named_profile, published_profile, refuse_type
from minikms.web.parameters import reading, refuse_query
from minikms.web.routes import ROUTES, Route
from minikms.web.schemas.base import Request
from minikms.web.state import REGISTRY

# Routes that need no token.
_OPEN_ROUTES: Final = {"healthz", "readyz", "openapi"}


def create_app(config: Config, registry: AlgorithmRegistry | None = None) -> web.Application:
    """The application of one service.

    Raises PluginError if an algorithm cannot be used, and ProviderError for a provider.

    `registry` replaces the algorithms of the installed packages.
    """
    registry = registry or AlgorithmRegistry.from_installed(config.without_algorithm)
    if config.provider:
        registry = registry.with_providers(make_providers(config.provider))
    app = web.Application(client_max_size=config.max_body)
    app[IN_FLIGHT] = InFlight(config.max_in_flight)
    hosts = known_hosts(config, config.host)
    app[GATE] = Gate(app[IN_FLIGHT], parse_proxies(config.trusted_proxy), hosts, asked_profile)
    app[UNREAD] = UnreadAnswers()
    app[SHUTDOWN] = Shutdown()
    app[OBSERVERS] = []
    app[CONFIG] = config
    app[REGISTRY] = registry
    _add_routes(app, registry)
    return app


def _add_routes(app: web.Application, registry: AlgorithmRegistry) -> None:
    routes = [
        route for route in ROUTES if app[CONFIG].docs or route.handler is not openapi_document
    ]
    for route in routes:
        if route.scope not in (*SCOPES, ANY_TOKEN) and (
            (route.scope, route.name in _OPEN_ROUTES) != (OPEN, True)
        ):
            raise AccessError(f"The route {route.name} has no scope that callers can have.")
    gate, config = app[GATE], app[CONFIG]
    if config.docs:
        page.add_to(app, routes, registry, gate.page, guarded=config.needs_token)
    if config.console:
        console.add_to(app, gate, guarded=config.needs_token)
    for route in routes:
        handler: Any = route.handler
        if route.scope == OPEN:  # monitors and browsers add parameters of their own
            # A busy process is alive.
            handler = gate.hosted(handler if route.name == "healthz" else gate.counted(handler))
            expecting: ExpectHandler = expect
        else:
            published = published_profile if route.name == "jwks" else None
            handler = reading(route.handler, route.parameters)
            scopes = () if route.scope == ANY_TOKEN else (route.scope,)
            gated = Gated(
                route.name,
                scopes,
                route.secret,
                published,
                refuse_query=refuse_query if handler is route.handler else None,
                is_of_caller=not route.is_in_profile,
                most=_largest_body(route, config.max_body),
                values=(route.body or Request).max_values,
                refuse_type=refuse_type,
                profile_of=named_profile if route.is_in_profile_of_head else None,
            )
            handler = gate.guard(gated, handler)
            expecting = gate.expecting(gated)
        # HEAD is GET without its content (RFC 9110 section 9.3.2).
        for method in ("HEAD", "GET") if route.method == "GET" else (route.method,):
            app.router.add_route(
                method, route.path, handler, name=route.name, expect_handler=expecting
            )


def _largest_body(route: Route, most: int) -> int | None:
    """The bytes of the largest body that a route takes; None if its method has no body."""
    if route.method in ("GET", "DELETE"):
        return None
    body = route.body or Request
    return max(min(most, body.max_size or most), body.list_size)


def create_runner(app: web.Application, **kwargs: Any) -> KmsRunner:
    """Make the runner of an application; `kwargs` are arguments of aiohttp's AppRunner."""
    observers = app[OBSERVERS]
    return KmsRunner(app, app[CONFIG], app[SHUTDOWN], observers, **kwargs)
