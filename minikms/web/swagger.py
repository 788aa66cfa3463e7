"""aiohttp-swagger3: what it reads in handlers' docstrings, and how it checks parameters.

It adds the routes to an application of its own. So a handler can be guarded before it is added to
the application that serves, and that has nothing of the library's in it.
"""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from aiohttp import web
from aiohttp_swagger3 import (
    SwaggerDocs,
    SwaggerInfo,
    SwaggerLicense,
    SwaggerUiSettings,
    swagger,
    swagger_docs,
)

from minikms.access.policy import OPEN
from minikms.http.answers import Handler
from minikms.private_names import PrivateNames
from minikms.web import openapi
from minikms.web.handlers.paging import strict
from minikms.web.routes import Route

LOGGER = logging.getLogger(__name__)

PRIVATE_NAMES: Final = PrivateNames(
    "aiohttp-swagger3",
    (
        (swagger, "fastjsonschema", "compiles a checker of whole documents"),
        (SwaggerDocs, "spec_validate", "checks the document after each route, and adds defaults"),
        (swagger_docs, "yaml", "reads docstrings, and by its loader in C in a sixth of the time"),
    ),
    without="each process takes 0.2 s and 41 MiB more to start",
)

_LICENSE: Final = SwaggerLicense(
    name="Apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0"
)


class Documented(NamedTuple):
    """What the library makes of routes."""

    spec: dict[str, Any]
    """The OpenAPI document, with what the docstrings say and no more."""

    handlers: dict[str, Handler]
    """The handler of each route, by its name.

    Raises RequestValidationFailed for a parameter, and ValidationFailed for one that is unknown.
    """

    ui_files: Path
    """The folder of Swagger UI's files."""


def read_routes(routes: Iterable[Route]) -> Documented:
    """Have the library read routes."""
    app = web.Application()
    with warnings.catch_warnings():
        # The library keeps its own things in the application under plain strings.
        warnings.simplefilter("ignore", web.NotAppKeyWarning)
        with _made_quick():
            docs = SwaggerDocs(
                app,
                info=SwaggerInfo(title="Mini KMS", version=version("minikms"), license=_LICENSE),
                swagger_ui_settings=SwaggerUiSettings(path="/docs"),
            )
            docs.spec_validate = _accept
            docs.spec["components"] = openapi.components()
            resources = [resource.get_info() for resource in app.router.resources()]
            (ui_files,) = (info["directory"] for info in resources if "directory" in info)
            handlers: dict[str, Handler] = {}
            for route in routes:
                # It finds the parameters of a handler in its code, but not of one of a decorator.
                validate = getattr(route.handler, "__closure__", None) is None
                handler: Any = route.handler
                added: Any = docs.add_route(route.method, route.path, handler, validate=validate)
                # Where there is no parameter, the library takes 10 µs to check nothing.
                checked = openapi.has_parameters(docs.spec, route)
                handler = added.handler if checked else handler
                if route.scope != OPEN:  # monitors and browsers add parameters of their own
                    handler = strict(handler, openapi.query_parameters(docs.spec, route))
                handlers[route.name] = handler
    return Documented(docs.spec, handlers, ui_files)


@contextmanager
def _made_quick() -> Iterator[None]:
    """Have the library compile no checker of whole documents, and read YAML by the loader in C.

    A test checks our document.
    """
    if lost := PRIVATE_NAMES.missing():
        LOGGER.warning("%s: %s", lost, PRIVATE_NAMES.without)
        yield
        return
    library: Any = swagger
    compiler = library.fastjsonschema
    library.fastjsonschema = SimpleNamespace(compile=lambda *_, **__: _accept)
    reader: Any = swagger_docs
    yaml = reader.yaml
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # not every build has libyaml
    reader.yaml = SimpleNamespace(safe_load=lambda text: yaml.load(text, loader))
    try:
        yield
    finally:
        library.fastjsonschema, reader.yaml = compiler, yaml


def _accept(document: dict[str, Any]) -> None:
    pass
