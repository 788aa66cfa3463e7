"""The application: routes, middlewares, document, and the store that lives as long as it does."""

import warnings
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from typing import Final

import orjson
from aiohttp import web
from aiohttp_swagger3 import SwaggerDocs, SwaggerInfo, SwaggerLicense, SwaggerUiSettings

from minikms.config import Config
from minikms.location import StoreLocation, read_key
from minikms.registry import AlgorithmRegistry
from minikms.service import KeyService
from minikms.store import KeyStore
from minikms.sweeper import sweeping
from minikms.web import openapi, seeds
from minikms.web.limits import BODY_TIMEOUT, IN_FLIGHT, InFlight, expect, limits_middleware
from minikms.web.logs import answer_request_id
from minikms.web.messages import REGISTRY, SERVICE
from minikms.web.problems import problems_middleware
from minikms.web.routes import ROUTES
from minikms.web.system import DOCUMENT, to_docs

CONFIG: Final = web.AppKey("config", Config)


def create_app(config: Config, registry: AlgorithmRegistry | None = None) -> web.Application:
    """The application of one service; raises PluginError where an algorithm cannot be used.

    `registry` stands in for that of the installed packages.
    """
    registry = registry or AlgorithmRegistry.from_installed()
    app = web.Application(
        middlewares=[problems_middleware, limits_middleware], client_max_size=config.max_body
    )
    app[IN_FLIGHT] = InFlight(config.max_in_flight)
    app[BODY_TIMEOUT] = config.body_timeout
    app.on_response_prepare.append(answer_request_id)
    app[CONFIG] = config
    app[REGISTRY] = registry
    with warnings.catch_warnings():
        # aiohttp-swagger3 keeps its own things in the app under plain strings.
        warnings.simplefilter("ignore", web.NotAppKeyWarning)
        app[DOCUMENT] = _add_routes(app, registry)
    app.cleanup_ctx.append(_service)
    return app


def _add_routes(app: web.Application, registry: AlgorithmRegistry) -> bytes:
    # Before Swagger UI's own redirect, which returns an exception and makes aiohttp warn.
    app.router.add_route("GET", "/docs", to_docs)
    app.router.add_route("GET", "/", to_docs)
    docs = SwaggerDocs(
        app,
        info=SwaggerInfo(
            title="Mini KMS",
            version=version("minikms"),
            description="Makes keys, keeps them, and uses them, so that you never hold them.",
            license=SwaggerLicense(
                name="Apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0"
            ),
        ),
        swagger_ui_settings=SwaggerUiSettings(path="/docs", validatorUrl=None),
    )
    docs.spec["components"] = openapi.components()
    # It would check the whole document again after each route; a test checks it once, complete.
    docs.spec_validate = lambda _: None
    for route in ROUTES:
        docs.add_route(
            route.method, route.path, route.handler, name=route.name, expect_handler=expect
        )
    openapi.complete(docs.spec, ROUTES, registry)
    return orjson.dumps(docs.spec)


async def _service(app: web.Application) -> AsyncIterator[None]:
    async with _open_store(app[CONFIG]) as store:
        app[SERVICE] = KeyService(app[REGISTRY], store)
        if app[CONFIG].seed_keys:
            await seeds.load(app[CONFIG].seed_keys, app[SERVICE])
        async with sweeping(app[SERVICE]):
            yield


def _open_store(config: Config) -> AbstractAsyncContextManager[KeyStore]:
    location = StoreLocation.parse(config.store)
    if location.backend == "memory":
        return KeyStore.open_memory()
    key = read_key(config.store_key_file, config.store_key, config.store_key_method)
    return KeyStore.open(location, key)
