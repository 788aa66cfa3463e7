"""State that handlers share: the AppKeys of the application."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from minikms.access.tokens import Tokens
from minikms.audit.log import AuditLog
from minikms.audit.search import AuditSearch
from minikms.credentials.service import Credentials
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store import KeyStore

REGISTRY: Final[web.AppKey[AlgorithmRegistry]] = web.AppKey("registry", AlgorithmRegistry)
STORE: Final = web.AppKey("store", KeyStore)
SERVICE: Final = web.AppKey("service", KeyService)
CREDENTIALS: Final = web.AppKey("credentials", Credentials)
TOKENS: Final = web.AppKey("tokens", Tokens)
# None without an audit log.
AUDIT: Final[web.AppKey[AuditLog | None]] = web.AppKey("audit")
AUDIT_SEARCH: Final[web.AppKey[AuditSearch | None]] = web.AppKey("audit_search")
# Returns the metrics as text; unset if they are disabled.
METRICS: Final[web.AppKey[Callable[[], Awaitable[bytes]]]] = web.AppKey("metrics")
# The OpenAPI document.
DOCUMENT: Final[web.AppKey["Document"]] = web.AppKey("document")


class Document:
    """A document, made by `make` in a thread at its first request.

    The API's document takes as long to make as the rest of an application, and is rarely read.
    """

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._making: asyncio.Task[bytes] | None = None

    async def content(self) -> bytes:
        if not self._making:
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._making)  # others may wait for it
