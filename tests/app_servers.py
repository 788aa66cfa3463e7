"""Servers for an application and its doors, in the test's own process."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from aiohttp import web, web_app
from aiohttp.test_utils import TestServer

from minikms.doors.app import DOORS
from minikms.http.server import KmsRunner
from minikms.web.app import create_runner


class KmsTestServer(TestServer):
    """aiohttp's test server on the runner that `minikms serve` has, with these options."""

    def __init__(self, app: web.Application, **runner: Any) -> None:
        super().__init__(app)
        self._options = runner

    async def _make_runner(self, **kwargs: Any) -> KmsRunner:
        # aiohttp's tests cancel a handler whose caller leaves; `minikms serve` does not.
        # It does not wait a minute for a hanging handler either.
        own = {"handler_cancellation": False, "shutdown_timeout": 5}
        return create_runner(self.app, **{**kwargs, **own, **self._options})

    async def close(self) -> None:
        await super().close()
        # aiohttp keeps every application that it served: 1 GB after 700 tests.
        web_app._cached_build_middleware.cache_clear()


@asynccontextmanager
async def open_doors(
    app: web.Application, tls: ssl.SSLContext | None = None
) -> AsyncIterator[dict[str, str]]:
    """Open the doors of a running service; yields the URL of each by name."""
    urls = {}
    async with AsyncExitStack() as runners:
        for door in app[DOORS]:
            runner = door.runner(handler_cancellation=False)
            await runner.setup()
            runners.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            scheme = "https" if tls else "http"
            urls[door.where.name] = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
        yield urls


def keys_of_door(app: web.Application) -> Any:
    """The keys as the one door of a running service uses them; a test may replace its methods."""
    [door] = app[DOORS]
    return door.service
