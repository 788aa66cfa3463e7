"""Static files of pages, each at its own path."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from aiohttp import web

from minikms.http.answers import CACHE_CONTROL, Handler

_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}


def own_file(file: Path, headers: Mapping[str, str] = MappingProxyType({})) -> Handler:
    """Make the handler that sends a file of this package, with further headers."""
    own = {
        **headers,
        "Content-Type": f"{_TYPES[file.suffix]}; charset=utf-8",
        CACHE_CONTROL: "no-cache",  # after an upgrade the page differs
    }
    return sent_file(file, own)


def sent_file(file: Path, headers: Mapping[str, str]) -> Handler:
    """Make the handler that sends a file with these headers."""

    async def send(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(file, headers=headers)

    return send
