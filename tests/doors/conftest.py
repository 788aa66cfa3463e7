"""Services with doors, in the test's own process."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from minikms.config import Config, DoorConfig
from minikms.doors.app import DOORS
from minikms.serve.assembly import create_service


@pytest.fixture
async def start_with_doors(start: Any) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Start a service with these doors; gives its client, and the URL of each door by name."""
    runners = []

    async def run(*doors: str, door_options: Any = None, registry: Any = None, **options: Any):
        opened = tuple(
            DoorConfig(name, "127.0.0.1", 0, (door_options or {}).get(name, {})) for name in doors
        )
        client = await start(create_service(Config(doors=opened, **options), registry))
        urls = {}
        for door in client.app[DOORS]:
            runner = door.runner(handler_cancellation=False)
            await runner.setup()
            runners.append(runner)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            urls[door.where.name] = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return client, urls

    yield run
    for runner in runners:
        await runner.cleanup()
