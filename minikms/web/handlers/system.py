"""Handlers about the service itself: algorithms, health, documents."""

import orjson
from aiohttp import web

from minikms.errors import ProviderUnavailable, ShuttingDown
from minikms.http.answers import Answer, BodyAnswer
from minikms.http.gate import GatedCall
from minikms.http.state import CONFIG, SHUTDOWN
from minikms.web.schemas import system_bodies as schemas
from minikms.web.state import AUDIT, DOCUMENT, REGISTRY, SERVICE

_ALGORITHM = schemas.Algorithm()
_STATUS = schemas.Health()


async def algorithms(call: GatedCall) -> Answer:
    """List the algorithms and their operations."""
    app = call.request.app
    registry = app[REGISTRY]
    listed = _ALGORITHM.dump(list(registry), many=True)
    for provider in app[SERVICE].operations.providers:
        for each in listed:
            if each["name"] in provider.algorithms:
                each.setdefault("providers", []).append(provider.name)
    return orjson.dumps(listed, option=orjson.OPT_APPEND_NEWLINE)


async def healthz(request: web.Request) -> Answer:
    """Check that the process is alive."""
    return _STATUS.encode({"status": "alive"})


async def require_ready(app: web.Application, *, asks_store: bool = True) -> list[str]:
    """Check that the service is ready; return the names of providers that do not answer.

    Without `asks_store`, the store is taken to answer. Raises ShuttingDown, AuditUnavailable or
    StoreUnavailable unless the service is ready, and ProviderUnavailable if it needs a provider
    that does not answer.
    """
    if app[SHUTDOWN].begun:
        raise ShuttingDown
    if (audit := app[AUDIT]) is not None:
        audit.require_writable()
    if asks_store:
        await app[SERVICE].ping()
    away = [each.name for each in app[SERVICE].operations.providers if not each.status.available]
    if away and app[CONFIG].ready_needs_providers:
        raise ProviderUnavailable(f"The providers do not answer: {', '.join(away)}.")
    return away


async def readyz(request: web.Request) -> Answer:
    """Check that the key store answers and the audit log can be written."""
    away = await require_ready(request.app)
    return _STATUS.encode({"status": "ready", **({"away": away} if away else {})})


async def openapi(request: web.Request) -> Answer:
    """Get this document."""
    body = await request.app[DOCUMENT].content()
    return BodyAnswer(body=body, content_type="application/json")


async def to_docs(request: web.Request) -> Answer:
    """Redirect a browser to Swagger UI, which may be below a proxy's path."""
    raise web.HTTPFound("docs" if request.path == "/" else "docs/")
