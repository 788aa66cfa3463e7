"""Handlers of the service itself: algorithms, health, documents."""

from aiohttp import web

from minikms.errors import ShuttingDown
from minikms.http.answers import Answer, BodyAnswer
from minikms.http.state import SHUTDOWN
from minikms.web.schemas import system_bodies as schemas
from minikms.web.state import AUDIT, DOCUMENT, REGISTRY, SERVICE

_ALGORITHM = schemas.Algorithm()
_STATUS = schemas.Health()


async def algorithms(request: web.Request) -> Answer:
    """List the algorithms and their operations."""
    registry = request.app[REGISTRY]
    return _ALGORITHM.encode(list(registry), many=True)


async def healthz(request: web.Request) -> Answer:
    """Check that the process is alive."""
    return _STATUS.encode({"status": "alive"})


async def require_ready(app: web.Application) -> None:
    """Raise ShuttingDown, AuditUnavailable or StoreUnavailable unless the service is ready."""
    if app[SHUTDOWN].begun:
        raise ShuttingDown
    if (audit := app[AUDIT]) is not None:
        audit.require_writable()
    await app[SERVICE].ping()


async def readyz(request: web.Request) -> Answer:
    """Check that the key store answers and the audit log can be written."""
    await require_ready(request.app)
    return _STATUS.encode({"status": "ready"})


async def openapi(request: web.Request) -> Answer:
    """Get this document."""
    body = await request.app[DOCUMENT].content()
    return BodyAnswer(body=body, content_type="application/json")


async def to_docs(request: web.Request) -> Answer:
    """Send a browser to Swagger UI, which may be below a path of a proxy."""
    raise web.HTTPFound("docs" if request.path == "/" else "docs/")
