"""Calls of the Vault door of a service in the test's own process."""

import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient
from app_servers import KmsTestServer, open_doors
from vault_client import Vault

from minikms.config import Config, DoorConfig
from minikms.serve.assembly import create_service
from minikms.web.state import SERVICE


@pytest.fixture
async def start_vault(start_with_doors: Any) -> AsyncIterator[Callable[..., Awaitable[Vault]]]:
    """Start a service with its Vault door; gives a client."""
    async with contextlib.AsyncExitStack() as sessions:

        async def run(**options: Any) -> Vault:
            client, urls = await start_with_doors("vault", **options)
            session = await sessions.enter_async_context(ClientSession())
            return Vault(session, str(urls["vault"]).rstrip("/"), client)

        yield run


@pytest.fixture
async def own_vault(start_vault: Any) -> Vault:
    """A new service without tokens."""
    vault: Vault = await start_vault()
    return vault


@pytest.fixture(scope="session")
async def shared_vault() -> AsyncIterator[tuple[KmsTestServer, str]]:
    """A service without tokens that the tests of a process share, and the URL of its door."""
    app = create_service(Config(doors=(DoorConfig("vault", "127.0.0.1", 0, {}),)))
    async with KmsTestServer(app) as server, open_doors(app) as urls:
        yield server, urls["vault"].rstrip("/")


@pytest.fixture
async def profile_vault(shared_vault: tuple[KmsTestServer, str]) -> AsyncIterator[Vault]:
    """The shared service; its clients call in a new profile where they name none."""
    server, url = shared_vault
    name = secrets.token_hex()
    await server.app[SERVICE].profiles.create(name)
    rest: TestClient[Any, Any] = TestClient(server, headers={"X-Profile": name})
    async with rest.session, ClientSession(headers={"X-Vault-Namespace": name}) as session:
        yield Vault(session, url, rest)


@pytest.fixture
def vault(request: pytest.FixtureRequest) -> Vault:
    """A service without tokens: the shared one, if the test is marked so."""
    shared = request.node.get_closest_marker("shared_service")
    vault: Vault = request.getfixturevalue("profile_vault" if shared else "own_vault")
    return vault


@pytest.fixture
async def guarded(start_vault: Any, admin: Any, tmp_path: Path) -> Vault:
    """A service with tokens, an audit log, and the profile `alice`."""
    log = str(tmp_path / "audit.log")
    vault: Vault = await start_vault(auth="token", admin_token_file=admin[1], audit_log=log)
    headers = {"Authorization": f"Bearer {admin[0]}"}
    async with vault.rest.post("/profile", json={"name": "alice"}, headers=headers) as response:
        assert response.status == 200
    return vault


@pytest.fixture
def issue(guarded: Vault, admin: Any) -> Callable[..., Awaitable[str]]:
    """Make a token of `guarded` with these scopes."""

    async def run(*scopes: str, name: str = "caller", profiles: Any = ("default",), **more: Any):
        headers = {"Authorization": f"Bearer {admin[0]}"}
        body = {"name": name, "scopes": scopes, "profiles": profiles, **more}
        async with guarded.rest.post("/tokens", json=body, headers=headers) as response:
            assert response.status == 200, await response.text()
            return (await response.json())["token"]

    return run


@pytest.fixture
def audit_lines(tmp_path: Path) -> Callable[[], list[Any]]:
    """Read the lines of `guarded`'s audit log that calls of its Vault door left."""

    def run() -> list[Any]:
        lines = map(json.loads, (tmp_path / "audit.log").read_text().splitlines())
        return [line for line in lines if line.get("operation", "").startswith("vault:")]

    return run
