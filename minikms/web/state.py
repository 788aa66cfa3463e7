"""What is in the application: the keys (AppKey) of what handlers share."""

from typing import Final

from aiohttp import web

from minikms.access.tokens import Tokens
from minikms.audit.log import AuditLog
from minikms.config import Config
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
# The OpenAPI document, in JSON.
DOCUMENT: Final = web.AppKey("document", bytes)
# How long a request's body may take to arrive, in seconds.
BODY_TIMEOUT: Final = web.AppKey("body_timeout", int)
