"""Swagger UI and the document: our page, around the Swagger UI of aiohttp-swagger3."""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import orjson
from aiohttp import web

from minikms.http.answers import Handler
from minikms.plugin.registry import AlgorithmRegistry
from minikms.web.files import own_file, sent_file
from minikms.web.handlers.system import openapi, to_docs
from minikms.web.routes import Route
from minikms.web.state import DOCUMENT, Document

FOLDER: Final = Path(__file__).with_name("ui")


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

    add("/", to_docs)
    add("/docs", to_docs)
    add("/docs/", own_file(FOLDER / "index.html"))
    add("/docs/swagger.json", openapi)
    for name in ("page.css", "page.js"):
        add(f"/docs/{name}", own_file(FOLDER / name))
    for file in _swagger_ui().iterdir():
        add(f"/docs/swagger_ui_static/{file.name}", sent_file(file, {}))

    def make() -> bytes:
        return _document(routes, registry, guarded=guarded)

    app[DOCUMENT] = Document(make)


def _document(routes: Sequence[Route], registry: AlgorithmRegistry, *, guarded: bool) -> bytes:
    # Imported here: the two libraries take time to load, and most processes make no document.
    from aiohttp_swagger3 import SwaggerInfo, SwaggerLicense

    from minikms.web.openapi import document

    terms = SwaggerLicense(name="Apache-2.0", url="https://www.apache.org/licenses/LICENSE-2.0")
    info = SwaggerInfo(title="Mini KMS", version=version("minikms-server"), license=terms)
    made = document(info.to_json(), routes, registry, guarded=guarded)
    return orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE)


def _swagger_ui() -> Path:
    """The library's folder of Swagger UI's files, found without importing the library."""
    spec = find_spec("aiohttp_swagger3")
    if spec is None or spec.origin is None:
        raise ImportError("aiohttp-swagger3 is not installed.")
    return Path(spec.origin).with_name("swagger_ui")
