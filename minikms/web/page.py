"""Swagger UI: our page around the library's parts, and the documents that it links."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from aiohttp import web

FOLDER: Final = Path(__file__).with_name("ui")
DOCUMENTS: Final = FOLDER / "documents"

_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".md": "text/plain",  # which browsers show
}


def add_to(app: web.Application) -> dict[str, str]:
    """Add the page at `/docs/`; the URL of each document that it can link, by its title.

    To be called before Swagger UI's own page is added, which is then never reached.
    """
    app.router.add_get("/docs/", _giving(FOLDER / "index.html"))
    for name in ("page.css", "page.js"):
        app.router.add_get(f"/docs/{name}", _giving(FOLDER / name))
    links = {}
    for document in sorted(DOCUMENTS.glob("*.md")):
        url = f"/docs/documents/{document.name}"
        app.router.add_get(url, _giving(document))
        with document.open(encoding="utf-8") as lines:
            links[next(lines).removeprefix("# ").strip()] = url
    return links


def _giving(
    file: Path,
) -> Callable[[web.Request], Coroutine[Any, Any, web.StreamResponse]]:
    headers = {
        "Content-Type": f"{_TYPES[file.suffix]}; charset=utf-8",
        "Cache-Control": "no-cache",  # another version of the service has another page
    }

    async def give(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file, headers=headers)

    return give
