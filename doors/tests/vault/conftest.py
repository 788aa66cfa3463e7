"""Calls of the Vault door of a service in the test's own process."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from vault_client import Vault


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
async def vault(start_vault: Any) -> Vault:
    """A service without tokens."""
    return await start_vault()


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
