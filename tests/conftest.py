"""The real application on a real store, for every test that talks HTTP."""

import gc
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from typing import Any

import fastjsonschema
import orjson
import pytest
from aiohttp import web, web_app
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

    async def close(self) -> None:
        await super().close()
        # aiohttp keeps every application that it served: 1 GB after 700 tests.
        web_app._cached_build_middleware.cache_clear()


def pytest_collection_finish() -> None:
    """Spare the garbage collector what is imported by now, a tenth of all time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[None]:
    """Let aiohttp-swagger3 compile its schema once: each application would, for 0.13 s."""
    compile_schema = fastjsonschema.compile

    @cache
    def compiled(schema: bytes, formats: bytes) -> Any:
        return compile_schema(orjson.loads(schema), formats=orjson.loads(formats))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            fastjsonschema,
            "compile",
            lambda schema, formats: compiled(orjson.dumps(schema), orjson.dumps(formats)),
        )
        yield


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
