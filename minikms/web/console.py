"""The console: a page over the REST API, and the metrics that it shows.

Its files are in `ui/console`; browsers run them unchanged.
"""

from pathlib import Path
from typing import Any, Final

from aiohttp import web

from minikms.errors import Forbidden, RouteNotFound
from minikms.http.answers import CACHE_CONTROL, NO_STORE, Answer, BodyAnswer, Handler
from minikms.http.gate import Gate, Gated, GatedCall
from minikms.web.files import own_file
from minikms.web.parameters import refuse_query
from minikms.web.state import METRICS

FOLDER: Final = Path(__file__).parent / "ui" / "console"

# An injected script does not run, and could send nothing to other hosts. With Trusted Types, a
# browser also refuses to turn strings into markup.
POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS: Final = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_PAGE: Final = "index.html"

# The scope for the metrics, since they count the calls of all profiles.
_SCOPE: Final = "audit"


def add_to(app: web.Application, gate: Gate, *, guarded: bool) -> None:
    """Add the console at `/console/`; `guarded` says that callers need a token."""

    def add(path: str, handler: Handler) -> None:
        page: Any = gate.page(handler, POLICY)
        app.router.add_get(path, page)

    add("/console", _to_console)
    page = _page(guarded=guarded)
    add("/console/", page)
    for file in sorted(FOLDER.rglob("*.*")):
        path = file.relative_to(FOLDER).as_posix()
        add(f"/console/{path}", page if path == _PAGE else own_file(file, _HEADERS))
    gated = Gated("readMetrics", (_SCOPE,), refuse_query=refuse_query, is_recorded=False)
    metrics: Any = gate.guard(gated, _metrics)
    app.router.add_get("/console/metrics", metrics, expect_handler=gate.expecting(gated))


def _page(*, guarded: bool) -> Handler:
    """Make the handler that sends the page, which says whether callers need a token.

    The page is not cached, so a browser cannot show its former content when somebody goes back to
    it.
    """
    text = (FOLDER / _PAGE).read_text("utf-8")
    if not guarded:
        text = text.replace('data-token="needed"', 'data-token="not-needed"')
    headers = {**_HEADERS, CACHE_CONTROL: NO_STORE}

    async def send(request: web.Request) -> web.StreamResponse:
        return web.Response(text=text, content_type="text/html", headers=headers)

    return send


async def _to_console(request: web.Request) -> Answer:
    """Redirect a browser to the page, which may be below a proxy's path."""
    raise web.HTTPFound("console/")


async def _metrics(call: GatedCall) -> Answer:
    """The metrics, for callers who may read the audit log of all profiles.

    Raises RouteNotFound if metrics are disabled, and TooBusy.
    """
    if not call.caller.covers(None):
        raise Forbidden(_SCOPE)
    app = call.request.app
    if METRICS not in app:
        raise RouteNotFound()
    return BodyAnswer(body=await app[METRICS](), content_type="text/plain")
