"""What is in the application: the keys (AppKey) of what handlers share.

But for `GATE` (gate.py), which is of no handler's concern.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web

from minikms.access.tokens import Tokens
from minikms.audit.log import AuditLog
from minikms.config import Config
from minikms.http.limits import InFlight
from minikms.http.observer import Observer
from minikms.http.shutdown import Shutdown
from minikms.keys.service import KeyService
from minikms.plugin.registry import AlgorithmRegistry
from minikms.store.keys import KeyStore

CONFIG: Final = web.AppKey("config", Config)
REGISTRY: Final[web.AppKey[AlgorithmRegistry]] = web.AppKey("registry", AlgorithmRegistry)
STORE: Final = web.AppKey("store", KeyStore)
SERVICE: Final = web.AppKey("service", KeyService)
TOKENS: Final = web.AppKey("tokens", Tokens)
# None where nothing is written down.
AUDIT: Final[web.AppKey[AuditLog | None]] = web.AppKey("audit")
# The requests that are under way.
IN_FLIGHT: Final = web.AppKey("in_flight", InFlight)
# Whether the service is shutting down.
SHUTDOWN: Final = web.AppKey("shutdown", Shutdown)
# There only where somebody observes requests.
OBSERVER: Final[web.AppKey[Observer]] = web.AppKey("observer")
# Prefixes of aliases that doors alone give, move and remove.
RESERVED_ALIASES: Final[web.AppKey[tuple[str, ...]]] = web.AppKey("reserved_aliases")
# The OpenAPI document.
DOCUMENT: Final[web.AppKey["Document"]] = web.AppKey("document")
# How long a request's body may take to arrive, in seconds.
BODY_TIMEOUT: Final = web.AppKey("body_timeout", int)


class Document:
    """A document that is made when it is first asked for, by `make`, in a thread.

    That of the API takes as long to make as the rest of an application, and few ask for it.
    """

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make = make
        self._making: asyncio.Task[bytes] | None = None

    async def content(self) -> bytes:
        """What is in it."""
        if not self._making:
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        return await asyncio.shield(self._making)  # who leaves is not the only one who waits
