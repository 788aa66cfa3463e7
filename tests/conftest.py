"""The real application on a real store, for every test that talks HTTP."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from minikms.config import Config
from minikms.web.app import create_app
from minikms.web.server import KmsRunner

Client = TestClient[web.Request, web.Application]


class KmsTestServer(TestServer):
    """aiohttp's test server on the runner that `minikms serve` has."""

    async def _make_runner(self, **kwargs: Any) -> KmsRunner:
        # aiohttp's tests cancel a handler whose caller leaves; `minikms serve` does not.
        return KmsRunner(self.app, **{**kwargs, "handler_cancellation": False})


@pytest.fixture
async def client(aiohttp_client: Any) -> Client:
    """A client of a new service, its store in memory."""
    return await aiohttp_client(KmsTestServer(create_app(Config())))


@pytest.fixture
def start(aiohttp_client: Any) -> Callable[[web.Application], Awaitable[Client]]:
    """Start an application that the test has made, and give a client of it."""

    async def run(app: web.Application) -> Client:
        return await aiohttp_client(KmsTestServer(app))

    return run


@pytest.fixture(params=["sqlite"])
def kept_url(tmp_path):
    return f"sqlite://{tmp_path}/keys.db"
