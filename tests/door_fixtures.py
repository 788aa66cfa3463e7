"""Services with doors, in the test's own process."""

import contextlib
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from in_process import open_doors
from packages import leave_package

from minikms.config import Config, DoorConfig
from minikms.serve.assembly import create_service


@pytest.fixture
async def start_with_doors(start: Any) -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Start a service with these doors; gives its client, and the URL of each door by name."""
    async with contextlib.AsyncExitStack() as doors_open:

        async def run(*doors: str, door_options: Any = None, registry: Any = None, **options: Any):
            opened = tuple(
                DoorConfig(name, "127.0.0.1", 0, (door_options or {}).get(name, {}))
                for name in doors
            )
            client = await start(create_service(Config(doors=opened, **options), registry))
            return client, await doors_open.enter_async_context(open_doors(client.app))

        yield run


SAMPLE = Path(__file__).parent / "sample_door"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Leave what pip leaves of packages with doors: the sample door, and `Mine` of this source."""

    def run(source: str = "") -> None:
        entries = {"plain": "minikms_plain:PlainDoor"}
        if source:
            entries["mine"] = "minikms_mine:Mine"
            tmp_path.joinpath("minikms_mine.py").write_text(source)
        leave_package(tmp_path, "minikms-plain", "minikms.doors", **entries)
        for folder in (tmp_path, SAMPLE):
            monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{SAMPLE}")
        monkeypatch.delitem(sys.modules, "minikms_mine", raising=False)

    return run


@pytest.fixture
def plain(install: Callable[..., None]) -> None:
    """The sample door, on the path, and on that of processes."""
    install()


@pytest.fixture
async def opened(plain: None, start_with_doors: Any) -> AsyncIterator[Callable[..., Any]]:
    """Start a service with the sample door; gives a client of each."""

    async def run(**options: Any):
        client, urls = await start_with_doors(
            "plain", door_options={"plain": {"alg": "ed25519"}}, **options
        )
        return client, await sessions.enter_async_context(ClientSession(urls["plain"]))

    async with contextlib.AsyncExitStack() as sessions:
        yield run
