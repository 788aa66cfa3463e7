"""Swagger UI: our page around the library's parts, and the documents that it links."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from minikms.http.answers import Handler
from minikms.web.handlers.system import openapi, to_docs

FOLDER: Final = Path(__file__).with_name("ui")
DOCUMENTS: Final = FOLDER / "documents"

_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".md": "text/plain",  # which browsers show
}


def add_to(
    app: web.Application, swagger_ui: Path, guard: Callable[[Handler], Handler]
) -> dict[str, str]:
    """Add the page at `/docs/` and its documents; gives the URL of each document by its title.

    `swagger_ui` is the folder of Swagger UI's own files.
    """

    def add(path: str, handler: Handler) -> None:
        guarded: Any = guard(handler)
        app.router.add_get(path, guarded)

    add("/", to_docs)
    add("/docs", to_docs)
    add("/docs/", _own_file(FOLDER / "index.html"))
    add("/docs/swagger.json", openapi)
    for name in ("page.css", "page.js"):
        add(f"/docs/{name}", _own_file(FOLDER / name))
    for file in swagger_ui.iterdir():
        add(f"/docs/swagger_ui_static/{file.name}", _file(file, {}))
    links = {}
    for document in sorted(DOCUMENTS.glob("*.md")):
        url = f"/docs/documents/{document.name}"
        add(url, _own_file(document))
        with document.open(encoding="utf-8") as lines:
            links[next(lines).removeprefix("# ").strip()] = url
    return links


def _own_file(file: Path) -> Handler:
    headers = {
        "Content-Type": f"{_TYPES[file.suffix]}; charset=utf-8",
        "Cache-Control": "no-cache",  # another version of the service has another page
    }
    return _file(file, headers)


def _file(file: Path, headers: dict[str, str]) -> Handler:
    async def send(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file, headers=headers)

    return send
