"""Processes that end with the script: a service with its client, or any other."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession

# Given the service's URL and a token, gives how often each answer came.
Abuse = Callable[[str, str], Coroutine[Any, Any, Counter[str]]]

# Abusers call from here: connections and wrong tokens are counted by address, and others have
# 127.0.0.1.
ELSEWHERE = ("127.0.0.2", 0)

PATIENCE = 15.0  # a process that does not stop for so many seconds is killed


def bearer(token: str) -> dict[str, str]:
    """What a caller with a token sends."""
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def process(*command: str, **options: Any) -> AsyncIterator[Process]:
    """A process, stopped at the end, whatever that is."""
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
    """A client of `minikms serve` with these options, and the process's id; stopped at the end.

    `client` is what else the ClientSession is made with.
    """
    command = (sys.executable, "-m", "minikms", "serve", "--port", "0", *options)
    # Most scripts have no token, and nobody else calls at their end.
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
