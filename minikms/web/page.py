"""Swagger UI and the document: our page, with the parts of aiohttp-swagger3.

The library gets an application of its own, so that its routes and keys stay out of ours.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
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
)

from minikms.http.answers import Handler
from minikms.plugin.registry import AlgorithmRegistry
from minikms.private_names import PrivateNames
from minikms.web.files import own_file, sent_file
from minikms.web.handlers.system import openapi, to_docs
from minikms.web.openapi import complete
from minikms.web.routes import Route
from minikms.web.state import DOCUMENT, Document

LOGGER = logging.getLogger(__name__)

FOLDER: Final = Path(__file__).with_name("ui")

PRIVATE_NAMES: Final = PrivateNames(
    "aiohttp-swagger3",
    ((swagger, "fastjsonschema", "compiles a checker of whole documents"),),
    without="each process takes 0.2 s and 41 MiB more to start",
)

_LICENSE: Final = SwaggerLicense(
    name="Apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0"
)


def add_to(
    app: web.Application,
    routes: Sequence[Route],
    registry: AlgorithmRegistry,
    guard: Callable[[Handler], Handler],
    *,
    guarded: bool,
) -> None:
    """Add the page at `/docs/`, and the OpenAPI document.

    `guarded` says that callers need a token.
    """

    def add(path: str, handler: Handler) -> None:
        page: Any = guard(handler)
        app.router.add_get(path, page)

    spec, swagger_ui = _library()
    add("/", to_docs)
    add("/docs", to_docs)
    add("/docs/", own_file(FOLDER / "index.html"))
    add("/docs/swagger.json", openapi)
    for name in ("page.css", "page.js"):
        add(f"/docs/{name}", own_file(FOLDER / name))
    for file in swagger_ui.iterdir():
        add(f"/docs/swagger_ui_static/{file.name}", sent_file(file, {}))

    def make() -> bytes:
        complete(spec, routes, registry, guarded=guarded)
        return orjson.dumps(spec, option=orjson.OPT_APPEND_NEWLINE)

    app[DOCUMENT] = Document(make)


def _library() -> tuple[dict[str, Any], Path]:
    """The library's document, without calls, and its folder of Swagger UI's files."""
    app = web.Application()
    with warnings.catch_warnings(), _without_checker():
        # The library stores values in the application under plain strings.
        warnings.simplefilter("ignore", web.NotAppKeyWarning)
        docs = SwaggerDocs(
            app,
            info=SwaggerInfo(title="Mini KMS", version=version("minikms-server"), license=_LICENSE),
            swagger_ui_settings=SwaggerUiSettings(path="/docs"),
        )
    resources = [resource.get_info() for resource in app.router.resources()]
    (folder,) = (info["directory"] for info in resources if "directory" in info)
    return docs.spec, folder


@contextmanager
def _without_checker() -> Iterator[None]:
    """Keep the library from compiling a checker of documents; a test checks ours."""
    if lost := PRIVATE_NAMES.missing():
        LOGGER.warning("%s: %s", lost, PRIVATE_NAMES.without)
        yield
        return
    library: Any = swagger
    compiler = library.fastjsonschema
    library.fastjsonschema = SimpleNamespace(compile=lambda *_, **__: lambda document: None)
    try:
        yield
    finally:
        library.fastjsonschema = compiler
