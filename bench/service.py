"""A service in a process of its own, for the scripts beside this."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession


@asynccontextmanager
async def running(*options: str) -> AsyncIterator[tuple[ClientSession, int]]:
    """A client of `minikms serve` with these options, and the process's id; stopped at the end."""
    command = (sys.executable, "-m", "minikms", "serve", "--port", "0", *options)
    server = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert server.stderr is not None
    try:
        address = ""
        while not address:
            line = (await server.stderr.readline()).decode()
            assert line, "the service did not start"
            found = re.search(r"listening on (\S+),", line)
            address = found.group(1) if found else ""
        drain = asyncio.create_task(server.stderr.read())
        async with ClientSession(address) as client:
            yield client, server.pid
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()
    await drain
